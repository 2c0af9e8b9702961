//! How PCM goes into a loss and comes back out of it without a click.

use crate::Format;

/// The last few milliseconds that were decoded, which fade into a loss.
///
/// A loss is heard first as the tail played backwards under a falling ramp, which joins the last
/// sample without a step, then as silence; the first samples after it rise from nothing.
pub struct Tail {
    /// Interleaved, the newest sample last; always of the same length.
    samples: Vec<f32>,
    channels: usize,
    fade_frames: usize,
    /// Frames since the last decoded one.
    lost_frames: usize,
    /// Frames since the loss ended, up to `fade_frames`.
    back_frames: usize,
}

/// Long enough not to be heard as a click, short enough not to be heard as an echo.
const FADE_MICROS: usize = 2_500;

impl Tail {
    pub(super) fn new(format: Format) -> Self {
        let fade_frames = (format.rate as usize * FADE_MICROS / 1_000_000).max(1);
        let channels = usize::from(format.channels);
        Self {
            samples: vec![0.0; fade_frames * channels],
            channels,
            fade_frames,
            lost_frames: 0,
            back_frames: fade_frames,
        }
    }

    /// Takes decoded samples: remembers their end, and lets them rise after a loss.
    pub(super) fn handle(&mut self, samples: &mut [f32]) {
        if self.lost_frames > 0 {
            self.lost_frames = 0;
            self.back_frames = 0;
        }
        self.rise(samples);
        self.remember(samples);
    }

    /// Writes the sound of a loss over `samples`, going on where the last call ended.
    pub(super) fn fade_out(&mut self, samples: &mut [f32]) {
        for frame in samples.chunks_exact_mut(self.channels) {
            match self.fade_frames.checked_sub(self.lost_frames + 1) {
                Some(index) => {
                    let gain = (index as f32 + 0.5) / self.fade_frames as f32;
                    let mirrored = &self.samples[index * self.channels..][..self.channels];
                    frame.iter_mut().zip(mirrored).for_each(|(out, tail)| *out = tail * gain);
                }
                None => frame.fill(0.0),
            }
            self.lost_frames = self.lost_frames.saturating_add(1);
        }
    }

    fn rise(&mut self, samples: &mut [f32]) {
        for frame in samples.chunks_exact_mut(self.channels) {
            if self.back_frames == self.fade_frames {
                return;
            }
            let gain = (self.back_frames as f32 + 0.5) / self.fade_frames as f32;
            frame.iter_mut().for_each(|sample| *sample *= gain);
            self.back_frames += 1;
        }
    }

    fn remember(&mut self, samples: &[f32]) {
        let keep = self.samples.len();
        if samples.len() >= keep {
            self.samples.copy_from_slice(&samples[samples.len() - keep..]);
        } else {
            self.samples.copy_within(samples.len().., 0);
            self.samples[keep - samples.len()..].copy_from_slice(samples);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steepest(samples: &[f32]) -> f32 {
        samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_loss_fades_to_silence_and_back_without_a_click() {
        let sine = |n: usize| (n as f32 * 0.05).sin();
        let mut tail = Tail::new(Format::l16(48_000, 1));
        let mut out: Vec<f32> = (0..480).map(sine).collect();
        tail.handle(&mut out);
        let mut lost = vec![9.0; 480];
        tail.fade_out(&mut lost[..100]);
        tail.fade_out(&mut lost[100..]);
        assert!(lost[120..].iter().all(|&sample| sample == 0.0));
        let mut back: Vec<f32> = (960..1440).map(sine).collect();
        tail.handle(&mut back);
        assert_eq!(back[120..], (1080..1440).map(sine).collect::<Vec<_>>());
        out.extend(lost);
        out.extend(back);
        assert!(steepest(&out) < 0.07, "a full-scale sine itself moves by 0.05: {}", steepest(&out));
    }

    #[test]
    fn a_stream_without_loss_is_untouched() {
        let mut tail = Tail::new(Format::l16(48_000, 2));
        let samples: Vec<f32> = (0..64).map(|n| n as f32).collect();
        let mut out = samples.clone();
        tail.handle(&mut out);
        assert_eq!(out, samples);
    }
}
