//! How long others would wait: the target rules of peers, put to the same arrivals.
//!
//! These are models of rules, not the programs: no tick, no period of a card, no time-stretch that
//! takes a while. Each says before a packet comes how much later than the fastest of late it will
//! be played, learns from each packet that came, and is judged by what would have been too late.

mod jacktrip;
mod neteq;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::arrivals::Arrival;

use jacktrip::JackTrip;
use neteq::NetEq;

/// Whose rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// WebRTC's, which is at its target just after it has adapted.
    NetEq,
    /// NetEq leaves the delay alone between its target and that plus the largest recent delay plus
    /// 20 ms; here in the middle of the two, which is an assumption.
    NetEqMid,
    /// The "bufstrategy 3" of JackTrip, with headroom "auto".
    JackTrip,
    /// So many milliseconds, as Roc's 200.
    Fixed(f64),
}

/// What a rule comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Mean time in milliseconds that packets are played after the fastest has come.
    pub delay: f64,
    /// Packets in a hundred that came after their time.
    pub late: f64,
    /// Slots of 20 ms with something late and none in the slot before, per minute.
    pub events: f64,
}

/// Lateness is counted from the fastest packet of this long, in seconds: it tells drift and routes
/// from jitter. NetEq has its own.
const BASE_SECONDS: f64 = 10.0;

/// When all has been late for so long, in seconds, the path has become longer, and whoever conceals
/// meanwhile has put the timeline off. A stall is none of that: what it held up comes at once.
const LONGER_SECONDS: f64 = 0.04;

/// An event is counted in slots of media time so long.
const SLOT_SECONDS: f64 = 0.02;

impl Rule {
    /// What comes of the rule on these arrivals; what came before `settled`, in seconds from the
    /// first, is learnt from and not counted.
    pub fn judge(self, arrivals: &[Arrival], settled: f64) -> Outcome {
        let mut target = Target::new(self);
        let mut base = Base::new(target.base_seconds());
        let fastest = arrivals.iter().map(Arrival::transit).fold(f64::INFINITY, f64::min);
        let start = arrivals.first().map_or(0.0, |first| first.at);
        let (mut packets, mut late_packets, mut delays) = (0u32, 0u32, 0.0);
        let mut slots = BTreeMap::new();
        for arrival in arrivals {
            let fast = base.handle(arrival);
            let (lateness, delay) = ((arrival.transit() - fast) * 1e3, target.delay());
            let late = lateness > delay;
            target.handle(arrival, lateness, late);
            base.judged(arrival, late);
            if arrival.at - start >= settled {
                packets += 1;
                late_packets += u32::from(late);
                delays += (fast - fastest) * 1e3 + delay;
                *slots.entry((arrival.media / SLOT_SECONDS) as i64).or_insert(false) |= late;
            }
        }
        let events = slots.iter().filter(|&(slot, &late)| late && !slots.get(&(slot - 1)).is_some_and(|&late| late));
        let events = events.count() as f64;
        let minutes = (arrivals.last().map_or(start, |last| last.at) - start - settled) / 60.0;
        let packets = f64::from(packets.max(1));
        let late = f64::from(late_packets) * 100.0 / packets;
        Outcome { delay: delays / packets, late, events: events / minutes }
    }
}

impl Arrival {
    /// From its capture, by its sender's clock, to here, in seconds; off by a constant.
    fn transit(&self) -> f64 {
        self.at - self.media
    }
}

enum Target {
    NetEq { rule: Box<NetEq>, mid: bool },
    JackTrip(Box<JackTrip>),
    Fixed(f64),
}

impl Target {
    fn new(rule: Rule) -> Self {
        match rule {
            Rule::NetEq => Target::NetEq { rule: Box::new(NetEq::new()), mid: false },
            Rule::NetEqMid => Target::NetEq { rule: Box::new(NetEq::new()), mid: true },
            Rule::JackTrip => Target::JackTrip(Box::new(JackTrip::new())),
            Rule::Fixed(millis) => Target::Fixed(millis),
        }
    }

    fn base_seconds(&self) -> f64 {
        match self {
            Target::NetEq { .. } => neteq::HISTORY_SECONDS,
            Target::JackTrip(_) | Target::Fixed(_) => BASE_SECONDS,
        }
    }

    /// How long after the fastest the next packet is played, in milliseconds.
    fn delay(&self) -> f64 {
        match self {
            Target::NetEq { rule, mid: false } => rule.target(),
            Target::NetEq { rule, mid: true } => rule.target() + rule.hold_band() / 2.0,
            Target::JackTrip(rule) => rule.tolerance(),
            Target::Fixed(millis) => *millis,
        }
    }

    /// Learns from a packet that came `lateness` milliseconds after the fastest.
    fn handle(&mut self, arrival: &Arrival, lateness: f64, late: bool) {
        match self {
            Target::NetEq { rule, .. } => rule.handle(arrival, lateness),
            Target::JackTrip(rule) => rule.handle(arrival, late),
            Target::Fixed(_) => {}
        }
    }
}

/// The smallest transit of late.
struct Base {
    seconds: f64,
    /// Arrival and transit of those that none after them has undercut.
    smallest: VecDeque<(f64, f64)>,
    /// Since when all has been late, and the smallest transit of that.
    late: Option<(f64, f64)>,
}

impl Base {
    fn new(seconds: f64) -> Self {
        Self { seconds, smallest: VecDeque::new(), late: None }
    }

    fn handle(&mut self, arrival: &Arrival) -> f64 {
        let transit = arrival.transit();
        while self.smallest.back().is_some_and(|&(_, other)| other >= transit) {
            self.smallest.pop_back();
        }
        self.smallest.push_back((arrival.at, transit));
        while self.smallest.front().is_some_and(|&(at, _)| at < arrival.at - self.seconds) {
            self.smallest.pop_front();
        }
        self.smallest[0].1
    }

    fn judged(&mut self, arrival: &Arrival, late: bool) {
        let (since, smallest) = self.late.unwrap_or((arrival.at, f64::INFINITY));
        let smallest = smallest.min(arrival.transit());
        self.late = late.then_some((since, smallest));
        if late && arrival.at - since >= LONGER_SECONDS {
            self.smallest = VecDeque::from([(arrival.at, smallest)]);
            self.late = None;
        }
    }
}
