//! A volume that may be changed while it is heard.

use std::time::Duration;

use crate::frames_in;

/// How long a change takes: short enough to feel immediate, too long to click.
const GLIDE: Duration = Duration::from_millis(20);

/// A gain that glides to where it is set. At rest at 1.0 it leaves every bit as it is.
#[derive(Clone, Debug)]
pub struct Fader {
    gain: f32,
    target: f32,
    /// What is added with each frame while it glides.
    step: f32,
    glide_frames: f32,
}

impl Fader {
    /// At `gain`, a factor, for sound of `rate` frames per second.
    pub fn new(gain: f32, rate: u32) -> Self {
        Self { gain, target: gain, step: 0.0, glide_frames: frames_in(GLIDE, rate).max(1) as f32 }
    }

    /// Glides to `gain`, a factor, from now on.
    pub fn set(&mut self, gain: f32) {
        if gain != self.target {
            self.target = gain;
            self.step = (self.target - self.gain) / self.glide_frames;
        }
    }

    /// Applies the gain to interleaved `samples`.
    pub fn apply(&mut self, samples: &mut [f32], channels: usize) {
        if self.gain == 1.0 && self.target == 1.0 {
            return;
        }
        for frame in samples.chunks_exact_mut(channels) {
            self.glide();
            frame.iter_mut().for_each(|sample| *sample *= self.gain);
        }
    }

    fn glide(&mut self) {
        if self.gain != self.target {
            self.gain += self.step;
            if (self.target - self.gain) * self.step <= 0.0 {
                self.gain = self.target; // not past it
            }
        }
    }
}

/// A factor as decibels: 0 dB leaves the sound as it is, and no sound at all is minus infinity.
pub fn decibels(gain: f32) -> f32 {
    20.0 * gain.log10()
}

/// Decibels as a factor.
pub fn from_decibels(decibels: f32) -> f32 {
    10f32.powf(decibels / 20.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_glides_without_a_click_and_arrives_exactly() {
        let mut fader = Fader::new(1.0, 48_000);
        fader.set(from_decibels(-60.0));
        let mut samples = vec![1.0f32; 2 * 2000];
        fader.apply(&mut samples, 2);
        assert!(samples.windows(3).all(|three| three[0] - three[2] < 0.002), "1 in 960 steps");
        assert!(samples[2 * 961..].iter().all(|&sample| sample == from_decibels(-60.0)));
        fader.set(1.0);
        samples.fill(1.0);
        fader.apply(&mut samples, 2);
        assert_eq!(samples[2 * 961..], vec![1.0; 2 * 1039]);
    }

    #[test]
    fn what_is_said_again_while_it_glides_changes_nothing() {
        let glided = |again: bool| {
            let mut fader = Fader::new(1.0, 48_000);
            let mut samples = vec![1.0f32; 1000];
            for block in samples.chunks_mut(100) {
                if again || block[0] == 1.0 {
                    fader.set(0.0);
                }
                fader.apply(block, 1);
            }
            samples
        };
        assert_eq!(glided(true), glided(false));
        assert_eq!(*glided(true).last().unwrap(), 0.0);
    }

    #[test]
    fn at_rest_every_bit_stays() {
        let noise: Vec<f32> = (0..999).map(|n| ((n * n % 997) as f32).sin()).collect();
        let mut samples = noise.clone();
        Fader::new(1.0, 48_000).apply(&mut samples, 1);
        assert_eq!(samples, noise);
    }

    #[test]
    fn six_decibels_are_about_twice_as_much() {
        assert!((from_decibels(6.0) - 2.0).abs() < 0.01 && (decibels(0.5) + 6.0).abs() < 0.03);
    }
}
