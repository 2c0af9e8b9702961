//! A stretch of what was heard against what was said, to a fraction of a frame.

/// The place, speed and gain at which what was said comes closest to what was heard.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// Of the first sample, in frames of what was said.
    pub position: f64,
    /// Frames said per frame heard.
    pub speed: f64,
    pub gain: f64,
    /// What is left, as a share of what was heard: 0 is the same.
    pub residual: f64,
    /// The largest step from one sample of what is left to the next, full scale 1.0: what a click
    /// is, however loud the sound around it.
    pub step: f64,
}

/// Newton's steps; each doubles the digits once it is near.
const STEPS: usize = 6;

/// Half the width over which a slope is taken, in frames.
const NEAR: f64 = 0.25;

impl Fit {
    /// Looks near `position` and `speed`, which must be right to a part of a wave.
    pub fn new(heard: &[f32], said: impl Fn(f64) -> f64, position: f64, speed: f64) -> Self {
        let (mut position, mut speed, mut gain) = (position, speed, 1.0);
        let middle = (heard.len() - 1) as f64 / 2.0;
        for _ in 0..STEPS {
            let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
            for (n, &sample) in heard.iter().enumerate() {
                // Counted from the middle, place and speed disturb each other least.
                let place = position + speed * n as f64;
                let value = said(place);
                let slope = gain * (said(place + NEAR) - said(place - NEAR)) / (2.0 * NEAR);
                let row = [slope, slope * (n as f64 - middle) / middle, value];
                let error = f64::from(sample) - gain * value;
                for (a, &left) in row.iter().enumerate() {
                    right[a] += left * error;
                    row.iter().enumerate().for_each(|(b, &other)| matrix[a][b] += left * other);
                }
            }
            let Some([place, tilt, more]) = solve(matrix, right) else { break };
            // Far steps leave the wave that the search began in.
            let (place, tilt) = (place.clamp(-4.0, 4.0), tilt.clamp(-4.0, 4.0));
            speed += tilt / middle;
            position += place - tilt;
            gain = (gain + more).clamp(0.1, 10.0);
        }
        Self::left(heard, said, position, speed, gain)
    }

    fn left(heard: &[f32], said: impl Fn(f64) -> f64, position: f64, speed: f64, gain: f64) -> Self {
        let left = |(n, &sample): (usize, &f32)| f64::from(sample) - gain * said(position + speed * n as f64);
        let left: Vec<f64> = heard.iter().enumerate().map(left).collect();
        let energy: f64 = heard.iter().map(|&sample| f64::from(sample) * f64::from(sample)).sum();
        let residual = (left.iter().map(|left| left * left).sum::<f64>() / energy.max(1e-12)).sqrt();
        let step = left.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
        Self { position, speed, gain, residual, step }
    }
}

/// What of a sine is not the sine, as a share in dB, whatever its exact frequency near `hz`.
pub fn distortion(heard: &[f32], hz: f64, rate: f64) -> f64 {
    let mut turn = std::f64::consts::TAU * hz / rate;
    let (mut cosine, mut sine) = (0.0, 0.0);
    let middle = (heard.len() - 1) as f64 / 2.0;
    let mut left = 0.0;
    for step in 0..STEPS {
        let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
        left = 0.0;
        for (n, &sample) in heard.iter().enumerate() {
            let time = n as f64 - middle;
            let (s, c) = (turn * time).sin_cos();
            let error = f64::from(sample) - cosine * c - sine * s;
            left += error * error;
            // Nothing is known of the frequency before the amplitudes are.
            let tilt = if step == 0 { time * 1e-9 } else { (sine * c - cosine * s) * time };
            let row = [c, s, tilt];
            for (a, &one) in row.iter().enumerate() {
                right[a] += one * error;
                row.iter().enumerate().for_each(|(b, &other)| matrix[a][b] += one * other);
            }
        }
        let Some([c, s, faster]) = solve(matrix, right) else { break };
        (cosine, sine) = (cosine + c, sine + s);
        turn += if step == 0 { 0.0 } else { faster };
    }
    let wave = heard.len() as f64 * (cosine * cosine + sine * sine) / 2.0;
    10.0 * (left / wave).log10()
}

/// Cramer's rule; `None` where nothing can be told.
fn solve(m: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let all = determinant(m);
    let scale = m[0][0] * m[1][1] * m[2][2];
    if all.abs() <= scale.abs() * 1e-12 {
        return None;
    }
    Some([0, 1, 2].map(|column| {
        let mut with = m;
        with.iter_mut().zip(right).for_each(|(row, right)| row[column] = right);
        determinant(with) / all
    }))
}

fn determinant(m: [[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

#[cfg(test)]
mod tests {
    use audiostreamer_core::resample::Resampler;

    use super::*;
    use crate::signal::Signal;

    fn said(signal: Signal) -> impl Fn(f64) -> f64 {
        move |place| signal.at(place, 48_000, 0)
    }

    /// Frames by which it is late.
    const RESAMPLER: f64 = 24.0;

    /// A signal after a resampler at a speed, `skip` frames in, 100 ms.
    fn through(signal: Signal, speed: f64, skip: usize) -> Vec<f32> {
        let mut resampler = Resampler::new(48_000, 48_000, 1, 4_800).unwrap();
        resampler.set_speed(speed);
        let mut heard = Vec::new();
        let mut next = 0..;
        while heard.len() < skip + 4_800 {
            let needed = resampler.input_frames(4_800);
            let input: Vec<f32> = next.by_ref().take(needed).map(|n: u64| signal.sample(n, 48_000, 0)).collect();
            let mut output = vec![0.0; 4_800];
            resampler.process(&input, &mut output);
            heard.extend(output);
        }
        heard[skip..skip + 4_800].to_vec()
    }

    #[test]
    fn place_and_speed_are_found_and_nothing_is_left() {
        for signal in [Signal::Speech, Signal::Music] {
            for speed in [1.0, 1.002, 0.995] {
                let skip = 60_000;
                let heard = through(signal, speed, skip);
                let position = skip as f64 * speed - RESAMPLER;
                // The correlation of the whole is best where the middle fits.
                let aligned = (position + (speed - 1.0) * 2_400.0).round() + 1.0;
                let fit = Fit::new(&heard, said(signal), aligned, 1.0);
                let what = format!("{signal:?} at {speed}: {fit:?}, from {position}");
                assert!((fit.speed - speed).abs() < 1e-5, "{what}");
                assert!((fit.position - position).abs() < 1.0, "{what}");
                assert!(fit.residual < 0.06 && fit.step < 0.03, "{what}");
            }
        }
    }

    #[test]
    fn a_click_is_left_over_and_a_crossfade_is_not() {
        for signal in [Signal::Speech, Signal::Music] {
            let mut clicked = through(signal, 1.0, 60_000);
            let whole = Fit::new(&clicked, said(signal), 60_000.0 - RESAMPLER, 1.0);
            clicked[2_000..].iter_mut().for_each(|sample| *sample += 0.05);
            let fit = Fit::new(&clicked, said(signal), 60_000.0 - RESAMPLER, 1.0);
            assert!(fit.step > 0.04 && whole.step < 0.02, "{signal:?}: {whole:?}, clicked {fit:?}");
        }
    }

    #[test]
    fn distortion_is_told_to_where_24_bits_end() {
        let wave = |n: u32| (0.89 * (std::f64::consts::TAU * 997.3 / 48_000.0 * f64::from(n)).sin()) as f32;
        let clean: Vec<f32> = (0..48_000).map(wave).collect();
        let measured = distortion(&clean, 997.0, 48_000.0);
        assert!(measured < -140.0, "{measured} dB");
        let third = |n: u32| 1e-5 * (std::f32::consts::TAU * 3.0 * 997.3 / 48_000.0 * n as f32).sin();
        let dirty: Vec<f32> = (0..48_000).map(|n| wave(n) + third(n)).collect();
        let measured = distortion(&dirty, 997.0, 48_000.0);
        assert!((measured + 99.0).abs() < 0.5, "{measured} dB");
    }
}
