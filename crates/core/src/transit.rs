//! How long packets are on their way, measured against the fastest.

use std::time::Duration;

use crate::Instant;

/// What was fastest longer ago than this no longer counts, in seconds, as a rule: clocks drift and paths
/// change.
const REMEMBERED: f64 = 4.0;

/// The shortest transit of late. A transit is an arrival less a time of another clock, in seconds:
/// only differences mean anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fastest {
    since: Instant,
    least: f64,
    /// Of the time before `since`.
    before: f64,
    remembered: f64,
}

impl Fastest {
    /// Begins with one transit.
    pub fn new(now: Instant, transit: f64) -> Self {
        Self::remembering(now, transit, REMEMBERED)
    }

    /// The same, of the last so many seconds.
    pub fn remembering(now: Instant, transit: f64, remembered: f64) -> Self {
        Self { since: now, least: transit, before: f64::INFINITY, remembered }
    }

    /// Takes note of one more.
    pub fn observe(&mut self, now: Instant, transit: f64) {
        if now.seconds_since(self.since) > self.remembered / 2.0 {
            *self = Self { since: now, least: transit, before: self.least, ..*self };
        }
        self.least = self.least.min(transit);
    }

    /// The shortest.
    pub fn get(&self) -> f64 {
        self.least.min(self.before)
    }
}

/// One packet on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    /// Its sequence number, extended.
    pub number: i64,
    pub arrived: Instant,
    /// In seconds, as that of [`Fastest`].
    pub transit: f64,
}

/// The fastest packet of the last moments: where it takes longer than others did, they wait somewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lately {
    since: Instant,
    now: Passage,
    /// Of the time before `since`.
    before: Passage,
}

/// Twice this, in seconds, and jitter shows the fastest path at least once.
const LATELY: f64 = 50e-3;

impl Lately {
    /// Begins with one packet.
    pub fn new(first: Passage) -> Self {
        Self { since: first.arrived, now: first, before: first }
    }

    /// Takes note of one more.
    pub fn observe(&mut self, passage: Passage) {
        if passage.arrived.seconds_since(self.since) > LATELY {
            *self = Self { since: passage.arrived, now: passage, before: self.now };
        }
        if passage.transit < self.now.transit {
            self.now = passage;
        }
    }

    /// The fastest.
    pub fn get(&self) -> Passage {
        if self.now.transit < self.before.transit { self.now } else { self.before }
    }
}

/// How much longer than the fastest most packets take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lateness {
    mean: Duration,
    deviation: Duration,
}

/// What the resolution of clocks and the turns of threads add.
const GRAIN: Duration = Duration::from_millis(2);

impl Lateness {
    /// Takes note of one packet.
    pub fn observe(&mut self, late: Duration) {
        self.mean = (self.mean * 63 + late) / 64;
        self.deviation = (self.deviation * 63 + late.abs_diff(self.mean)) / 64;
    }

    /// How much longer it is on average.
    pub fn mean(&self) -> Duration {
        self.mean
    }

    /// Most take no longer than this.
    pub fn usual(&self) -> Duration {
        self.mean + self.deviation + GRAIN
    }

    /// Hardly any takes longer than this.
    pub fn most(&self) -> Duration {
        self.mean + 5 * self.deviation + GRAIN
    }
}

/// When which packet would arrive if nothing delayed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// This packet ...
    pub number: i64,
    /// ... then, ...
    pub at: Instant,
    /// ... and each next one so much later.
    pub packet: Duration,
}

impl Schedule {
    /// When a packet is due, within the last and next seconds.
    pub fn on_time(&self, number: i64) -> Instant {
        let packets = number.abs_diff(self.number).min(PACKETS_MAX) as u32;
        match number < self.number {
            true => self.at - self.packet * packets,
            false => self.at + self.packet * packets,
        }
    }
}

/// Farther away from what has come nothing is reckoned with.
const PACKETS_MAX: u64 = 4096;
