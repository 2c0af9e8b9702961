//! Burg's method: which linear prediction fits a piece of sound best.
//!
//! Among its kin it is the one for short pieces: it needs no window, so a tone that turns a few
//! times is still found where it is, and what it finds never grows.

/// Fits predictions. Holds the memory that takes.
pub(super) struct Burg {
    /// Errors of prediction forwards and backwards, by the order that has been reached.
    forward: Vec<f32>,
    backward: Vec<f32>,
    weights: Vec<f64>,
    before: Vec<f64>,
}

impl Burg {
    /// For up to `samples_max` samples and predictions from up to `order_max` of them.
    pub fn new(samples_max: usize, order_max: usize) -> Self {
        Self {
            forward: Vec::with_capacity(samples_max),
            backward: Vec::with_capacity(samples_max),
            weights: Vec::with_capacity(order_max),
            before: Vec::with_capacity(order_max),
        }
    }

    /// How much each of the `order` samples before it, the newest first, says about the next of
    /// `samples`. Fewer than `order` come back where there are fewer samples.
    ///
    /// It learns from a copy with a little noise, `noise` times the energy. Without it slow tones
    /// alone are told by large differences of large weights, which turn the least rounding into a
    /// roar.
    pub fn fit(&mut self, samples: impl Iterator<Item = f32>, order: usize, noise: f64) -> &[f64] {
        self.forward.clear();
        self.forward.extend(samples);
        self.add_noise(noise);
        self.backward.clear();
        self.backward.extend_from_slice(&self.forward);
        self.weights.clear();
        for stage in 1..=order.min(self.forward.len().saturating_sub(1)) {
            let count = self.forward.len() - stage;
            // The backward errors are one sample behind at each stage: their array does not move.
            let (forward, backward) = (&mut self.forward[stage..], &mut self.backward[..count]);
            let (product, energy) = product_and_energy(forward, backward);
            let reflection = 2.0 * product / energy.max(f64::MIN_POSITIVE);
            reflect(forward, backward, reflection as f32);
            self.step_up(reflection);
        }
        &self.weights
    }

    /// The same noise each time: what is made of a loss depends on nothing else than the sound.
    fn add_noise(&mut self, share: f64) {
        let energy: f64 = self.forward.iter().map(|sample| f64::from(sample * sample)).sum();
        // Even noise from minus to plus one half has a twelfth of the energy of a full square.
        let loud = (12.0 * share * energy / self.forward.len().max(1) as f64).sqrt() as f32;
        let mut state = 1u32;
        for sample in &mut self.forward {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); // Numerical Recipes'
            *sample += loud * ((state >> 8) as f32 / (1 << 24) as f32 - 0.5);
        }
    }

    /// Levinson's recursion: the weights of one order more.
    fn step_up(&mut self, reflection: f64) {
        self.before.clear();
        self.before.extend_from_slice(&self.weights);
        let mirrored = self.before.iter().rev();
        self.weights.iter_mut().zip(mirrored).for_each(|(weight, other)| *weight -= reflection * other);
        self.weights.push(reflection);
    }
}

/// What the errors forwards and backwards have in common, and the energy of both.
fn product_and_energy(forward: &[f32], backward: &[f32]) -> (f64, f64) {
    let (mut products, mut energies) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (f, b) = (forward.chunks_exact(LANES), backward.chunks_exact(LANES));
    let rest = f.remainder().iter().zip(b.remainder());
    let (product, energy) =
        rest.fold((0.0, 0.0), |(product, energy), (f, b)| (product + f * b, energy + f * f + b * b));
    for (f, b) in f.zip(b) {
        for lane in 0..LANES {
            products[lane] += f[lane] * b[lane];
            energies[lane] += f[lane] * f[lane] + b[lane] * b[lane];
        }
    }
    let sum = |lanes: [f32; LANES], rest: f32| lanes.into_iter().map(f64::from).sum::<f64>() + f64::from(rest);
    (sum(products, product), sum(energies, energy))
}

/// Sums side by side: the processor adds them at once, and each stays small enough for an `f32`.
const LANES: usize = 8;

/// One stage of the lattice: takes from each error what the other one tells about it.
fn reflect(forward: &mut [f32], backward: &mut [f32], reflection: f32) {
    for (f, b) in forward.iter_mut().zip(backward) {
        (*f, *b) = (*f - reflection * *b, *b - reflection * *f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(samples: &[f32], order: usize) -> Vec<f64> {
        Burg::new(samples.len(), order).fit(samples.iter().copied(), order, 1e-9).to_vec()
    }

    #[test]
    fn a_tone_is_told_by_two_samples() {
        let tone: Vec<f32> = (0..200).map(|n| (n as f32 * 0.3).sin()).collect();
        let weights = fit(&tone, 2);
        // sin(n) = 2 cos(0.3) sin(n - 1) - sin(n - 2)
        assert!((weights[0] - 2.0 * 0.3f64.cos()).abs() < 1e-3 && (weights[1] + 1.0).abs() < 1e-3, "{weights:?}");
    }

    #[test]
    fn what_is_constant_goes_on() {
        let weights = fit(&[0.7; 100], 32);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-3, "{weights:?}");
    }

    #[test]
    fn nothing_tells_about_silence_or_about_too_little() {
        assert!(fit(&[0.0; 100], 32).iter().all(|&weight| weight == 0.0));
        assert!(fit(&[1.0], 32).is_empty());
        assert!(fit(&[], 32).is_empty());
        assert_eq!(fit(&[1.0, -1.0], 32).len(), 1);
    }

    #[test]
    fn slow_tones_are_told_by_small_weights() {
        let slow: Vec<f32> = (0..500).map(|n| (n as f32 * 0.013).sin() + (n as f32 * 0.02).sin()).collect();
        let largest = fit(&slow, 128).into_iter().fold(0.0, |largest: f64, weight| largest.max(weight.abs()));
        assert!(largest < 10.0, "{largest}");
    }
}
