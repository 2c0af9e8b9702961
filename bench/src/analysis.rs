//! Compares a recording with the reference: where it lags, where it jumps, where it is broken.

use std::ops::Range;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::jackd::RATE;

/// What a recording shows.
pub struct Findings {
    pub delays: Vec<Delay>,
    pub gaps: Vec<Gap>,
    /// Seconds that were compared.
    pub seconds: f64,
}

/// The delay of one half-second window.
#[derive(Clone, Copy, Debug)]
pub struct Delay {
    /// The window's middle, in seconds from the start of the recording.
    pub at_s: f64,
    pub ms: f64,
}

/// A stretch in which silence or something else than the reference was heard.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    pub at_s: f64,
    pub ms: f64,
}

impl Findings {
    /// Compares the part of the recording that lies in `part`.
    pub fn new(reference: &[f32], recording: &[f32], part: Range<usize>) -> Self {
        let part = part.start..part.end.min(recording.len());
        let windows = Correlator::new(FFT, WINDOW).windows(reference, recording, part.clone());
        let gaps = find_gaps(reference, recording, part.clone(), &windows);
        let delays =
            windows.iter().filter_map(|w| Some(Delay { at_s: w.middle as f64 / FS, ms: w.lag? * 1000.0 / FS }));
        Self { delays: delays.collect(), gaps, seconds: part.len() as f64 / FS }
    }

    /// The delay that this share of the windows does not exceed, in ms.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        let mut sorted: Vec<f64> = self.delays.iter().map(|d| d.ms).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// How fast the delay grows, in microseconds per second: the slope of a straight line through all windows.
    pub fn drift_ppm(&self) -> f64 {
        let n = self.delays.len().max(1) as f64;
        let mean_t = self.delays.iter().map(|d| d.at_s).sum::<f64>() / n;
        let mean_d = self.delays.iter().map(|d| d.ms).sum::<f64>() / n;
        let covariance: f64 = self.delays.iter().map(|d| (d.at_s - mean_t) * (d.ms - mean_d)).sum();
        let variance: f64 = self.delays.iter().map(|d| (d.at_s - mean_t).powi(2)).sum();
        if variance > 0.0 { covariance / variance * 1000.0 } else { 0.0 }
    }

    /// How often the delay jumps by more than 1 ms from one window to the next.
    pub fn steps(&self) -> usize {
        self.delays.windows(2).filter(|pair| (pair[1].ms - pair[0].ms).abs() > 1.0).count()
    }

    pub fn longest_gap_ms(&self) -> f64 {
        self.gaps.iter().map(|g| g.ms).fold(0.0, f64::max)
    }

    pub fn total_gap_ms(&self) -> f64 {
        self.gaps.iter().map(|g| g.ms).fold(0.0, |sum, ms| sum + ms)
    }
}

/// The first frame from `start` on at which anything is heard.
pub fn first_sound(recording: &[f32], start: usize) -> Option<usize> {
    recording.iter().skip(start).position(|x| x.abs() > AUDIBLE).map(|i| start + i)
}

struct Window {
    middle: usize,
    /// Frames by which the recording is behind; `None` where nothing of the reference is found.
    lag: Option<f64>,
}

/// Cross-correlation of a window of recording with what was played before.
struct Correlator {
    fft: usize,
    window: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl Correlator {
    fn new(fft: usize, window: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        Self { fft, window, forward: planner.plan_fft_forward(fft), inverse: planner.plan_fft_inverse(fft) }
    }

    /// How many lags are compared.
    fn span(&self) -> usize {
        self.fft - self.window
    }

    fn windows(&self, reference: &[f32], recording: &[f32], part: Range<usize>) -> Vec<Window> {
        let starts = part.clone().step_by(HOP).filter(|start| start + self.window <= part.end);
        let lag = |start| Some(self.lag(reference, recording, start, 0).filter(|found| found.1 > MIN_CORRELATION)?.0);
        starts.map(|start| Window { middle: start + self.window / 2, lag: lag(start) }).collect()
    }

    /// The best of the lags from `least` on, and how well the reference correlates there.
    fn lag(&self, reference: &[f32], recording: &[f32], start: usize, least: usize) -> Option<(f64, f32)> {
        let heard = &recording[start..start + self.window];
        let (span, most) = (self.span(), least + self.span());
        let skip = most.saturating_sub(start); // what would be before the beginning
        let mut played = vec![0.0; self.fft];
        played[skip..].copy_from_slice(reference.get(start + skip - most..(start + self.window).checked_sub(least)?)?);
        let product = self.correlate(&played, heard);
        let (peak, value) = (skip..=span).map(|k| (k, product[k])).max_by(|a, b| a.1.total_cmp(&b.1))?;
        let energy = (energy(heard) * energy(&played[peak..peak + self.window])).sqrt();
        if energy < AUDIBLE {
            return None;
        }
        let offset = if (1..span).contains(&peak) { vertex(&product[peak - 1..=peak + 1]) } else { 0.0 };
        Some((most as f64 - (peak as f64 + offset), value / energy))
    }

    /// `result[k]` = the sum over n of `played[n + k] * heard[n]`.
    fn correlate(&self, played: &[f32], heard: &[f32]) -> Vec<f32> {
        let mut padded = vec![0.0; self.fft];
        padded[..self.window].copy_from_slice(heard);
        let mut product = self.spectrum(&mut played.to_vec());
        for (p, h) in product.iter_mut().zip(self.spectrum(&mut padded)) {
            *p *= h.conj() / self.fft as f32;
        }
        // The inverse transform insists on real first and last bins, which rounding may have missed.
        product[0].im = 0.0;
        product[self.fft / 2].im = 0.0;
        let mut result = self.inverse.make_output_vec();
        self.inverse.process(&mut product, &mut result).expect("buffers are made to fit");
        result
    }

    fn spectrum(&self, signal: &mut [f32]) -> Vec<Complex32> {
        let mut spectrum = self.forward.make_output_vec();
        self.forward.process(signal, &mut spectrum).expect("buffers are made to fit");
        spectrum
    }
}

/// The place of the peak of the parabola through three points, from the middle one.
fn vertex(y: &[f32]) -> f64 {
    let (left, middle, right) = (f64::from(y[0]), f64::from(y[1]), f64::from(y[2]));
    let curvature = left - 2.0 * middle + right;
    if curvature < 0.0 { 0.5 * (left - right) / curvature } else { 0.0 }
}

/// Blocks of 5 ms that are broken, by the standard of the recording itself: a lossy codec leaves a
/// residual in every block, a gap in few.
fn find_gaps(reference: &[f32], recording: &[f32], part: Range<usize>, windows: &[Window]) -> Vec<Gap> {
    let starts: Vec<usize> = part.clone().step_by(BLOCK).filter(|s| s + BLOCK <= part.end).collect();
    let near = Correlator::new(FFT_NEAR, WINDOW_NEAR);
    let mut follower = Follower { reference, recording, windows, near, lag: None };
    let residuals: Vec<f32> = starts.iter().map(|start| follower.residual(*start)).collect();
    let mut sorted = residuals.clone();
    sorted.sort_by(f32::total_cmp);
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let limit = (usual * 8.0).clamp(0.1, 0.9);
    let damaged = starts.iter().zip(&residuals).filter(|(_, r)| **r > limit).map(|(s, _)| *s..s + BLOCK);
    let silences = silences(recording, part);
    // A block that holds a silence is broken by nothing else: the silence is its exact length.
    let mut broken: Vec<Range<usize>> =
        damaged.filter(|block| !silences.iter().any(|s| s.start < block.end && block.start < s.end)).collect();
    broken.extend(silences.iter().cloned());
    broken.sort_by_key(|range| range.start);
    merge(&broken)
}

/// Stretches without sound: the reference is never still for so long.
fn silences(recording: &[f32], part: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = part.start;
    for n in part.clone() {
        if recording[n].abs() > AUDIBLE {
            if n - start >= SILENCE {
                found.push(start..n);
            }
            start = n + 1;
        }
    }
    if part.end.saturating_sub(start) >= SILENCE {
        found.push(start..part.end);
    }
    found
}

/// What follows the delay from block to block.
struct Follower<'a> {
    reference: &'a [f32],
    recording: &'a [f32],
    windows: &'a [Window],
    /// For where the delay has jumped there and back within a window.
    near: Correlator,
    /// That of the last block in which the reference was found.
    lag: Option<usize>,
}

impl Follower<'_> {
    /// The share of a block's energy that the reference does not explain at any delay that is near in time: that of
    /// the last block, those of the windows around it, or any between them. A delay on its way from one to another is
    /// no damage.
    fn residual(&mut self, start: usize) -> f32 {
        let near = self.windows.partition_point(|w| w.middle < start);
        let around = &self.windows[near.saturating_sub(3)..(near + 3).min(self.windows.len())];
        let found = around.iter().filter_map(|w| w.lag).map(|lag| lag.round() as usize);
        let mut lags: Vec<usize> = self.lag.into_iter().chain(found).collect();
        if lags.is_empty() {
            // The recording begins with a delay that moves too fast for a window: where it will come to.
            lags.extend(self.windows.iter().find_map(|w| w.lag).map(|lag| lag.round() as usize));
        }
        let usual = lags.iter().flat_map(|lag| lag.saturating_sub(SEARCH)..=lag + SEARCH);
        let between = lags.iter().min().zip(lags.iter().max()).map_or(0..0, |(least, most)| *least..*most);
        let mut best = self.best(start, usual.chain(between));
        if best.0 < FOUND {
            let jumped: Vec<usize> = lags.iter().filter_map(|lag| self.jumped(start, *lag)).collect();
            let there = self.best(start, jumped.iter().flat_map(|lag| lag.saturating_sub(SEARCH)..=lag + SEARCH));
            best = if there.0 > best.0 { there } else { best };
        }
        self.lag = best.1.filter(|_| best.0 > FOUND).or(self.lag);
        1.0 - best.0 * best.0
    }

    /// How well the reference correlates with a block at the best of these lags.
    fn best(&self, start: usize, lags: impl Iterator<Item = usize>) -> (f32, Option<usize>) {
        let heard = &self.recording[start..start + BLOCK];
        let mut best = (0.0f32, None);
        for lag in lags {
            let Some(from) = start.checked_sub(lag) else { continue };
            let found = correlation(heard, &self.reference[from..from + BLOCK]);
            if found > best.0 {
                best = (found, Some(lag));
            }
            if found > 0.99 {
                break; // the other candidates cannot find more
            }
        }
        best
    }

    /// Where around a lag a stretch that begins, goes on or ends with a block is found, which is longer than what a
    /// concealment says again.
    fn jumped(&self, start: usize, lag: usize) -> Option<usize> {
        let least = lag.saturating_sub(self.near.span() / 2);
        let starts = [0, WINDOW_NEAR / 2, WINDOW_NEAR - BLOCK].map(|before| start.saturating_sub(before));
        let within = starts.into_iter().filter(|start| start + WINDOW_NEAR <= self.recording.len());
        let found = within.filter_map(|start| self.near.lag(self.reference, self.recording, start, least));
        let (lag, correlation) = found.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (correlation > FOUND).then_some(lag.round() as usize)
    }
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    product / (energy(a) * energy(b)).sqrt().max(1e-9)
}

fn energy(signal: &[f32]) -> f32 {
    signal.iter().map(|x| x * x).sum()
}

/// Damage with less than 10 ms in between is one event to the ear.
fn merge(broken: &[Range<usize>]) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    let mut last_end = 0;
    for range in broken {
        let ms = range.len() as f64 * 1000.0 / FS;
        match gaps.last_mut() {
            Some(gap) if range.start <= last_end + ONE_EVENT => gap.ms += ms,
            _ => gaps.push(Gap { at_s: range.start as f64 / FS, ms }),
        }
        last_end = range.end;
    }
    gaps
}

const FS: f64 = RATE as f64;
/// With the window, 2.2 s: beyond any live link.
const FFT: usize = 1 << 17;
const WINDOW: usize = RATE as usize / 2;
const HOP: usize = RATE as usize / 4;
const MIN_CORRELATION: f32 = 0.3;
/// What is certainly the reference.
const FOUND: f32 = 0.9;
/// 30 ms, 70 ms to either side of where it was looked for.
const WINDOW_NEAR: usize = RATE as usize * 3 / 100;
const FFT_NEAR: usize = 1 << 13;
const BLOCK: usize = RATE as usize / 200;
/// Frames to each side of a window's delay: what 600 ppm move in half a second.
const SEARCH: usize = 14;
/// -80 dBFS.
const AUDIBLE: f32 = 1e-4;
/// Half a millisecond.
const SILENCE: usize = RATE as usize / 2000;
const ONE_EVENT: usize = RATE as usize / 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    #[test]
    fn a_delay_is_found_to_the_sample() {
        let reference = Reference::new(SECOND * 5).left;
        let findings = Findings::new(&reference, &delayed(&reference, 1234), SECOND..SECOND * 5);
        assert!((findings.percentile_ms(0.5).unwrap() - 1234.0 / 48.0).abs() < 0.001);
        assert!(findings.gaps.is_empty());
        assert_eq!(findings.steps(), 0);
    }

    #[test]
    fn a_slow_card_shows_as_drift_and_not_as_damage() {
        let reference = Reference::new(SECOND * 9).left;
        let heard: Vec<f32> = (0..SECOND * 8).map(|n| at(&reference, n as f64 * (1.0 - 100e-6) - 480.0)).collect();
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 8);
        assert!((findings.drift_ppm() - 100.0).abs() < 2.0, "{}", findings.drift_ppm());
        assert!(findings.gaps.is_empty(), "{:?}", findings.gaps);
    }

    #[test]
    fn one_lost_period_is_one_gap_of_its_length() {
        let reference = Reference::new(SECOND * 4).left;
        let mut heard = delayed(&reference, 300);
        heard[SECOND * 2..SECOND * 2 + 64].fill(0.0);
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 4);
        assert_eq!(findings.gaps.len(), 1, "{:?}", findings.gaps);
        assert!((findings.gaps[0].ms - 64.0 / 48.0).abs() < 0.1);
    }

    #[test]
    fn concealment_that_invents_sound_is_a_gap() {
        let reference = Reference::new(SECOND * 4).left;
        let mut heard = delayed(&reference, 300);
        heard.copy_within(SECOND..SECOND + 960, SECOND * 2);
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 4);
        assert_eq!(findings.gaps.len(), 1, "{:?}", findings.gaps);
        assert!((15.0..=25.0).contains(&findings.gaps[0].ms));
    }

    #[test]
    fn a_jump_of_the_delay_is_one_step() {
        let reference = Reference::new(SECOND * 5).left;
        let mut heard = delayed(&reference, 300);
        let late = delayed(&reference, 600);
        heard[SECOND * 3..].copy_from_slice(&late[SECOND * 3..]);
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 5);
        assert_eq!(findings.steps(), 1);
        assert!(findings.gaps.len() <= 1, "{:?}", findings.gaps);
    }

    #[test]
    fn a_delay_that_jumps_there_and_back_at_once_is_two_steps_and_no_long_gap() {
        let reference = Reference::new(SECOND * 5).left;
        let mut heard = delayed(&reference, 300);
        let late = delayed(&reference, 428);
        let jump = SECOND * 3..SECOND * 3 + SECOND / 7;
        heard[jump.clone()].copy_from_slice(&late[jump]);
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 5);
        assert!(findings.longest_gap_ms() <= 5.0, "{:?}", findings.gaps);
    }

    #[test]
    fn a_delay_that_moves_by_milliseconds_within_a_second_is_no_damage() {
        let reference = Reference::new(SECOND * 9).left;
        let slower = |n: usize| ((n as f64 - 4.0 * FS) * 2e-3).clamp(0.0, 0.003 * FS);
        let heard: Vec<f32> = (0..SECOND * 8).map(|n| at(&reference, n as f64 - 480.0 - slower(n))).collect();
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 8);
        assert!(findings.gaps.is_empty(), "{:?}", findings.gaps);
    }

    #[test]
    fn a_recording_that_begins_while_the_delay_moves_is_not_damaged() {
        let reference = Reference::new(SECOND * 9).left;
        let slower = |n: usize| ((n as f64 - FS) * 5e-3).clamp(0.0, 0.003 * FS);
        let heard: Vec<f32> = (0..SECOND * 8).map(|n| at(&reference, n as f64 - 180.0 - slower(n))).collect();
        let findings = Findings::new(&reference, &heard, SECOND..SECOND * 8);
        assert!(findings.gaps.is_empty(), "{:?}", findings.gaps);
    }

    fn delayed(signal: &[f32], frames: usize) -> Vec<f32> {
        let mut out = vec![0.0; frames];
        out.extend(&signal[..signal.len() - frames]);
        out
    }

    fn at(signal: &[f32], position: f64) -> f32 {
        if position < 0.0 {
            return 0.0;
        }
        let (n, part) = (position as usize, position.fract() as f32);
        signal[n] * (1.0 - part) + signal[n + 1] * part
    }

    const SECOND: usize = RATE as usize;
}
