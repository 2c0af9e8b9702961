//! What came out of the speaker, as samples: for codecs that do not keep them exactly.

mod fit;

use crate::card::{Block, Clock};
use crate::signal::{SINE_HZ, Signal};

pub use fit::Fit;

/// One channel of the speaker from the beginning on.
#[derive(Clone, Debug)]
pub struct Recording {
    signal: Signal,
    /// Of the microphone and the speaker, nominally.
    rate: u32,
    channel: usize,
    samples: Vec<f32>,
}

/// A stretch where next to nothing is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// When it began, in seconds from the opening of the speaker.
    pub at: f64,
    pub millis: f64,
}

/// How what was heard compares with what was said.
#[derive(Clone, Copy, Debug)]
pub struct Alignment {
    /// From mouth to ear.
    pub delay_millis: f64,
    /// Normalised: 1 is the same.
    pub correlation: f64,
    /// The first frame of the microphone that is compared, to a frame.
    position: f64,
}

/// What is compared at once: long enough to tell one part of a chirp from the next.
const WINDOW_SECONDS: f64 = 0.1;

/// The longest delay that is looked for.
const DELAY_SECONDS_MAX: f64 = 0.4;

/// Pauses are quieter, root mean square.
const LOUD: f32 = 0.01;

/// Coarse search looks at every fourth frame: the chirp ends far below 6 kHz.
const COARSE: usize = 4;

/// How much less alike than the best the right place may look in that search.
const CLOSE: f64 = 0.1;

impl Recording {
    pub fn new(signal: Signal, rate: u32, channel: usize) -> Self {
        Self { signal, rate, channel, samples: Vec::new() }
    }

    pub fn handle(&mut self, block: Block, samples: impl Iterator<Item = f32>) {
        debug_assert_eq!(block.first as usize, self.samples.len());
        self.samples.extend(samples);
    }

    /// Finds what was heard from `second` on in what was said, by cross-correlation.
    pub fn align(&self, second: f64, speaker: &Clock, microphone: &Clock) -> Alignment {
        let Self { signal, rate, channel, .. } = *self;
        let first = speaker.frame_at(second * 1e9).ceil() as usize;
        let window = (WINDOW_SECONDS * f64::from(rate)) as usize;
        let heard = &self.samples[first..first + window];
        let newest = microphone.frame_at(speaker.heard_nanos(first as f64)).floor() as i64;
        let oldest = newest - (DELAY_SECONDS_MAX * f64::from(rate)) as i64;
        let said: Vec<f32> =
            (oldest..newest + window as i64).map(|frame| signal.sample(frame.max(0) as u64, rate, channel)).collect();
        let lags = (newest - oldest) as usize;
        let coarse: Vec<(usize, f64)> =
            (0..lags).step_by(COARSE).map(|lag| (lag, correlation(heard, &said[lag..], COARSE))).collect();
        // A voice is nearly as like itself a pitch period away: all that come close are looked at.
        let close = best(coarse.iter().copied()).1 - CLOSE;
        let near = |lag: usize| lag.saturating_sub(COARSE)..(lag + COARSE).min(lags);
        let near = coarse.iter().filter(|(_, likeness)| *likeness > close).flat_map(|(lag, _)| near(*lag));
        let (lag, correlation) = best(near.map(|lag| (lag, correlation(heard, &said[lag..], 1))));
        let said_nanos = microphone.heard_nanos((oldest + lag as i64) as f64);
        let delay_millis = (speaker.heard_nanos(first as f64) - said_nanos) * 1e-6;
        Alignment { delay_millis, correlation, position: (oldest + lag as i64) as f64 }
    }

    /// Compares what was heard from `second` on with what was said, sample by sample, where it is
    /// most alike.
    pub fn fit(&self, second: f64, speaker: &Clock, microphone: &Clock) -> Fit {
        let Self { signal, rate, channel, .. } = *self;
        let Alignment { position, .. } = self.align(second, speaker, microphone);
        let first = speaker.frame_at(second * 1e9).ceil() as usize;
        let heard = &self.samples[first..first + (WINDOW_SECONDS * f64::from(rate)) as usize];
        Fit::new(heard, |place| signal.at(place.max(0.0), rate, channel), position, 1.0)
    }

    /// What of the sine is not the sine in the second that begins at `second`, in dB: a tenth at a
    /// time, since what moves more slowly is no distortion but the pitch, which is told elsewhere.
    pub fn distortion(&self, second: f64) -> f64 {
        let first = (second * f64::from(self.rate)) as usize;
        let tenths = self.samples[first..first + self.rate as usize].chunks_exact(self.rate as usize / 10);
        let shares: Vec<f64> =
            tenths.map(|tenth| 10f64.powf(fit::distortion(tenth, SINE_HZ, self.rate.into()) / 10.0)).collect();
        10.0 * (shares.iter().sum::<f64>() / shares.len() as f64).log10()
    }

    /// Stretches longer than `millis` between the first sound and the last.
    pub fn silences(&self, millis: f64) -> Vec<Silence> {
        let loud: Vec<bool> = self.samples.chunks(self.rate as usize / 2_000).map(is_loud).collect();
        let mut silences = Vec::new();
        let mut at = 0;
        for run in loud.chunk_by(|a, b| a == b) {
            let silence = Silence { at: at as f64 * 0.5e-3, millis: run.len() as f64 * 0.5 };
            if !run[0] && at > 0 && silence.millis > millis {
                silences.push(silence);
            }
            at += run.len();
        }
        silences.retain(|silence| silence.at * 2e3 + silence.millis * 2.0 < loud.len() as f64);
        silences
    }

    /// Whether what would be compared at `second` is more than a pause.
    pub fn is_loud(&self, second: f64) -> bool {
        let first = (second * f64::from(self.rate)) as usize;
        let heard = &self.samples[first..first + (WINDOW_SECONDS * f64::from(self.rate)) as usize];
        let energy = heard.iter().map(|sample| sample * sample).sum::<f32>();
        energy > LOUD * LOUD * heard.len() as f32
    }

    pub fn loudest(&self) -> f32 {
        self.samples.iter().fold(0.0, |loudest, sample| sample.abs().max(loudest))
    }

    /// The largest step from one sample to the next, from `second` on.
    pub fn steepest_from(&self, second: f64) -> f32 {
        let heard = &self.samples[(second * f64::from(self.rate)) as usize..];
        heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }
}

fn is_loud(samples: &[f32]) -> bool {
    samples.iter().any(|sample| sample.abs() > 0.02)
}

fn best(all: impl Iterator<Item = (usize, f64)>) -> (usize, f64) {
    all.max_by(|a, b| a.1.total_cmp(&b.1)).expect("lags to look at")
}

/// Of every `step`th sample, normalised.
fn correlation(heard: &[f32], said: &[f32], step: usize) -> f64 {
    let (mut both, mut heard_energy, mut said_energy) = (0.0f64, 1e-12f64, 1e-12f64);
    for (&a, &b) in heard.iter().zip(said).step_by(step) {
        let (a, b) = (f64::from(a), f64::from(b));
        both += a * b;
        heard_energy += a * a;
        said_energy += b * b;
    }
    both / (heard_energy * said_energy).sqrt()
}
