//! A sound that goes on as its past says.

use super::burg::Burg;

/// Continues one channel, or one band of it, sample by sample.
///
/// Each sample is a weighted sum of those `stride`, twice `stride` ... before it, which is all that
/// a band of a `stride`th of the spectrum needs, and sees `stride` times further back than as many
/// neighbours do. What the weights can't tell (noise, breath) is repeated from the past, so that
/// noise goes on as noise.
pub(super) struct Predictor {
    stride: usize,
    order_max: usize,
    /// The newest first; a multiple of [`STEP`] of them.
    weights: Vec<f32>,
    /// What came before, and what was made of it up to `end`.
    line: Vec<f32>,
    end: usize,
    /// How many of the made samples are not taken yet.
    ready: usize,
    /// What the weights could not tell of the past.
    surprises: Vec<f32>,
    /// The next of them, where they are repeated.
    surprise: Option<usize>,
    limit: f32,
}

/// Samples that are made at once where the stride allows it, and weights that are summed at once.
const STEP: usize = 4;

/// A surprise is not repeated louder than so many times the usual one: an attack comes once.
const SURPRISE_MAX: f32 = 2.5;

/// Where the weights tell all but this share of the energy or less, what they can't tell is rather
/// their own fault than a noise, and is repeated the quieter the less it is.
const SURPRISING: f32 = 0.1;

/// Nothing louder comes of a past whose peak is one: tones may meet that have not met before, but
/// a prediction of the loudest sounds must stay sane.
const OVERSHOOT: f32 = 1.5;

/// What is quieter is silence: it can't be heard, and would end in numbers that are slow to add.
const INAUDIBLE: f32 = 1e-12;

impl Predictor {
    /// `surprises` is for how many samples what could not be told goes on before it repeats.
    pub fn new(stride: usize, order_max: usize, surprises: usize) -> Self {
        let past = order_max * stride;
        Self {
            stride,
            order_max,
            weights: Vec::with_capacity(order_max),
            // Room to work before the past has to be moved to its front again.
            line: vec![0.0; 2 * past + STEP],
            end: past,
            ready: 0,
            surprises: Vec::with_capacity(surprises),
            surprise: None,
            limit: 0.0,
        }
    }

    /// Learns from `samples`, and goes on after them. Each sample becomes weaker by `damping`
    /// than what it is predicted from; what is `noise` of the energy is not learned.
    pub fn begin(&mut self, samples: &[f32], damping: f64, noise: f64, burg: &mut Burg) {
        let band = samples.iter().rev().step_by(self.stride).copied();
        // From so few samples no more weights can be told: three for each.
        let order = (band.len() / 3).min(self.order_max) / STEP * STEP;
        self.weights.clear();
        // Burg's method does not care which way time goes.
        let weights = burg.fit(band, order, noise);
        let damping = damping.powi(self.stride as i32);
        let damped = weights.iter().scan(1.0, |gain, weight| {
            *gain *= damping;
            Some((weight * *gain) as f32)
        });
        self.weights.extend(damped);
        self.weights.resize(self.weights.len().next_multiple_of(STEP), 0.0);
        self.limit = OVERSHOOT * samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        self.take_past(samples);
        self.find_surprises(samples);
    }

    /// From now on what can't be told is repeated from the past.
    pub fn repeat_surprises(&mut self) {
        self.surprise = Some(0).filter(|_| !self.surprises.is_empty());
    }

    /// The next sample.
    pub fn next(&mut self) -> f32 {
        if self.ready == 0 {
            match self.stride >= STEP {
                true => self.make::<STEP>(),
                false => self.make::<1>(),
            }
        }
        let sample = self.line[self.end - self.ready];
        self.ready -= 1;
        sample
    }

    fn take_past(&mut self, samples: &[f32]) {
        let past = self.past();
        let known = samples.len().min(past);
        self.line[..past - known].fill(0.0);
        self.line[past - known..past].copy_from_slice(&samples[samples.len() - known..]);
        (self.end, self.ready, self.surprise) = (past, 0, None);
    }

    /// The last samples again, less what the weights tell of them.
    fn find_surprises(&mut self, samples: &[f32]) {
        let reach = self.weights.len() * self.stride;
        let count = self.surprises.capacity().min(samples.len().saturating_sub(reach));
        let first = samples.len() - count;
        self.surprises.clear();
        self.surprises.extend_from_slice(&samples[first..]);
        for (weight, back) in self.weights.iter().zip((self.stride..).step_by(self.stride)) {
            let told = &samples[first - back..][..count];
            self.surprises.iter_mut().zip(told).for_each(|(surprise, told)| *surprise -= weight * told);
        }
        let (energy, all) = (energy(&self.surprises), energy(&samples[first..]));
        let limit = SURPRISE_MAX * (energy / count.max(1) as f32).sqrt();
        let gain = (energy / (SURPRISING * all).max(f32::MIN_POSITIVE)).min(1.0);
        self.surprises.iter_mut().for_each(|surprise| *surprise = gain * surprise.clamp(-limit, limit));
    }

    /// Makes the next `COUNT` samples, none of which is needed for another one.
    fn make<const COUNT: usize>(&mut self) {
        if self.end + COUNT > self.line.len() {
            let past = self.past();
            self.line.copy_within(self.end - past..self.end, 0);
            self.end = past;
        }
        let told: [f32; COUNT] = tell(&self.weights, &self.line[..self.end], self.stride);
        for told in told {
            let sample = (told + self.next_surprise()).clamp(-self.limit, self.limit);
            self.line[self.end] = if sample.abs() < INAUDIBLE { 0.0 } else { sample };
            self.end += 1;
        }
        self.ready = COUNT;
    }

    fn next_surprise(&mut self) -> f32 {
        let Some(index) = self.surprise else { return 0.0 };
        self.surprise = Some((index + 1) % self.surprises.len());
        self.surprises[index]
    }

    fn past(&self) -> usize {
        self.order_max * self.stride
    }
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}

/// The weighted sums of every `stride`th sample before the next `COUNT` after `past`. In sums
/// beside each other, which a processor adds at once.
fn tell<const COUNT: usize>(weights: &[f32], past: &[f32], stride: usize) -> [f32; COUNT] {
    let mut sums = [[0.0; COUNT]; STEP];
    for (weights, past) in weights.chunks_exact(STEP).zip(past.rchunks_exact(STEP * stride)) {
        for (index, sums) in sums.iter_mut().enumerate() {
            let told = &past[(STEP - 1 - index) * stride..][..COUNT];
            sums.iter_mut().zip(told).for_each(|(sum, told)| *sum += weights[index] * told);
        }
    }
    std::array::from_fn(|index| sums.iter().map(|sums| sums[index]).sum())
}
