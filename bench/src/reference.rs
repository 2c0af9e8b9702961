//! What the probe plays. For delays: noise that never repeats, so that every half second of it names its
//! own place in time.
//!
//! It is band-limited to 100..3500 Hz, which every codec here carries well, and with a sharp enough
//! correlation peak for a few microseconds. The channels have most of their signal in common, as music has.

use crate::jackd::RATE;

/// Two channels, the same in every run.
pub struct Reference {
    pub left: Vec<f32>,
    pub right: Vec<f32>,
}

impl Reference {
    /// The same in both channels.
    pub fn alike(signal: Vec<f32>) -> Self {
        Self { left: signal.clone(), right: signal }
    }

    /// Noise.
    pub fn new(frames: usize) -> Self {
        let left = noise(frames, 1);
        let own = noise(frames, 2);
        let right = left.iter().zip(&own).map(|(common, own)| 0.8 * common + 0.6 * own).collect();
        Self { left, right }
    }
}

fn noise(frames: usize, seed: u32) -> Vec<f32> {
    let mut random = seed;
    let mut shape = [Biquad::low_pass(3500.0), Biquad::low_pass(3500.0), Biquad::high_pass(100.0)];
    (0..frames)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let white = (random >> 8) as f32 / (1 << 23) as f32 - 1.0;
            shape.iter_mut().fold(white * LEVEL, |x, filter| filter.run(x)).clamp(-0.9, 0.9)
        })
        .collect()
}

/// A filter of second order, after Robert Bristow-Johnson's cookbook.
struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    x: [f32; 2],
    y: [f32; 2],
}

impl Biquad {
    fn low_pass(hz: f32) -> Self {
        Self::new(hz, |cos| [(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0])
    }

    fn high_pass(hz: f32) -> Self {
        Self::new(hz, |cos| [(1.0 + cos) / 2.0, -1.0 - cos, (1.0 + cos) / 2.0])
    }

    fn new(hz: f32, numerator: impl Fn(f32) -> [f32; 3]) -> Self {
        let (sin, cos) = (std::f32::consts::TAU * hz / RATE as f32).sin_cos();
        let alpha = sin / std::f32::consts::SQRT_2; // Q of 0.707
        let scale = 1.0 / (1.0 + alpha);
        Self {
            b: numerator(cos).map(|b| b * scale),
            a: [-2.0 * cos * scale, (1.0 - alpha) * scale],
            x: [0.0; 2],
            y: [0.0; 2],
        }
    }

    fn run(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.b[1] * self.x[0] + self.b[2] * self.x[1]
            - self.a[0] * self.y[0]
            - self.a[1] * self.y[1];
        self.x = [x, self.x[0]];
        self.y = [y, self.y[0]];
        y
    }
}

/// Brings the filtered noise to about -16 dBFS.
const LEVEL: f32 = 0.75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_loud_and_does_not_clip() {
        let left = Reference::new(RATE as usize * 5).left;
        let rms = (left.iter().map(|x| x * x).sum::<f32>() / left.len() as f32).sqrt();
        assert!((0.1..0.25).contains(&rms), "{rms}");
        let clipped = left.iter().filter(|x| x.abs() >= 0.9).count();
        assert!(clipped * 10_000 < left.len(), "{clipped}");
    }
}
