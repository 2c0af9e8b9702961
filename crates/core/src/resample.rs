//! Sample rate conversion, the one place that knows rubato.

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler as _, Resizable, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use crate::Error;

/// Converts interleaved samples from one rate to another by windowed-sinc interpolation.
///
/// Delays the sound by half its filter: 32 frames of the slower rate, 0.67 ms at 48 kHz.
/// Allocates when it is made and never again.
pub struct Resampler {
    inner: Async<f32>,
    channels: usize,
    /// Where the last output frame lies, in frames from the end of the input taken; kept as rubato
    /// keeps it inside.
    last: f64,
}

/// 64 taps under Blackman-Harris squared: distortion below -138 dB, a quarter percent of a core in
/// stereo. Longer filters only add delay.
const TAPS: usize = 64;

/// Where rubato's index stands before the first frame, and which tap is the middle one.
const EMPTY: f64 = 1.0 - TAPS as f64;
const CENTRE: f64 = TAPS as f64 / 2.0 - 1.0;

/// How far the ratio may be moved from its nominal value, as a factor.
const RATIO_MAX: f64 = 1.02;

impl Resampler {
    /// From `from` to `to` frames per second, for blocks of at most `frames_max` output frames.
    pub fn new(from: u32, to: u32, channels: usize, frames_max: usize) -> Result<Self, Error> {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2)
            .interpolation(SincInterpolationType::Quadratic);
        let ratio = f64::from(to) / f64::from(from);
        let inner = Async::new_sinc(ratio, RATIO_MAX, &parameters, frames_max, channels, FixedAsync::Output)
            .map_err(|error| Error::UnsupportedFormat(format!("{from} Hz to {to} Hz: {error}")))?;
        Ok(Self { inner, channels, last: EMPTY })
    }

    /// Frames of input that the next block of `output_frames` needs. Call it before each
    /// [`process`](Self::process).
    pub fn input_frames(&mut self, output_frames: usize) -> usize {
        self.inner.set_chunk_size(output_frames).expect("a block within frames_max, not empty");
        self.inner.input_frames_next()
    }

    /// The most input frames that a block of `frames_max` may need.
    pub fn input_frames_max(&self) -> usize {
        self.inner.input_frames_max()
    }

    /// Converts exactly [`input_frames`](Self::input_frames) frames into the block asked for.
    pub fn process(&mut self, input: &[f32], output: &mut [f32]) {
        let (input_frames, output_frames) = (input.len() / self.channels, output.len() / self.channels);
        let input = InterleavedSlice::new(input, self.channels, input_frames).expect("whole frames");
        let mut output = InterleavedSlice::new_mut(output, self.channels, output_frames).expect("whole frames");
        let advance = output_frames as f64 / self.inner.resample_ratio();
        self.inner.process_into_buffer(&input, &mut output, None).expect("blocks as announced");
        self.last += advance - input_frames as f64;
    }

    /// Frames between the next output frame and the end of the input taken: how far the sound is
    /// behind, to a fraction of a frame.
    pub fn behind(&self) -> f64 {
        -(self.last + 1.0 / self.inner.resample_ratio() + CENTRE)
    }

    /// Frames of input that are read ahead of an output frame, at the most.
    pub fn lookahead(&self) -> f64 {
        CENTRE + 2.0
    }

    /// Empties it: silence comes before the next input.
    pub fn reset(&mut self) {
        let ratio = self.inner.resample_ratio();
        self.inner.reset();
        self.inner.set_resample_ratio(ratio, false).expect("a ratio that it had");
        self.last = EMPTY;
    }

    /// Makes the sound run faster (above 1) or slower than nominal from the next block on;
    /// clamped to 2 %.
    pub fn set_speed(&mut self, speed: f64) {
        let relative = (1.0 / speed).clamp(1.0 / RATIO_MAX, RATIO_MAX);
        self.inner.set_resample_ratio_relative(relative, false).expect("a ratio within its bounds");
    }

    /// Frames of output by which the sound is delayed.
    pub fn delay_frames(&self) -> usize {
        self.inner.output_delay()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_sine_keeps_its_pitch_and_level_in_blocks_of_any_size() {
        for (from, to) in [(44_100, 48_000), (48_000, 44_100), (8_000, 48_000), (96_000, 48_000)] {
            let blocks: Vec<usize> = (0..200).map(|n| 1 + (n * 37) % 512).collect();
            let out = sine_through(from, to, 1_000.0, &blocks);
            // The best sine of that frequency, by least squares, leaves next to nothing.
            let skip = 200;
            let (mut s, mut c) = (0.0f64, 0.0f64);
            let angle = |n: usize| std::f64::consts::TAU * 1_000.0 * n as f64 / f64::from(to);
            let n = (out.len() - skip) as f64;
            for (i, &sample) in out.iter().enumerate().skip(skip) {
                s += f64::from(sample) * angle(i).sin() * 2.0 / n;
                c += f64::from(sample) * angle(i).cos() * 2.0 / n;
            }
            let residual: f64 = out
                .iter()
                .enumerate()
                .skip(skip)
                .map(|(i, &sample)| (f64::from(sample) - s * angle(i).sin() - c * angle(i).cos()).powi(2))
                .sum::<f64>()
                / n;
            assert!((s.hypot(c) - 1.0).abs() < 0.01, "{from} to {to}: level {}", s.hypot(c));
            assert!(residual.sqrt() < 0.01, "{from} to {to}: residual {}", residual.sqrt());
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
                    // Its gain is right to a few millionths, which the height is off by, too.
                    assert!(off < 0.05, "{from} to {to}: {off} frames off at {expected}");
                }
            }
        }
    }
}
