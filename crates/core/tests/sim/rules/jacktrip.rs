//! JackTrip's tolerance: the largest interval between two packets, averaged over a long time, plus
//! its deviation, plus headroom that grows by a millisecond whenever glitches go on.

use crate::arrivals::Arrival;

/// Intervals are looked at in windows of an eighth of a second.
const WINDOWS_PER_SECOND: f64 = 8.0;

/// Windows that are averaged as they are: a minute; after them each counts for so little.
const WINDOWS_CUMULATIVE: u32 = 480;

/// In the first two seconds: half a millisecond per frame of a packet.
const START_SECONDS: f64 = 2.0;
const START_MILLIS_PER_FRAME: f64 = 0.5;
const RATE: f64 = 48_000.0;

const MILLIS_MAX: f64 = 250.0;

/// More glitches than this share of a second's packets, two seconds in a row, and the headroom
/// grows.
const GLITCHES: f64 = 0.006;
const HEADROOM_STEP: f64 = 1.0;

pub struct JackTrip {
    before: Option<Arrival>,
    start: f64,
    packet_millis: f64,
    /// Of the window that goes on.
    intervals: Vec<f64>,
    windows: u32,
    /// The averages over windows.
    max: f64,
    deviation: f64,
    headroom: f64,
    second_ends: f64,
    glitches: f64,
    glitchy_before: bool,
}

impl JackTrip {
    pub fn new() -> Self {
        Self {
            before: None,
            start: 0.0,
            packet_millis: 5.0,
            intervals: Vec::new(),
            windows: 0,
            max: 0.0,
            deviation: 0.0,
            headroom: 0.0,
            second_ends: 0.0,
            glitches: 0.0,
            glitchy_before: false,
        }
    }

    pub fn tolerance(&self) -> f64 {
        let now = self.before.map_or(0.0, |before| before.at);
        if now - self.start < START_SECONDS {
            return self.packet_millis * 1e-3 * RATE * START_MILLIS_PER_FRAME;
        }
        (self.max + self.deviation + self.headroom).clamp(self.packet_millis, MILLIS_MAX)
    }

    pub fn handle(&mut self, arrival: &Arrival, late: bool) {
        let Some(before) = self.before.replace(*arrival) else {
            self.start = arrival.at;
            self.second_ends = arrival.at + START_SECONDS + 1.0;
            return;
        };
        if arrival.sequence == before.sequence + 1 {
            self.packet_millis = (arrival.media - before.media) * 1e3;
        }
        self.intervals.push((arrival.at - before.at) * 1e3);
        if self.intervals.len() as f64 >= 1e3 / self.packet_millis / WINDOWS_PER_SECOND {
            self.close_window();
        }
        self.grow_headroom(arrival.at, late);
    }

    fn close_window(&mut self) {
        let count = self.intervals.len() as f64;
        let mean = self.intervals.iter().sum::<f64>() / count;
        let squares = self.intervals.iter().map(|interval| (interval - mean) * (interval - mean)).sum::<f64>();
        let max = self.intervals.iter().copied().fold(0.0, f64::max);
        self.windows += 1;
        let weight = 1.0 / f64::from(self.windows.min(WINDOWS_CUMULATIVE));
        self.max += weight * (max - self.max);
        self.deviation += weight * ((squares / (count - 1.0)).sqrt() - self.deviation);
        self.intervals.clear();
    }

    fn grow_headroom(&mut self, now: f64, late: bool) {
        if now - self.start < START_SECONDS {
            return;
        }
        self.glitches += f64::from(u8::from(late));
        if now < self.second_ends {
            return;
        }
        self.second_ends = now + 1.0;
        let allowed = (GLITCHES * 1e3 / self.packet_millis).ceil();
        let glitchy = std::mem::take(&mut self.glitches) > allowed;
        if glitchy && self.glitchy_before {
            self.headroom += HEADROOM_STEP;
        }
        self.glitchy_before = glitchy && !self.glitchy_before;
    }
}
