//! Rises and falls without a click.

use std::time::Duration;

use crate::frames_in;

/// How long a start or an end takes to be heard.
pub(super) const RAMP: Duration = Duration::from_micros(2_500);

/// A gain that moves between silence and full in [`RAMP`], linearly.
pub(super) struct Gain {
    value: f32,
    step: f32,
}

impl Gain {
    pub fn new(rate: u32) -> Self {
        Self { value: 0.0, step: 1.0 / frames_in(RAMP, rate).max(1) as f32 }
    }

    /// Whether it has fallen all the way.
    pub fn is_silent(&self) -> bool {
        self.value == 0.0
    }

    /// Applies the gain to interleaved `samples` while it rises to full.
    pub fn rise(&mut self, samples: &mut [f32], channels: usize) {
        if self.value < 1.0 {
            self.slew(samples, channels, self.step);
        }
    }

    /// Applies the gain to interleaved `samples` while it falls to silence.
    pub fn fall(&mut self, samples: &mut [f32], channels: usize) {
        self.slew(samples, channels, -self.step);
    }

    fn slew(&mut self, samples: &mut [f32], channels: usize, step: f32) {
        for frame in samples.chunks_exact_mut(channels) {
            frame.iter_mut().for_each(|sample| *sample *= self.value);
            self.value = (self.value + step).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ramps_instead_of_stepping() {
        let mut gain = Gain::new(48_000);
        let mut samples = [1.0f32; 400];
        gain.rise(&mut samples[..200], 1);
        gain.fall(&mut samples[200..], 1);
        assert_eq!(samples[0], 0.0);
        assert_eq!(samples[150..201], [1.0; 51]);
        assert!(samples[321..].iter().all(|&sample| sample == 0.0));
        assert!(samples.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.0085));
    }
}
