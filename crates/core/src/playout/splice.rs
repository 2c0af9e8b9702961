//! Sound that becomes shorter or longer by one splice where it resembles itself.
//!
//! Steady sound is full of places that look alike: go from one to the other and nobody hears that
//! something was left out, or played again. [`Splicer::find`] looks for such a pair in decoded
//! samples, all channels together, so that they stay aligned to the sample; [`remove`] and
//! [`repeat`] do it. None of them allocates.

use std::ops::RangeInclusive;

/// Finds where sound resembles itself.
pub(super) struct Splicer {
    channels: usize,
    /// Frames that are one in the coarse search.
    step: usize,
    /// The sound in steps, interleaved.
    coarse: Vec<f32>,
    /// The energy in `coarse` of all that comes before each step.
    energy: Vec<f64>,
    /// The energy in the sound itself, high notes and all, of the same.
    whole_energy: Vec<f64>,
}

/// What two places of a sound have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    /// Frames from the one to the other.
    pub lag: usize,
    /// One where both are the same, zero where they have nothing in common: one less the share of
    /// their energy by which they differ.
    pub correlation: f32,
}

/// A coarse search at this rate finds the right period of all that has one that can be heard as a
/// note; the fine one then finds the sample.
const COARSE_RATE: u32 = 12_000;

/// Quieter than this, 60 dB below full scale, a sound may be cut wherever it is.
const QUIET: f32 = 1e-3;

/// What lies between the two places may be louder than they are by so much, as energy: a beat or a
/// syllable must be neither swallowed nor stuttered.
const LOUDER: f64 = 2.0;

impl Splicer {
    /// For sound of up to `frames_max` frames: longer ones are searched so far.
    pub fn new(rate: u32, channels: usize, frames_max: usize) -> Self {
        let step = (rate / COARSE_RATE).max(1) as usize;
        let steps = frames_max / step;
        Self {
            channels,
            step,
            coarse: Vec::with_capacity(steps * channels),
            energy: Vec::with_capacity(steps + 1),
            whole_energy: Vec::with_capacity(steps + 1),
        }
    }

    /// The lag, in frames and within `lags`, at which `samples` resemble their beginning most, for
    /// as long as a crossfade of `fade` frames; of equals the longest. `None` where there are not
    /// as many samples as the shortest lag and the fade take.
    pub fn find(&mut self, samples: &[f32], lags: RangeInclusive<usize>, fade: usize) -> Option<Match> {
        let room = (samples.len() / self.channels).checked_sub(fade).filter(|_| fade > 0)?;
        let (shortest, longest) = (*lags.start(), room.min(*lags.end()));
        if shortest > longest {
            return None;
        }
        if let Some(lag) = quiet_lag(samples, self.channels, fade).filter(|&lag| lag >= shortest) {
            return Some(Match { lag: lag.min(longest), correlation: 1.0 });
        }
        let near = self.find_near(samples, shortest, longest, fade).unwrap_or(shortest);
        let fine = near.saturating_sub(self.step).max(shortest)..=(near + self.step).min(longest);
        let matches = fine.map(|lag| self.compare(samples, lag, fade));
        let best = matches.max_by(|a, b| a.correlation.total_cmp(&b.correlation))?;
        Some(Match { correlation: best.correlation * self.steadiness(best.lag, fade), ..best })
    }

    /// The best lag of the coarse search. `None` where steps are too long for one.
    fn find_near(&mut self, samples: &[f32], shortest: usize, longest: usize, fade: usize) -> Option<usize> {
        self.look(samples);
        let (window, steps) = (fade / self.step, self.energy.len() - 1);
        let room = steps.checked_sub(window).filter(|_| window > 0)?;
        let lags = shortest.div_ceil(self.step)..=(longest / self.step).min(room);
        let beginning = &self.coarse[..window * self.channels];
        let likeness = |lag: &usize| {
            let other = &self.coarse[lag * self.channels..][..beginning.len()];
            likeness(product(beginning, other), self.energy[window], self.energy[lag + window] - self.energy[*lag])
        };
        let scored = lags.map(|lag| (lag, likeness(&lag)));
        scored.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(lag, _)| lag * self.step)
    }

    /// Adds up each step of frames: that is a low-pass, too, as good as a search needs.
    fn look(&mut self, samples: &[f32]) {
        self.coarse.clear();
        self.energy.clear();
        self.whole_energy.clear();
        let steps_max = self.coarse.capacity() / self.channels;
        let (mut energy, mut whole_energy) = (0.0, 0.0);
        for step in samples.chunks_exact(self.step * self.channels).take(steps_max) {
            self.energy.push(energy);
            self.whole_energy.push(whole_energy);
            for channel in 0..self.channels {
                let sum: f32 = step.iter().skip(channel).step_by(self.channels).sum();
                self.coarse.push(sum);
                energy += f64::from(sum * sum);
            }
            whole_energy += f64::from(step.iter().map(|sample| sample * sample).sum::<f32>());
        }
        self.energy.push(energy);
        self.whole_energy.push(whole_energy);
    }

    fn compare(&self, samples: &[f32], lag: usize, fade: usize) -> Match {
        let (a, b) = (&samples[..fade * self.channels], &samples[lag * self.channels..][..fade * self.channels]);
        let correlation = likeness(product(a, b), product(a, a), product(b, b)) as f32;
        Match { lag, correlation }
    }

    /// One where nothing between the two places is much louder than they are, less where something is.
    fn steadiness(&self, lag: usize, fade: usize) -> f32 {
        let energy = &self.whole_energy;
        let steps = energy.len() - 1;
        let window = (fade / self.step).min(steps);
        if window == 0 {
            return 1.0;
        }
        let end = (lag / self.step + window).min(steps);
        let places = (energy[window] + energy[end] - energy[end - window]) / (2 * window) as f64;
        let all = energy[end] / end as f64;
        (LOUDER * places / all.max(f64::MIN_POSITIVE)).min(1.0) as f32
    }
}

/// Leaves out `matched.lag` frames of `samples` after `at`, in a crossfade of `fade` frames from
/// there to as far behind the gap. Returns whether there was enough for it.
pub(super) fn remove(samples: &mut Vec<f32>, channels: usize, at: usize, matched: Match, fade: usize) -> bool {
    let Match { lag, correlation } = matched;
    if !fits(samples, channels, at, lag, fade) {
        return false;
    }
    // Forwards: what is read lies behind what is written.
    for frame in 0..fade {
        let (old, new) = weights(frame, fade, correlation);
        for index in (at + frame) * channels..(at + frame + 1) * channels {
            samples[index] = samples[index] * old + samples[index + lag * channels] * new;
        }
    }
    samples.drain((at + fade) * channels..(at + fade + lag) * channels);
    true
}

/// Plays `matched.lag` frames of `samples` after `at` once more, in a crossfade of `fade` frames
/// from behind them back to `at`. Returns whether there was enough for it, and room: it never
/// allocates.
pub(super) fn repeat(samples: &mut Vec<f32>, channels: usize, at: usize, matched: Match, fade: usize) -> bool {
    let Match { lag, correlation } = matched;
    let length = samples.len();
    let longer = lag.saturating_mul(channels).saturating_add(length);
    if !fits(samples, channels, at, lag, fade) || longer > samples.capacity() {
        return false;
    }
    samples.resize(longer, 0.0);
    samples.copy_within((at + fade) * channels..length, (at + fade + lag) * channels);
    // Backwards: what is read lies before what is written.
    for frame in (0..fade).rev() {
        let (old, new) = weights(frame, fade, correlation);
        for index in (at + frame) * channels..(at + frame + 1) * channels {
            samples[index + lag * channels] = samples[index + lag * channels] * old + samples[index] * new;
        }
    }
    true
}

fn fits(samples: &[f32], channels: usize, at: usize, lag: usize, fade: usize) -> bool {
    at.saturating_add(lag).saturating_add(fade) <= samples.len() / channels
}

/// How much of the old and of the new a crossfade takes. The gains add up to one where both are the
/// same, their squares where they have nothing in common: so the sound stays as loud as it is.
fn weights(frame: usize, fade: usize, correlation: f32) -> (f32, f32) {
    let progress = (frame as f32 + 0.5) / fade as f32;
    let new = 0.5 - 0.5 * (progress * std::f32::consts::PI).cos();
    let old = 1.0 - new;
    let loud = (old * old + new * new + 2.0 * old * new * correlation.clamp(0.0, 1.0)).sqrt();
    (old / loud, new / loud)
}

/// How far a lag may go until something is heard in what it takes.
fn quiet_lag(samples: &[f32], channels: usize, fade: usize) -> Option<usize> {
    let heard = samples.iter().position(|sample| sample.abs() > QUIET).unwrap_or(samples.len());
    (heard / channels).checked_sub(fade)
}

/// From the product of two pieces of sound and their energies.
fn likeness(product: f64, one: f64, other: f64) -> f64 {
    2.0 * product / (one + other).max(f64::MIN_POSITIVE)
}

/// In sums beside each other, which a processor adds at once.
fn product(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        (0..LANES).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.into_iter().map(f64::from).sum::<f64>() + f64::from(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;
    const MILLISECOND: usize = 48;
    const FADE: usize = 10 * MILLISECOND;
    const LAGS: RangeInclusive<usize> = MILLISECOND * 5 / 2..=50 * MILLISECOND;

    /// 100 ms of tones, the left and the right ones.
    fn tones(left: &[f64], right: &[f64]) -> Vec<f32> {
        let sum = |tones: &[f64], n: usize| {
            let angle = n as f64 / f64::from(RATE) * std::f64::consts::TAU;
            tones.iter().map(|hz| (angle * hz + hz).sin()).sum::<f64>() as f32 * 0.2
        };
        (0..100 * MILLISECOND).flat_map(|n| [sum(left, n), sum(right, n)]).collect()
    }

    fn noise(frames: usize) -> Vec<f32> {
        let mut state = 1u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..2 * frames).map(next).collect()
    }

    fn find(samples: &[f32]) -> Option<Match> {
        Splicer::new(RATE, 2, 70 * MILLISECOND).find(samples, LAGS, FADE)
    }

    fn steepest(samples: &[f32]) -> f32 {
        let step = |channel: usize| move |frames: &[f32]| (frames[channel + 2] - frames[channel]).abs();
        let windows = || samples.windows(4).step_by(2);
        windows().map(step(0)).chain(windows().map(step(1))).fold(0.0, f32::max)
    }

    /// The energy of `samples` that no tone of `hz` tells, as a share of all of it.
    fn residue(samples: impl Iterator<Item = f32> + Clone, hz: f64) -> f64 {
        // A tone is what twice the cosine makes of its two neighbours.
        let twice = 2.0 * (hz / f64::from(RATE) * std::f64::consts::TAU).cos();
        let all: Vec<f64> = samples.map(f64::from).collect();
        let error: f64 = all.windows(3).map(|x| (x[0] + x[2] - twice * x[1]).powi(2)).sum();
        error / all.iter().map(|x| x * x).sum::<f64>()
    }

    #[test]
    fn a_tone_keeps_its_phase() {
        for hz in [60.0, 100.0, 440.0, 1_234.5, 5_000.0, 9_000.0] {
            let tone = tones(&[hz], &[hz * 1.5]);
            let best = find(&tone).unwrap();
            assert!(best.correlation > 0.97, "{hz} Hz: {best:?}");
            let (mut shorter, mut longer) = (tone.clone(), tone.clone());
            longer.reserve_exact(best.lag * 2);
            assert!(remove(&mut shorter, 2, 0, best, FADE) && repeat(&mut longer, 2, 0, best, FADE));
            for spliced in [shorter, longer] {
                assert!(steepest(&spliced) < 1.02 * steepest(&tone), "{hz} Hz");
                let left = residue(spliced.iter().step_by(2).copied(), hz);
                assert!(left < 1e-6, "{hz} Hz: {left}");
                let level = |samples: &[f32]| samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32;
                assert!((level(&spliced) / level(&tone) - 1.0).abs() < 0.05, "{hz} Hz");
            }
        }
    }

    #[test]
    fn a_chord_resembles_itself_somewhere() {
        let best = find(&tones(&[220.0, 277.18, 329.63, 440.0], &[220.0, 554.37, 659.26])).unwrap();
        assert!(best.correlation > 0.95, "{best:?}");
    }

    #[test]
    fn noise_does_not_resemble_itself() {
        for seed in 0..10 {
            let best = find(&noise(100 * MILLISECOND + seed)[2 * seed..]).unwrap();
            assert!(best.correlation < 0.3, "{best:?}");
        }
    }

    #[test]
    fn a_repeat_of_noise_is_found_to_the_sample_and_cut_out_of_both_channels() {
        for lag in [121, 500, 1_001, 2_399] {
            let start = noise(lag);
            let rest = &noise(5_000)[2 * lag..];
            let mut samples: Vec<f32> = start.iter().chain(&start).chain(rest).copied().collect();
            samples.extend_from_slice(&noise(100));
            let fade = FADE.min(lag);
            let best = Splicer::new(RATE, 2, 70 * MILLISECOND).find(&samples, LAGS, fade).unwrap();
            assert_eq!(best.lag, lag);
            let expected: Vec<f32> = start.iter().chain(rest).copied().collect();
            assert!(remove(&mut samples, 2, 0, best, fade));
            assert!(samples.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn what_is_removed_and_what_is_repeated_is_as_long_as_the_lag() {
        let ramp: Vec<f32> = (0..2_000).map(|n| n as f32).collect();
        for (at, lag, fade) in [(0, 1, 1), (100, 30, 200), (7, 300, 20), (0, 500, 500), (3, 0, 100)] {
            let matched = Match { lag, correlation: 1.0 };
            let (mut shorter, mut longer) = (ramp.clone(), ramp.clone());
            longer.reserve_exact(2 * lag);
            assert!(remove(&mut shorter, 2, at, matched, fade) && repeat(&mut longer, 2, at, matched, fade));
            assert_eq!((shorter.len(), longer.len()), (2_000 - 2 * lag, 2_000 + 2 * lag));
            assert_eq!(shorter[..2 * at], ramp[..2 * at]);
            assert_eq!(shorter[2 * (at + fade)..], ramp[2 * (at + fade + lag)..]);
            assert_eq!(longer[..2 * (at + lag)], ramp[..2 * (at + lag)]);
            assert_eq!(longer[2 * (at + fade + lag)..], ramp[2 * (at + fade)..]);
            let between = |samples: &[f32]| samples.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 2_000.0);
            assert!(between(&shorter) && between(&longer));
        }
    }

    #[test]
    fn strangers_are_crossfaded_at_one_level() {
        let mut samples = noise(20_000);
        assert!(remove(&mut samples, 2, 2_000, Match { lag: 9_000, correlation: 0.0 }, 8_000));
        let levels = samples[..2 * 11_000]
            .chunks(2_000)
            .map(|piece| (piece.iter().map(|sample| sample * sample).sum::<f32>() / piece.len() as f32).sqrt());
        levels.for_each(|level| assert!((0.54..0.62).contains(&level), "{level}"));
    }

    #[test]
    fn silence_is_cut_as_far_as_it_goes() {
        let quiet = vec![0.0005; 2 * 100 * MILLISECOND];
        assert_eq!(find(&quiet), Some(Match { lag: 50 * MILLISECOND, correlation: 1.0 }));
        let mut word = quiet.clone();
        word[2 * 30 * MILLISECOND..].copy_from_slice(&noise(70 * MILLISECOND));
        assert_eq!(find(&word), Some(Match { lag: 20 * MILLISECOND, correlation: 1.0 }));
    }

    #[test]
    fn a_beat_is_not_swallowed() {
        let mut tone = tones(&[500.0], &[500.0]);
        assert!(Splicer::new(RATE, 2, 4_800).find(&tone, 1_900..=2_000, FADE).unwrap().correlation > 0.99);
        tone[2 * 700..2 * 1_400].iter_mut().zip(noise(700)).for_each(|(sample, noise)| *sample += noise);
        assert!(Splicer::new(RATE, 2, 4_800).find(&tone, 1_900..=2_000, FADE).unwrap().correlation < 0.7);
    }

    #[test]
    fn nothing_is_done_without_enough_samples_or_room() {
        let matched = Match { lag: 100, correlation: 1.0 };
        let mut samples = Vec::with_capacity(1_000);
        samples.extend_from_slice(&noise(450));
        let before = samples.clone();
        for (at, lag, fade) in [(300, 100, 51), (0, usize::MAX, 1), (usize::MAX, 1, 1), (0, 1, usize::MAX)] {
            let matched = Match { lag, ..matched };
            assert!(!remove(&mut samples, 2, at, matched, fade) && !repeat(&mut samples, 2, at, matched, fade));
        }
        assert!(!repeat(&mut samples, 2, 0, matched, 100), "it must not grow beyond its capacity");
        assert_eq!((samples.capacity(), samples == before), (1_000, true));
    }

    #[test]
    fn any_length_lag_and_level_is_searched() {
        for rate in [1_000, 8_000, 48_000, 768_000] {
            for channels in [1, 2, 3, 8] {
                let mut splicer = Splicer::new(rate, channels, 500);
                for samples in [noise(700), vec![0.0; 1_400], vec![1_000.0; 1_400], vec![1e-30; 1_400], vec![]] {
                    for frames in [0, 1, 2, 3, 7, 64, 175] {
                        let samples = &samples[..samples.len().min(frames * channels)];
                        for (shortest, longest) in [(0, 0), (0, 500), (1, 3), (20, 100), (5, usize::MAX), (9, 3)] {
                            for fade in [0, 1, 5, 50, 5_000, usize::MAX] {
                                if let Some(best) = splicer.find(samples, shortest..=longest, fade) {
                                    assert!((shortest..=longest).contains(&best.lag), "{best:?}");
                                    assert!((-1.01..=1.01).contains(&best.correlation), "{best:?}");
                                    let mut samples = samples.to_vec();
                                    assert!(remove(&mut samples, channels, 0, best, fade));
                                    assert!(
                                        samples.iter().all(|sample| sample.abs() <= 1_415.0),
                                        "3 dB by equal power"
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
