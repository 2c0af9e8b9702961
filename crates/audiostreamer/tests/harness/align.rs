//! Finding a sound in a recording, by cross-correlation.

use std::ops::Range;

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::audio::Audio;

/// The frame of `recording` on which frame 0 of `reference` falls best, by the first channel that
/// has any sound in it. Negative when the recording began later than the reference.
pub fn locate(reference: &Audio, recording: &Audio) -> isize {
    assert_eq!(reference.channels, recording.channels, "reference and recording have the same channels");
    let channel = (0..reference.channels)
        .find(|&channel| reference.channel(channel).iter().any(|&sample| sample != 0.0))
        .expect("the reference is not silent");
    let lags = -(reference.frames() as isize)..recording.frames() as isize + 1;
    best_lag(&reference.channel(channel), &recording.channel(channel), lags)
}

/// The lag within `lags` at which `recording[index + lag]` resembles `reference[index]` most.
pub fn best_lag(reference: &[f32], recording: &[f32], lags: Range<isize>) -> isize {
    best_match(reference, recording, lags).0
}

/// The same, and the sum of the products at it.
pub fn best_match(reference: &[f32], recording: &[f32], lags: Range<isize>) -> (isize, f32) {
    let correlation = cross_correlate(reference, recording);
    let value = |lag: isize| correlation[lag.rem_euclid(correlation.len() as isize) as usize];
    lags.map(|lag| (lag, value(lag))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

/// The sum of `reference[index] * recording[index + lag]` for every lag; negative lags count from
/// the end.
fn cross_correlate(reference: &[f32], recording: &[f32]) -> Vec<f32> {
    // Long enough that nothing wraps around onto something else.
    let length = (reference.len() + recording.len() + 1).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let forward = planner.plan_fft_forward(length);
    let spectrum = |samples: &[f32]| {
        let mut padded = samples.to_vec();
        padded.resize(length, 0.0);
        let mut spectrum = forward.make_output_vec();
        forward.process(&mut padded, &mut spectrum).expect("the lengths fit");
        spectrum
    };
    let reference = spectrum(reference);
    let mut product: Vec<Complex<f32>> =
        spectrum(recording).iter().zip(&reference).map(|(recording, reference)| recording * reference.conj()).collect();
    let mut out = vec![0.0; length];
    planner.plan_fft_inverse(length).process(&mut product, &mut out).expect("the lengths fit");
    out
}
