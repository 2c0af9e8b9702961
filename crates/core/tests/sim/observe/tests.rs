//! The observer before paths made by hand: what it says of them is known beforehand.

use audiostreamer_core::Instant;
use audiostreamer_core::resample::Resampler;

use super::*;

const RATE: f64 = 48_000.0;
const BLOCK: usize = 128;

/// Milliseconds by which the resampler is late.
const RESAMPLER: f64 = 24.0 / 48.0;

/// So much later than the microphone heard it the path's first frame is put into the resampler.
const LATER: u64 = 4_800;

/// The first frame of most of them.
const FIRST: u64 = 10_000;

/// What a lossless codec keeps of the code, from `first` on.
fn said(first: u64, frames: usize) -> Vec<f32> {
    coded(TimeCode::FINE, 24, first, frames)
}

fn coded(code: TimeCode, bits: i32, first: u64, frames: usize) -> Vec<f32> {
    let mut cursor = Cursor::new(code);
    let scale = f64::from(2.0f32.powi(bits - 1));
    (first..).take(frames).map(|frame| ((cursor.at(frame as f64).0 * scale).round() / scale) as f32).collect()
}

/// Plays samples through a resampler whose speed is asked for before each block.
fn hear(code: TimeCode, samples: &[f32], mut speed: impl FnMut(usize) -> f64) -> Heard {
    let clock = Clock::new(Instant::from_nanos(0), RATE);
    let mut resampler = Resampler::new(48_000, 48_000, 1, BLOCK).unwrap();
    let mut track = Track::new(code, 1.0);
    let (mut left, mut output) = (samples, [0.0; BLOCK]);
    for block in 0.. {
        resampler.set_speed(speed(block));
        let needed = resampler.input_frames(BLOCK);
        if left.len() < needed {
            break;
        }
        resampler.process(&left[..needed], &mut output);
        left = &left[needed..];
        let block = Block { first: FIRST + LATER + (block * BLOCK) as u64, frames: BLOCK };
        track.handle(block, output.iter().copied(), &clock, &clock);
    }
    track.heard.clone()
}

fn at_nominal_speed(samples: &[f32]) -> Heard {
    hear(TimeCode::FINE, samples, |_| 1.0)
}

/// A raised cosine from 0 to 1.
fn rise(number: usize, count: usize) -> f32 {
    0.5 - 0.5 * (std::f32::consts::PI * (number as f32 + 0.5) / count as f32).cos()
}

/// Goes over from one place to another, `count` frames long, after `before` frames.
fn spliced(before: usize, lag: i64, count: usize, after: usize) -> Vec<f32> {
    let old = said(FIRST, before + count);
    let new = said(FIRST.wrapping_add_signed(lag) + before as u64, count + after);
    let mut samples = old[..before].to_vec();
    samples.extend((0..count).map(|n| old[before + n] + (new[n] - old[before + n]) * rise(n, count)));
    samples.extend_from_slice(&new[count..]);
    samples
}

/// Burg's method: what comes next, as an autoregression of `order` on what was before sees it.
fn predicted(past: &[f32], order: usize, count: usize) -> Vec<f32> {
    let past: Vec<f64> = past.iter().map(|&sample| f64::from(sample)).collect();
    let (mut forward, mut backward, mut a) = (past.clone(), past.clone(), vec![1.0]);
    for m in 1..=order {
        let pairs = (m..past.len()).map(|n| (forward[n], backward[n - 1]));
        let (both, energy) = pairs.fold((0.0, 1e-30), |(both, energy), (f, b)| (both + f * b, energy + f * f + b * b));
        let k = -2.0 * both / energy;
        a.push(0.0);
        let turned: Vec<f64> = a.iter().rev().copied().collect();
        a.iter_mut().zip(&turned).for_each(|(a, b)| *a += k * b);
        for n in (m..past.len()).rev() {
            let (f, b) = (forward[n], backward[n - 1]);
            (forward[n], backward[n]) = (f + k * b, b + k * f);
        }
    }
    let mut all = past;
    for _ in 0..count {
        let next = -a[1..].iter().zip(all.iter().rev()).map(|(a, x)| a * x).sum::<f64>();
        all.push(next);
    }
    all[all.len() - count..].iter().map(|&sample| sample as f32).collect()
}

#[test]
fn a_delay_is_known_to_a_microsecond_or_two_through_the_resampler() {
    let heard = at_nominal_speed(&said(FIRST, 300_000));
    let delay = 100.0 + RESAMPLER; // LATER is 100 ms
    assert!((heard.delay(0.5) - delay).abs() < 0.001, "{}", heard.delay(0.5));
    assert!(heard.delay(1.0) - heard.delay(0.0) < 0.003, "{}", heard.delay(1.0) - heard.delay(0.0));
    assert_eq!((heard.gaps.len(), heard.splices.len(), heard.repeated_frames), (0, 0, 0));
    let (max, rms) = heard.pitch_from(0.2);
    assert!(max < 0.1 && rms < 0.03, "{max}, {rms} cents");
}

#[test]
fn speeds_of_up_to_two_percent_are_followed_and_told_in_cents() {
    for percent in [-1.9, -0.5, 0.03, 0.5, 1.9] {
        let speed = 1.0 + percent / 100.0;
        let heard = hear(TimeCode::FINE, &said(FIRST, 150_000), |_| speed);
        assert_eq!((heard.gaps.len(), heard.splices.len(), heard.repeated_frames), (0, 0, 0), "{percent} %");
        let (max, rms) = heard.pitch_from(0.3);
        let cents = (speed - 1.0).abs() * 1_731.2;
        assert!((max - cents).abs() < 0.1 && (rms - cents).abs() < 0.03, "{percent} %: {max}, {rms}, not {cents}");
    }
}

#[test]
fn a_speed_that_moves_from_block_to_block_breaks_nothing() {
    for percent in [0.0, 1.4] {
        let speed = |block: usize| 1.0 + percent / 100.0 + if (block / 7).is_multiple_of(2) { 0.005 } else { -0.005 };
        let heard = hear(TimeCode::FINE, &said(FIRST, 400_000), speed);
        assert_eq!((heard.gaps.len(), heard.splices.len(), heard.repeated_frames), (0, 0, 0), "{percent} %");
        assert!(heard.faded_frames < 200, "{}", heard.faded_frames);
    }
}

#[test]
fn sixteen_bits_are_read_too() {
    let heard = hear(TimeCode::L16, &coded(TimeCode::L16, 16, FIRST, 200_000), |_| 1.003);
    assert_eq!((heard.gaps.len(), heard.splices.len(), heard.repeated_frames), (0, 0, 0), "{:?}", heard.gaps);
    let heard = hear(TimeCode::L16, &coded(TimeCode::L16, 16, FIRST, 200_000), |_| 1.0);
    assert!((heard.delay(0.5) - 100.0 - RESAMPLER).abs() < 0.005, "{}", heard.delay(0.5));
}

#[test]
fn splices_are_told_from_gaps_with_their_size() {
    for lag in [120, 480, 1_000, 2_400, -120, -480, -1_000, -2_400] {
        for count in [240, 480] {
            // Somewhere on a slope, and just where the code turns.
            for before in [20_000, 3 * 32_768 - FIRST as usize - 200] {
                let heard = at_nominal_speed(&spliced(before, lag, count, 20_000));
                let what = format!("{lag} in {count} after {before}: {:?} {:?}", heard.gaps, heard.splices);
                assert_eq!((heard.gaps.len(), heard.splices.len(), heard.repeated_frames), (0, 1, 0), "{what}");
                let splice = heard.splices[0];
                assert!((splice.lag - lag as f64).abs() < 2.0, "{what}");
                assert!((count as u64 - 60..=count as u64 + 60).contains(&splice.frames), "{what}");
            }
        }
    }
}

#[test]
fn splices_while_the_speed_is_off_keep_their_size() {
    for (lag, speed) in [(720, 1.005), (-720, 0.995)] {
        let heard = hear(TimeCode::FINE, &spliced(20_000, lag, 480, 20_000), |_| speed);
        assert_eq!((heard.gaps.len(), heard.splices.len()), (0, 1), "{:?}", heard.gaps);
        assert!((heard.splices[0].lag - lag as f64).abs() < 2.0, "{:?}", heard.splices);
    }
}

#[test]
fn a_hard_cut_is_a_gap() {
    for lag in [-480, 1, 30, 480] {
        let mut samples = said(FIRST, 20_000);
        samples.extend(said((FIRST + 20_000).wrapping_add_signed(lag), 20_000));
        let heard = at_nominal_speed(&samples);
        assert_eq!((heard.gaps.len(), heard.splices.len()), (1, 0), "{lag}: {:?}", heard.splices);
    }
}

#[test]
fn silence_and_fades_in_and_out_are_gaps_of_their_length() {
    for count in [48, 240, 960, 9_600] {
        let mut samples = said(FIRST, 60_000);
        let ramp = (count / 3).min(120);
        for n in 0..count {
            let from_edge = n.min(count - 1 - n);
            samples[30_000 + n] *= 1.0 - rise(from_edge.min(ramp - 1), ramp);
        }
        let heard = at_nominal_speed(&samples);
        assert_eq!((heard.gaps.len(), heard.splices.len(), heard.repeated_frames), (1, 0, 0), "{:?}", heard.gaps);
        let gap = heard.gaps[0];
        assert!((gap.frames as i64 - count as i64).abs() < 64, "{count}: {gap:?}");
        assert!((gap.passed - gap.frames as f64).abs() < 0.5, "{count}: {gap:?}");
        assert!(count < 960 || heard.silent_frames as usize > count - 500, "{}", heard.silent_frames);
    }
}

#[test]
fn a_straight_line_is_no_sound_however_well_it_goes_on() {
    for (place, count) in [(30_000, 240), (30_123, 240), (30_123, 480), (31_001, 1_200)] {
        let mut samples = said(FIRST, 90_000);
        let (from, to) = (samples[place], samples[place + count]);
        for n in 0..count {
            samples[place + n] = from + (to - from) * n as f32 / count as f32;
        }
        let heard = at_nominal_speed(&samples);
        assert_eq!((heard.gaps.len(), heard.splices.len()), (1, 0), "{:?}", heard.gaps);
        let gap = heard.gaps[0];
        assert!((gap.frames as i64 - count as i64).abs() < 64, "{count}: {gap:?}");
        assert!((gap.passed - gap.frames as f64).abs() < 0.5, "{count}: {gap:?}");
    }
}

#[test]
fn a_prediction_is_no_sound() {
    for (place, order, past) in [(30_000, 32, 480), (40_007, 64, 960), (50_021, 128, 960), (66_000, 64, 480)] {
        for count in [128, 240, 480] {
            let mut samples = said(FIRST, 90_000);
            let made_up = predicted(&samples[place - past..place], order, count);
            samples[place..place + count].copy_from_slice(&made_up);
            let heard = at_nominal_speed(&samples);
            assert_eq!((heard.gaps.len(), heard.splices.len()), (1, 0), "{order}, {count}: {:?}", heard.gaps);
            let gap = heard.gaps[0];
            assert!((gap.frames as i64 - count as i64).abs() < 64, "{order}, {count}: {gap:?}");
            assert!((gap.passed - gap.frames as f64).abs() < 0.5, "{order}, {count}: {gap:?}");
        }
    }
}

#[test]
fn the_time_to_settle_is_that_of_the_delay() {
    // Half a percent too fast for 4 s: 20 ms less of delay, then it stands.
    let blocks = (4.0 * RATE) as usize / BLOCK;
    let heard = hear(TimeCode::FINE, &said(FIRST, 20 * 48_000), |block| if block < blocks { 1.005 } else { 1.0 });
    let settled = heard.settled().expect("it settles");
    // The tenth of the last 80 ms is reached 1.6 s before the end.
    assert!((settled - 2.4).abs() < 0.1, "{settled}");
}

#[test]
fn gaps_close_together_are_one_event() {
    let mut samples = said(FIRST, 200_000);
    for start in [50_000, 50_700, 90_000] {
        samples[start..start + 240].fill(0.0);
    }
    let heard = at_nominal_speed(&samples);
    assert_eq!((heard.gaps.len(), heard.events_from(0.0, 48_000), heard.events_from(1.5, 48_000)), (3, 2, 1));
}
