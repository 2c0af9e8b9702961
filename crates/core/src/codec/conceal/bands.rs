//! One channel of a loss: its low notes and its high ones, each continued by itself.
//!
//! Notes that sound together are told apart by their beats, over many milliseconds. At a sound
//! card's rate that would take hundreds of weights; below a quarter of it one sample in four is
//! enough. So a chord of which one prediction over all of the spectrum keeps 2 dB for 5 ms goes on
//! with 18 dB, for half the work.

use std::time::Duration;

use super::burg::Burg;
use super::predictor::Predictor;
use crate::frames_in;

/// What a rate makes of the constants.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// How much past is learned from, in samples.
    pub past: usize,
    /// Of the low band: it is about 12 kHz wide as a signal, 6 kHz as a spectrum.
    stride: usize,
    /// Past that the high band learns from.
    past_high: usize,
    /// How long noise goes on before it repeats.
    surprises: usize,
    pub damping: f64,
}

const PAST: Duration = Duration::from_millis(40);
const PAST_HIGH: Duration = Duration::from_millis(10);
const SURPRISES: Duration = Duration::from_millis(10);
const ORDER_LOW: usize = 128;

/// Sounds are told down to 90 dB below: that is less than their noise, but what is learned from
/// less pure ones is safe from the roundings of an `f32`.
const NOISE: f64 = 1e-9;

const ORDER_HIGH: usize = 32;

/// A prediction becomes weaker by 1/e in this time: a safeguard, not yet heard in a short loss.
const DAMPING_SECONDS: f64 = 0.2;

/// The low-pass reaches so many strides to either side.
const REACH: usize = 6;

/// Faster streams are treated as of this rate: what is heard ends far below, what it costs does not.
pub(super) const RATE_MAX: u32 = 192_000;

impl Shape {
    pub fn new(rate: u32) -> Self {
        let rate = rate.min(RATE_MAX);
        let samples = |span| frames_in(span, rate) as usize;
        // One, or a multiple of what a predictor makes at once.
        let stride = if rate < 24_000 { 1 } else { (rate as usize / 12_000 / 4).max(1) * 4 };
        Self {
            past: samples(PAST),
            stride,
            past_high: samples(PAST_HIGH),
            surprises: samples(SURPRISES),
            damping: (-1.0 / (DAMPING_SECONDS * f64::from(rate))).exp(),
        }
    }
}

/// Memory to begin a loss in, one for all channels.
pub(super) struct Workshop {
    pub burg: Burg,
    low_pass: LowPass,
    low: Vec<f32>,
    high: Vec<f32>,
}

impl Workshop {
    pub fn new(shape: Shape) -> Self {
        Self {
            burg: Burg::new(shape.past, ORDER_LOW),
            low_pass: LowPass::new(shape.stride),
            low: Vec::with_capacity(shape.past),
            high: Vec::with_capacity(shape.past),
        }
    }
}

/// Continues one channel.
pub(super) struct Bands {
    shape: Shape,
    low: Predictor,
    high: Predictor,
}

impl Bands {
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            low: Predictor::new(shape.stride, ORDER_LOW, shape.surprises),
            high: Predictor::new(1, ORDER_HIGH, shape.surprises),
        }
    }

    /// Goes on after `past`.
    pub fn begin(&mut self, past: &[f32], workshop: &mut Workshop) {
        let Workshop { burg, low_pass, low, high } = workshop;
        low_pass.apply(past, low);
        self.low.begin(low, self.shape.damping, NOISE, burg);
        // The low-pass can't see beyond the end: there its band is told like all that follows, and
        // the high one is the rest, so that both together go on from the last sample.
        low.extend((0..low_pass.reach()).map(|_| self.low.next()));
        let known = self.shape.past_high.min(low.len());
        high.clear();
        high.extend(past[past.len() - known..].iter().zip(&low[low.len() - known..]).map(|(all, low)| all - low));
        self.high.begin(high, self.shape.damping, NOISE, burg);
        self.low.repeat_surprises();
        self.high.repeat_surprises();
    }

    /// The next sample.
    pub fn next(&mut self) -> f32 {
        self.low.next() + self.high.next()
    }
}

/// A symmetric filter that keeps the low band: below a third of it untouched.
struct LowPass {
    /// From the middle to one side.
    taps: Vec<f32>,
}

impl LowPass {
    /// All of the spectrum for a stride of one.
    fn new(stride: usize) -> Self {
        let reach = if stride == 1 { 0 } else { REACH * stride };
        let tap = |index: usize| {
            // A third of a stride's rate; Hamming's window.
            let (x, turn) =
                (index as f64 * std::f64::consts::TAU / 3.0 / stride as f64, index as f64 / (reach + 1) as f64);
            let sinc = if index == 0 { 1.0 } else { x.sin() / x };
            sinc * (0.54 + 0.46 * (turn * std::f64::consts::PI).cos())
        };
        let sum = tap(0) + 2.0 * (1..=reach).map(tap).sum::<f64>();
        Self { taps: (0..=reach).map(|index| (tap(index) / sum) as f32).collect() }
    }

    /// Samples that are missing at either end of what comes out.
    fn reach(&self) -> usize {
        self.taps.len() - 1
    }

    fn apply(&self, samples: &[f32], low: &mut Vec<f32>) {
        low.clear();
        let count = samples.len() - 2 * self.reach();
        low.resize(count, 0.0);
        for (block, low) in low.chunks_mut(BLOCK).enumerate() {
            let samples = &samples[block * BLOCK..][..low.len() + 2 * self.reach()];
            match low.try_into() {
                Ok(low) => self.apply_to_block::<BLOCK>(samples, low),
                Err(_) => low.iter_mut().enumerate().for_each(|(index, low)| {
                    self.apply_to_block::<1>(&samples[index..], std::array::from_mut(low));
                }),
            }
        }
    }

    fn apply_to_block<const COUNT: usize>(&self, samples: &[f32], low: &mut [f32; COUNT]) {
        let middle = self.reach();
        let mut sums = [0.0; COUNT];
        let centre = &samples[middle..][..COUNT];
        (0..COUNT).for_each(|index| sums[index] = self.taps[0] * centre[index]);
        for (distance, tap) in self.taps.iter().enumerate().skip(1) {
            let (left, right) = (&samples[middle - distance..][..COUNT], &samples[middle + distance..][..COUNT]);
            (0..COUNT).for_each(|index| sums[index] += tap * (left[index] + right[index]));
        }
        *low = sums;
    }
}

/// Samples that are filtered at once: as many as a processor's registers hold.
const BLOCK: usize = 16;
