//! What keeps a sum of voices within full scale.

use std::time::Duration;

use crate::frames_in;

/// How long a reduction stays after the last peak that needed it: half a period of the lowest tone,
/// 20 Hz, so that the gain does not follow the wave itself, which would be heard as distortion.
const HOLD: Duration = Duration::from_millis(25);

/// How long it then takes to come back by 8.7 dB (a factor of e).
const RELEASE: Duration = Duration::from_millis(200);

/// What is even louder, 60 dB beyond full scale, is nonsense that may not silence the rest for long.
const PEAK_MAX: f32 = 1e3;

/// Less than full scale: a tone's next crest is never quite the last one.
const LOUD: f32 = 0.99;

/// The loudest of these samples. In lanes: where one maximum waits for the one before, most of the time is spent
/// waiting.
pub(crate) fn peak(samples: &[f32]) -> f32 {
    let (lanes, rest) = samples.as_chunks::<8>();
    let mut most = [0.0f32; 8];
    for lane in lanes {
        most.iter_mut().zip(lane).for_each(|(most, sample)| *most = most.max(sample.abs()));
    }
    most.iter().chain(rest).fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// Lowers the whole where it would go beyond full scale, all channels alike, and lets it come back
/// slowly. It adds no delay: it does not look ahead, so that the first quarter of a wave that is too
/// loud is flattened, as by clipping, and only what follows keeps its shape. Below full scale every
/// bit stays as it is.
#[derive(Clone, Debug)]
pub struct Limiter {
    gain: f32,
    held_frames: u64,
    hold_frames: u64,
    release: f32,
}

impl Limiter {
    /// For sound of `rate` frames per second.
    pub fn new(rate: u32) -> Self {
        let release = (1.0 / (RELEASE.as_secs_f64() * f64::from(rate.max(1)))).exp() as f32;
        Self { gain: 1.0, held_frames: 0, hold_frames: frames_in(HOLD, rate), release }
    }

    /// Brings interleaved `samples` within full scale; returns the lowest gain that this took.
    pub fn apply(&mut self, samples: &mut [f32], channels: usize) -> f32 {
        if self.gain == 1.0 && peak(samples) <= LOUD {
            self.held_frames = self.held_frames.saturating_sub((samples.len() / channels) as u64);
            return self.gain;
        }
        let mut lowest = self.gain;
        for frame in samples.chunks_exact_mut(channels) {
            let peak = frame.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            self.follow(peak);
            lowest = lowest.min(self.gain);
            if self.gain < 1.0 {
                // Nonsense, and products whose last bit rounds up.
                frame.iter_mut().for_each(|sample| *sample = (*sample * self.gain).clamp(-1.0, 1.0));
            }
        }
        lowest
    }

    fn follow(&mut self, peak: f32) {
        if peak * self.gain > LOUD {
            self.gain = self.gain.min(1.0 / peak.min(PEAK_MAX));
            self.held_frames = self.hold_frames;
        } else if self.held_frames > 0 {
            self.held_frames -= 1;
        } else if self.gain < 1.0 {
            self.gain = (self.gain * self.release).min(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;
    use crate::sine::level_and_rest;

    const RATE: u32 = 48_000;

    fn tone(hertz: f32, gain: f32, seconds: f32) -> Vec<f32> {
        (0..(seconds * RATE as f32) as usize).map(|n| gain * (TAU * hertz * n as f32 / RATE as f32).sin()).collect()
    }

    /// What is left of `samples` without the tone of that frequency, relative to it, in dB.
    fn distortion(samples: &[f32], hertz: f32) -> f64 {
        let (level, rest) = level_and_rest(samples, RATE, hertz.into());
        20.0 * (rest / level).log10()
    }

    #[test]
    fn a_tone_that_is_too_loud_stays_a_tone() {
        for hertz in [50.0, 440.0, 3_000.0] {
            let mut samples = tone(hertz, 2.0, 1.2);
            Limiter::new(RATE).apply(&mut samples, 1);
            assert!(samples.iter().all(|sample| sample.abs() <= 1.0));
            let after_the_onset = &samples[RATE as usize / 5..];
            let limited = distortion(after_the_onset, hertz);
            let clipped: Vec<f32> = tone(hertz, 2.0, 1.0).iter().map(|sample| sample.clamp(-1.0, 1.0)).collect();
            assert!(limited < -60.0, "{hertz} Hz: {limited} dB");
            assert!(distortion(&clipped, hertz) > -20.0, "clipping would be heard");
        }
    }

    #[test]
    fn the_peak_is_that_of_any_place() {
        for (length, place) in [(1, 0), (7, 3), (8, 7), (9, 8), (256, 100)] {
            let mut samples = vec![0.25; length];
            samples[place] = -0.75;
            assert_eq!(peak(&samples), 0.75);
        }
        assert_eq!(peak(&[]), 0.0);
    }

    #[test]
    fn below_full_scale_every_bit_stays_and_after_a_peak_it_comes_back() {
        let quiet = tone(440.0, 1.0, 0.5);
        let mut samples = quiet.clone();
        let mut limiter = Limiter::new(RATE);
        assert_eq!(limiter.apply(&mut samples, 1), 1.0);
        assert_eq!(samples, quiet);
        assert_eq!(limiter.apply(&mut [4.0, -4.0, 0.1, 0.0], 2), 0.25);
        let mut ones = vec![0.5; RATE as usize];
        limiter.apply(&mut ones, 1);
        assert!(ones.windows(2).all(|pair| pair[0] <= pair[1]) && ones[0] < 0.15 && ones.last() == Some(&0.5));
    }
}
