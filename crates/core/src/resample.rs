//! Sample rate conversion: what keeps two cards together, and what makes 44.1 kHz 48.
//!
//! Each output frame lies somewhere between two input frames, and is the sum of those around it,
//! weighted by a sinc under a Kaiser window (J. O. Smith, "Digital Audio Resampling",
//! ccrma.stanford.edu/~jos/resample). The weights are known at 128 places between two frames, and on
//! a parabola between those.

use std::f64::consts::PI;

use wide::f32x4;

use crate::Error;

/// Converts interleaved samples from one rate to another, which may be the same, at a speed that can
/// be changed.
///
/// Delays the sound by half its filter: 24 frames of the slower rate, half a millisecond at 48 kHz.
/// Allocates when it is made and never again.
#[derive(Clone)]
pub struct Resampler {
    channels: usize,
    weights: Weights,
    /// Those of one output frame.
    filter: Vec<f32x4>,
    /// Input that is still needed, each channel on its own, with room for a block.
    held: Vec<Vec<f32>>,
    /// Frames of it.
    frames: usize,
    /// The first of them that the next output frame is made of; and after the point, how far that one
    /// lies between the two in the middle.
    position: f64,
    /// Frames of input for each frame of output: at the nominal speed, and now.
    nominal: f64,
    step: f64,
    input_frames_max: usize,
}

/// How far the speed may be moved from the nominal one, as a factor.
const SPEED_MAX: f64 = 1.02;

impl Resampler {
    /// From `from` to `to` frames per second, for blocks of at most `frames_max` output frames.
    pub fn new(from: u32, to: u32, channels: usize, frames_max: usize) -> Result<Self, Error> {
        if from == 0 || to == 0 {
            return Err(Error::UnsupportedFormat(format!("{from} Hz to {to} Hz")));
        }
        let nominal = f64::from(from) / f64::from(to);
        let weights = Weights::new(nominal.max(1.0));
        let input_frames_max = (frames_max as f64 * nominal * SPEED_MAX) as usize + 2;
        Ok(Self {
            channels,
            filter: vec![f32x4::ZERO; weights.taps / LANES],
            held: vec![vec![0.0; weights.taps + input_frames_max]; channels],
            frames: weights.taps - 1,
            position: 0.0,
            nominal,
            step: nominal,
            input_frames_max,
            weights,
        })
    }

    /// Frames of input that the next block of `output_frames` needs. Call it before each
    /// [`process`](Self::process).
    pub fn input_frames(&self, output_frames: usize) -> usize {
        let last = self.place(output_frames.saturating_sub(1));
        (last as usize + self.weights.taps).saturating_sub(self.frames)
    }

    /// The most input frames that a block of `frames_max` may need.
    pub fn input_frames_max(&self) -> usize {
        self.input_frames_max
    }

    /// Converts exactly [`input_frames`](Self::input_frames) frames into the block asked for.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) {
        self.hold(input);
        let taps = self.weights.taps;
        for (n, frame) in output.chunks_exact_mut(self.channels).enumerate() {
            let place = self.place(n);
            let whole = place as i32; // which costs less to convert than longer ones, for each frame
            self.weights.between(place - f64::from(whole), &mut self.filter);
            let first = whole as usize;
            for (sample, held) in frame.iter_mut().zip(&self.held) {
                *sample = weighted_sum(&self.filter, &held[first..first + taps]);
            }
        }
        self.position = self.place(output.len() / self.channels);
        self.let_go();
    }

    /// Frames between the next output frame and the end of the input taken: how far the sound is
    /// behind, to a fraction of a frame.
    pub fn behind(&self) -> f64 {
        self.frames as f64 - (self.position + self.weights.centre())
    }

    /// Frames of input that are read ahead of an output frame, at the most.
    pub fn lookahead(&self) -> f64 {
        self.weights.taps as f64 - self.weights.centre()
    }

    /// Empties it: silence comes before the next input.
    pub fn reset(&mut self) {
        self.frames = self.weights.taps - 1;
        self.position = 0.0;
        for held in &mut self.held {
            held[..self.frames].fill(0.0);
        }
    }

    /// Makes the sound run faster (above 1) or slower than nominal from the next block on;
    /// clamped to 2 %.
    pub fn set_speed(&mut self, speed: f64) {
        self.step = self.nominal * speed.clamp(1.0 / SPEED_MAX, SPEED_MAX);
    }

    /// Frames of output by which the sound is delayed.
    pub fn delay_frames(&self) -> usize {
        (self.weights.taps as f64 / 2.0 / self.nominal).round() as usize
    }

    /// The position of the output frame that is `n` after the next one.
    fn place(&self, n: usize) -> f64 {
        self.position + n as f64 * self.step
    }

    fn hold(&mut self, input: &[f32]) {
        let frames = input.len() / self.channels;
        for (channel, held) in self.held.iter_mut().enumerate() {
            let room = &mut held[self.frames..self.frames + frames];
            for (slot, sample) in room.iter_mut().zip(input.iter().skip(channel).step_by(self.channels)) {
                *slot = *sample;
            }
        }
        self.frames += frames;
    }

    /// Forgets what the next output frame is not made of.
    fn let_go(&mut self) {
        let past = self.position as usize;
        for held in &mut self.held {
            held.copy_within(past..self.frames, 0);
        }
        self.frames -= past;
        self.position -= past as f64;
    }
}

/// How each input frame weighs in an output frame that lies between two of them.
#[derive(Clone)]
struct Weights {
    /// Input frames that one output frame is made of, half of them on each side.
    taps: usize,
    /// So many for each of the places, from one before the first frame of the two to one after the
    /// other.
    table: Vec<f32x4>,
}

/// So many weights are reckoned with side by side, where the processor can.
const LANES: usize = 4;

/// At the slower of the two rates. More would let a little more treble through, and add delay: half of
/// them is what sound is late by.
const TAPS: f64 = 48.0;

/// Between two input frames. The parabola is off by a millionth (-120 dB) at 24 kHz, and below that by
/// less with the third power of the frequency.
const PLACES: usize = 128;

/// By how many dB what is beyond half the slower rate is kept out.
const KEPT_OUT: f64 = 110.0;

/// What is below 16.7 kHz of 24 is not touched: Kaiser's formulas for the shape of his window, and for how
/// wide the edge is that so many taps leave. Half of it lies below the cutoff, as a share of half the rate.
const SHAPE: f64 = 0.1102 * (KEPT_OUT - 8.7);
const CUTOFF: f64 = 1.0 - (KEPT_OUT - 7.95) / (14.36 * (TAPS - 1.0));

impl Weights {
    /// Of a conversion to a rate that is `fewer` times lower, or 1 where it is not.
    fn new(fewer: f64) -> Self {
        let taps = ((TAPS * fewer / LANES as f64).ceil() as usize) * LANES;
        let mut table = Vec::with_capacity(taps / LANES * (PLACES + 3));
        for place in 0..PLACES + 3 {
            let between = (place as f64 - 1.0) / PLACES as f64;
            let weigh = |tap: usize| weight(tap as f64 - centre(taps) - between, taps as f64 / 2.0, CUTOFF / fewer);
            let row: Vec<f64> = (0..taps).map(weigh).collect();
            let sum: f64 = row.iter().sum();
            let (lanes, _) = row.as_chunks::<LANES>();
            table.extend(lanes.iter().map(|lanes| f32x4::new(lanes.map(|weight| (weight / sum) as f32))));
        }
        Self { taps, table }
    }

    /// Which of the taps an output frame meets that lies at a whole number.
    fn centre(&self) -> f64 {
        centre(self.taps)
    }

    /// Those of an output frame that lies `between` two input frames, 0 to 1.
    fn between(&self, between: f64, filter: &mut [f32x4]) {
        let place = (between * PLACES as f64) as f32;
        let nearest = (place + 0.5) as i32;
        let off = place - nearest as f32;
        let length = filter.len();
        let row = |n| &self.table[(nearest as usize + n) * length..][..length];
        let (earlier, at, later) = (off * (off - 1.0) / 2.0, 1.0 - off * off, off * (off + 1.0) / 2.0);
        for (((weights, a), b), c) in filter.iter_mut().zip(row(0)).zip(row(1)).zip(row(2)) {
            *weights = *a * earlier + *b * at + *c * later;
        }
    }
}

fn centre(taps: usize) -> f64 {
    taps as f64 / 2.0 - 1.0
}

/// Of a sample that lies `away` frames from the output frame, within `half` a window, where the filter ends at
/// `cutoff` of half the rate.
fn weight(away: f64, half: f64, cutoff: f64) -> f64 {
    let inside = 1.0 - (away / half).powi(2);
    if inside < 0.0 { 0.0 } else { sinc(cutoff * away) * bessel(SHAPE * inside.sqrt()) }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The modified Bessel function of the first kind and order zero, by its power series.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    let terms = (1..40).map(|n| {
        term *= (x / 2.0 / f64::from(n)).powi(2);
        term
    });
    1.0 + terms.sum::<f64>()
}

fn weighted_sum(filter: &[f32x4], samples: &[f32]) -> f32 {
    let samples = samples.as_chunks().0.iter().copied().map(f32x4::new);
    filter.iter().zip(samples).fold(f32x4::ZERO, |sum, (weights, samples)| sum + *weights * samples).reduce_add()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sine::level_and_rest;

    /// Resamples a sine of `hz` in blocks of changing size; returns the output.
    fn sine_through(from: u32, to: u32, hz: f64, blocks: &[usize]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, 1, 512).unwrap();
        let mut phase = 0..;
        let mut out = Vec::new();
        for &block in blocks {
            let needed = resampler.input_frames(block);
            let input: Vec<f32> = phase
                .by_ref()
                .take(needed)
                .map(|n: u32| (std::f64::consts::TAU * hz * f64::from(n) / f64::from(from)).sin() as f32)
                .collect();
            let mut output = vec![0.0; block];
            resampler.process(&input, &mut output);
            out.extend(output);
        }
        out
    }

    fn blocks() -> Vec<usize> {
        (0..200).map(|n| 1 + (n * 37) % 512).collect()
    }

    #[test]
    fn a_sine_keeps_its_pitch_and_level_in_blocks_of_any_size() {
        for (from, to) in [(48_000, 48_000), (44_100, 48_000), (48_000, 44_100), (8_000, 48_000), (96_000, 48_000)] {
            for part in [0.05, 0.3, 0.65] {
                let hz = part * f64::from(from.min(to)) / 2.0;
                let out = sine_through(from, to, hz, &blocks());
                let (level, rest) = level_and_rest(&out[400..], to, hz);
                assert!((level - 1.0).abs() < 1e-3, "{from} to {to}: level of {hz} Hz {level}");
                assert!(rest < 1e-5, "{from} to {to}: beside {hz} Hz {rest}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_has_no_room_for_is_not_let_through() {
        for (from, to) in [(48_000, 44_100), (96_000, 48_000), (192_000, 44_100)] {
            let out = sine_through(from, to, f64::from(to) * 0.51, &blocks());
            let most = out[400..].iter().fold(0.0, |most: f32, sample| most.max(sample.abs()));
            assert!(most < 1e-5, "{from} to {to}: {most}");
        }
    }

    #[test]
    fn it_knows_where_it_reads_to_a_fraction_of_a_frame() {
        for (from, to) in [(48_000, 48_000), (44_100, 48_000), (48_000, 44_100), (8_000, 48_000)] {
            let mut resampler = Resampler::new(from, to, 1, 512).unwrap();
            let mut taken = 0;
            for n in 0..2000 {
                resampler.set_speed(1.0 + f64::from(n % 100) * 1e-4);
                let output_frames = 1 + (n as usize * 37) % 512;
                let needed = resampler.input_frames(output_frames);
                assert!(
                    (needed as f64) < resampler.behind().abs() + output_frames as f64 * 6.5 + resampler.lookahead()
                );
                let expected = taken as f64 - resampler.behind();
                // A triangle: straight lines pass a filter as they are.
                let height = |n: f64| 1.0 - ((n / 10_000.0) % 2.0 - 1.0).abs();
                let input: Vec<f32> = (taken..taken + needed).map(|n| height(n as f64) as f32).collect();
                taken += needed;
                let mut output = vec![0.0; output_frames];
                resampler.process(&input, &mut output);
                let (near, place) = (height(expected), expected.rem_euclid(10_000.0));
                if taken > 1000 && (200.0..9_800.0).contains(&place) {
                    let off = (f64::from(output[0]) - near).abs() * 10_000.0;
                    // To the millionths to which samples are kept.
                    assert!(off < 0.01, "{from} to {to}: {off} frames off at {expected}");
                }
            }
        }
    }
}
