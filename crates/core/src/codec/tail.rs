//! How PCM goes into a loss without a click.

use crate::Format;

/// The last few milliseconds that were played, which fade into a loss.
///
/// A loss is heard first as the tail played backwards under a falling ramp, which joins the last
/// sample without a step, then as silence.
pub struct Tail {
    /// Interleaved, the newest sample last; always of the same length.
    played: Vec<f32>,
    /// What had been played when the loss began.
    mirrored: Vec<f32>,
    channels: usize,
    fade_frames: usize,
    /// Frames since the last decoded one.
    lost_frames: usize,
}

/// Long enough not to be heard as a click, short enough not to be heard as an echo.
const FADE_MICROS: usize = 2_500;

impl Tail {
    pub(super) fn new(format: Format) -> Self {
        let fade_frames = (format.rate as usize * FADE_MICROS / 1_000_000).max(1);
        let channels = usize::from(format.channels);
        let samples = vec![0.0; fade_frames * channels];
        Self { mirrored: samples.clone(), played: samples, channels, fade_frames, lost_frames: 0 }
    }

    /// Takes note of what was played, be it decoded or made up.
    pub(super) fn remember(&mut self, samples: &[f32]) {
        let keep = self.played.len();
        if samples.len() >= keep {
            self.played.copy_from_slice(&samples[samples.len() - keep..]);
        } else {
            self.played.copy_within(samples.len().., 0);
            self.played[keep - samples.len()..].copy_from_slice(samples);
        }
    }

    /// The loss is over.
    pub(super) fn end(&mut self) {
        self.lost_frames = 0;
    }

    /// Writes the sound of a loss over `samples`, going on where the last call ended.
    pub(super) fn fade_out(&mut self, samples: &mut [f32]) {
        if self.lost_frames == 0 {
            self.mirrored.copy_from_slice(&self.played);
        }
        for frame in samples.chunks_exact_mut(self.channels) {
            match self.fade_frames.checked_sub(self.lost_frames + 1) {
                Some(index) => {
                    let gain = (index as f32 + 0.5) / self.fade_frames as f32;
                    let mirrored = &self.mirrored[index * self.channels..][..self.channels];
                    frame.iter_mut().zip(mirrored).for_each(|(out, tail)| *out = tail * gain);
                }
                None => frame.fill(0.0),
            }
            self.lost_frames = self.lost_frames.saturating_add(1);
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
    fn a_loss_fades_to_silence_without_a_click() {
        let mut tail = Tail::new(Format::l16(48_000, 1));
        let mut out: Vec<f32> = (0..480).map(|n| (n as f32 * 0.05).sin()).collect();
        out.chunks(48).for_each(|samples| tail.remember(samples));
        let mut lost = vec![9.0; 480];
        tail.fade_out(&mut lost[..100]);
        tail.fade_out(&mut lost[100..]);
        assert!(lost[120..].iter().all(|&sample| sample == 0.0));
        out.extend(lost);
        assert!(steepest(&out) < 0.07, "a full-scale sine itself moves by 0.05: {}", steepest(&out));
    }

    #[test]
    fn a_loss_soon_after_a_loss_goes_on_from_what_was_played() {
        let mut tail = Tail::new(Format::l16(48_000, 1));
        tail.remember(&[0.5; 120]);
        let mut out = vec![0.0; 20];
        tail.fade_out(&mut out);
        tail.remember(&out);
        tail.end();
        tail.remember(&[out[19]; 10]);
        let mut again = vec![9.0; 120];
        tail.fade_out(&mut again);
        out.extend([out[19]; 10]);
        out.extend(again);
        assert!(steepest(&out) < 0.01, "{out:?}");
    }
}
