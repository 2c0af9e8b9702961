//! NetEq's target: the 95th percentile of the largest delays of each half second, in buckets of
//! 20 ms, or what reordering costs, if that is more.

use std::collections::VecDeque;

use crate::arrivals::Arrival;

/// Delays are counted from the fastest packet of this long.
pub const HISTORY_SECONDS: f64 = 2.0;

const BUCKETS: usize = 100;
const BUCKET_MILLIS: f64 = 20.0;

/// Until something is known.
const START_MILLIS: f64 = 80.0;

const RESAMPLE_SECONDS: f64 = 0.5;
const QUANTILE: f64 = 0.95;
const UNDERRUN_FORGET: f64 = 0.983;
const REORDER_FORGET: f64 = 0.9993;

/// So much delay is paid to have one packet in a hundred less come too late by reordering.
const MILLIS_PER_LOSS_PERCENT: f64 = 20.0;

/// At most three quarters of 200 packets.
const PACKETS_MAX: f64 = 150.0;

pub struct NetEq {
    underrun: Histogram,
    reorder: Histogram,
    /// The largest delay since `resampled`.
    largest: f64,
    resampled: f64,
    underrun_target: Option<f64>,
    reorder_target: Option<f64>,
    newest: Option<Arrival>,
    /// Arrival and delay, for the largest of the history.
    history: VecDeque<(f64, f64)>,
    packet_millis: f64,
}

impl NetEq {
    pub fn new() -> Self {
        Self {
            underrun: Histogram::new(UNDERRUN_FORGET),
            reorder: Histogram::new(REORDER_FORGET),
            largest: 0.0,
            resampled: f64::NEG_INFINITY,
            underrun_target: None,
            reorder_target: None,
            newest: None,
            history: VecDeque::new(),
            packet_millis: BUCKET_MILLIS,
        }
    }

    pub fn target(&self) -> f64 {
        let learnt = [self.underrun_target, self.reorder_target].into_iter().flatten().reduce(f64::max);
        learnt.unwrap_or(START_MILLIS).min(PACKETS_MAX * self.packet_millis)
    }

    /// How far above the target the delay is left alone.
    pub fn hold_band(&self) -> f64 {
        self.history.front().map_or(0.0, |&(_, delay)| delay) + 20.0
    }

    pub fn handle(&mut self, arrival: &Arrival, delay: f64) {
        let before = self.newest.replace(*arrival);
        let reordered = before.is_some_and(|before| arrival.sequence < before.sequence);
        if let Some(before) = before {
            if reordered {
                self.newest = Some(before);
            } else if arrival.sequence == before.sequence + 1 {
                self.packet_millis = (arrival.media - before.media) * 1e3;
            }
        }
        self.remember(arrival.at, delay);
        self.update_underrun(arrival.at, delay);
        self.reorder.add(if reordered { bucket(delay) } else { 0 });
        self.reorder_target = Some(self.cheapest(self.underrun_target.unwrap_or(0.0)));
    }

    fn remember(&mut self, now: f64, delay: f64) {
        while self.history.back().is_some_and(|&(_, other)| other <= delay) {
            self.history.pop_back();
        }
        self.history.push_back((now, delay));
        while self.history.front().is_some_and(|&(at, _)| at < now - HISTORY_SECONDS) {
            self.history.pop_front();
        }
    }

    fn update_underrun(&mut self, now: f64, delay: f64) {
        if self.resampled == f64::NEG_INFINITY {
            self.resampled = now;
        }
        self.largest = self.largest.max(delay);
        if now - self.resampled > RESAMPLE_SECONDS {
            self.underrun.add(bucket(self.largest));
            self.underrun_target = Some((1 + self.underrun.quantile(QUANTILE)) as f64 * BUCKET_MILLIS);
            (self.largest, self.resampled) = (0.0, now);
        }
    }

    /// The delay at which that and what is reordered beyond it cost the least.
    fn cheapest(&self, base: f64) -> f64 {
        let mut beyond = 1.0;
        let costs = self.reorder.shares.iter().enumerate().map(|(bucket, share)| {
            beyond -= share;
            let delay = (bucket as f64 * BUCKET_MILLIS - base).max(0.0);
            (bucket, delay + 100.0 * MILLIS_PER_LOSS_PERCENT * beyond)
        });
        let (bucket, _) = costs.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are buckets");
        (1 + bucket) as f64 * BUCKET_MILLIS
    }
}

fn bucket(delay: f64) -> usize {
    ((delay / BUCKET_MILLIS) as usize).min(BUCKETS - 1)
}

/// Shares that forget.
struct Histogram {
    shares: [f64; BUCKETS],
    forget: f64,
    added: u32,
}

impl Histogram {
    fn new(forget: f64) -> Self {
        // Before anything is known each bucket is half as likely as the one before.
        let mut share = 1.0;
        let shares = std::array::from_fn(|_| {
            share *= 0.5;
            share
        });
        Self { shares, forget, added: 0 }
    }

    fn add(&mut self, bucket: usize) {
        self.added += 1;
        // The first ones count for more than later ones will.
        let forget = (1.0 - 2.0 / f64::from(self.added + 1)).clamp(0.0, self.forget);
        self.shares.iter_mut().for_each(|share| *share *= forget);
        self.shares[bucket] += 1.0 - forget;
    }

    fn quantile(&self, quantile: f64) -> usize {
        let mut sum = 0.0;
        let enough = self.shares.iter().position(|share| {
            sum += share;
            sum >= quantile
        });
        enough.unwrap_or(BUCKETS - 1)
    }
}
