//! Which packets have not come, and which of them are worth asking for once more.
//!
//! A repair takes a round trip. It is asked for only where it then still comes in time, as often as
//! that allows, and not before a packet that was merely overtaken has had time to come.

use std::time::Duration;

use crate::Instant;
use crate::feedback::{Missing, WINDOW};

/// A packet that was overtaken by the next ones has so long before it is asked for: longer where
/// that was not long enough of late, up to this.
const REORDERED: Duration = Duration::from_millis(2);
const REORDERED_MAX: Duration = Duration::from_millis(25);

/// Asked again when the repair is overdue by so much.
const OVERDUE: Duration = Duration::from_millis(2);

/// An answer hardly ever takes longer than usual by more than so many times what that varies by. The last
/// request must not come later; that one before it was no more than slow costs but a packet.
const HARDLY_EVER: u32 = 3;

/// The most packets that are asked for at a time: what one compound packet says in 150 bytes.
pub(crate) const ASKED_MAX: usize = 64;

/// Where nothing comes at all, so many are expected, and no more: the source may be silent.
const AHEAD_MAX: i64 = 32;

/// What is overdue is asked for when this share of what was overdue before never came: then nobody
/// need wait for the end of a burst to know that it has begun.
const TRUSTED: f64 = 0.5;

/// How much one packet changes that share.
const TRUST_STEP: f64 = 1.0 / 32.0;

/// The last packets of a run by their sequence numbers, and what became of them.
pub(crate) struct Arrivals {
    /// That has come.
    highest: i64,
    /// That has come or should have.
    expected: i64,
    /// By sequence number, modulo their number.
    slots: [Slot; WINDOW],
    /// Lost ones that are not given up.
    wanted: Vec<i64>,
    /// Lost ones of which the playout does not know.
    untold: Vec<i64>,
    /// What a repair takes, and by how much that varies (as RFC 6298 reckons it).
    trip: Option<(Duration, Duration)>,
    /// The share of those that were overdue and never came.
    trust: f64,
    /// How long those take that are overtaken.
    reordered: Duration,
    repaired: u64,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Came,
    Missing(Hole),
    /// Came after it was asked for.
    Repaired,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    since: Instant,
    deadline: Option<Instant>,
    /// When it is to be asked for.
    next: Instant,
    /// When it was asked for first, and how often.
    asked: Option<Instant>,
    times: u32,
}

/// A packet that was lost.
pub(crate) struct Lost {
    pub sequence: i64,
    /// So many packets later one has come.
    pub packets: u32,
    /// When it would come, if it was asked for.
    pub repaired: Option<Instant>,
}

/// What a packet is that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    First,
    Repair,
    /// Once more what has come already.
    Again,
}

impl Arrivals {
    /// Begins with the packet of that number.
    pub fn new(first: i64) -> Self {
        let (slots, wanted, untold) = ([Slot::Came; WINDOW], Vec::new(), Vec::new());
        let (trip, trust, reordered) = (None, 0.0, REORDERED);
        Self { highest: first, expected: first, slots, wanted, untold, trip, trust, reordered, repaired: 0 }
    }

    /// A packet has come. `deadline` says until when one of that number may come; `None` where that
    /// is not known.
    pub fn handle(&mut self, now: Instant, sequence: i64, deadline: impl Fn(i64) -> Option<Instant>) -> Came {
        let known = self.expected.max(sequence - WINDOW as i64);
        let overdue = (self.highest + 1..=self.expected.min(sequence - 1)).filter(|&n| self.hole(n).is_some()).count();
        (0..overdue).for_each(|_| self.trust += TRUST_STEP * (1.0 - self.trust));
        for missing in known + 1..sequence {
            self.reordered = (self.reordered * 127 / 128).max(REORDERED);
            self.miss(missing, now, now + self.reordered, deadline(missing));
        }
        if sequence > known {
            self.slots[index(sequence)] = Slot::Came;
        }
        self.expected = self.expected.max(sequence);
        self.highest = self.highest.max(sequence);
        self.forget_old();
        match sequence > known {
            true => Came::First,
            false => self.handle_late(now, sequence),
        }
    }

    /// The packet after all that are known should have come by now.
    pub fn handle_overdue(&mut self, now: Instant, deadline: impl Fn(i64) -> Option<Instant>) {
        self.expected += 1;
        self.miss(self.expected, now, now, deadline(self.expected));
        self.forget_old();
    }

    /// The number of the packet that is waited for next; `None` where it makes no sense to.
    pub fn awaited(&self) -> Option<i64> {
        (self.expected < self.highest + AHEAD_MAX).then_some(self.expected + 1)
    }

    /// Whether the packet before the one that is awaited is missing, too.
    pub fn is_in_a_loss(&self) -> bool {
        self.expected > self.highest
    }

    /// Whether what is overdue is lost, as a rule.
    pub fn trusts_the_clock(&self) -> bool {
        self.trust > TRUSTED
    }

    fn hole(&self, sequence: i64) -> Option<Hole> {
        match self.slots[index(sequence)] {
            Slot::Missing(hole) => Some(hole),
            _ => None,
        }
    }

    fn miss(&mut self, sequence: i64, since: Instant, next: Instant, deadline: Option<Instant>) {
        self.slots[index(sequence)] = Slot::Missing(Hole { since, deadline, next, asked: None, times: 0 });
        if deadline.is_some() {
            self.wanted.push(sequence);
        }
        self.untold.push(sequence);
    }

    fn forget_old(&mut self) {
        let oldest = self.expected - WINDOW as i64;
        self.wanted.retain(|&wanted| wanted > oldest);
        self.untold.retain(|&untold| untold > oldest);
    }

    fn handle_late(&mut self, now: Instant, sequence: i64) -> Came {
        if sequence <= self.expected - WINDOW as i64 {
            return Came::First;
        }
        let hole = match self.slots[index(sequence)] {
            Slot::Missing(hole) => hole,
            Slot::Came | Slot::Repaired => return Came::Again,
        };
        self.wanted.retain(|&wanted| wanted != sequence);
        // Sooner than any answer to the first request, it was on its way before that.
        let answer = |asked: Instant| self.trip.is_none_or(|(trip, _)| now - asked > trip / 2);
        let Some(asked) = hole.asked.filter(|&asked| answer(asked)) else {
            self.trust -= TRUST_STEP * self.trust;
            self.reordered = self.reordered.max((now - hole.since) * 5 / 4).min(REORDERED_MAX);
            self.slots[index(sequence)] = Slot::Came;
            return Came::First;
        };
        self.slots[index(sequence)] = Slot::Repaired;
        self.repaired += 1;
        if hole.times == 1 {
            self.measure(now - asked); // else nobody knows which request it answers
        }
        Came::Repair
    }

    /// What the round trip is as reports have it, until repairs tell.
    pub fn set_round_trip(&mut self, trip: Duration) {
        match &mut self.trip {
            Some((known, _)) if trip < *known => *known = trip,
            Some(_) => {}
            None => self.trip = Some((trip, trip / 8)),
        }
    }

    /// The packets to ask for now.
    pub fn poll_asked(&mut self, now: Instant, asked: &mut Vec<u16>) {
        asked.clear();
        let Some((trip, varies)) = self.trip else { return };
        let (slots, highest) = (&mut self.slots, self.highest);
        let trusted = self.trust > TRUSTED;
        self.wanted.retain(|&sequence| {
            let Slot::Missing(hole) = &mut slots[index(sequence)] else { return false };
            let Some(deadline) = hole.deadline else { return false };
            if now + trip > deadline {
                return false; // it could only come too late
            }
            if hole.next <= now && (trusted || sequence < highest) && asked.len() < ASKED_MAX {
                asked.push(sequence as u16);
                hole.asked.get_or_insert(now);
                let overdue = (trip + 2 * varies + OVERDUE) * (1 << hole.times.min(6));
                hole.next = next_ask(now, deadline, overdue, trip + HARDLY_EVER * varies);
                hole.times += 1;
            }
            true
        });
    }

    /// When there is next something to ask for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.trip?;
        let asked = self.wanted.iter().filter(|&&sequence| self.trusts_the_clock() || sequence < self.highest);
        asked.filter_map(|&sequence| self.hole(sequence).map(|hole| hole.next)).min()
    }

    /// Tells of each packet that is lost, as it seems now that later ones have come.
    pub fn poll_lost(&mut self, now: Instant, mut lost: impl FnMut(Lost)) {
        let mut untold = std::mem::take(&mut self.untold);
        untold.retain(|&sequence| {
            let Some(hole) = self.hole(sequence) else { return false };
            let asked = hole.since + if self.trusts_the_clock() { Duration::ZERO } else { self.reordered };
            let ended = (sequence + 1..=self.highest).find(|&later| matches!(self.slots[index(later)], Slot::Came));
            let (Some(ended), true) = (ended, asked <= now) else { return true };
            let repaired = self.trip.map(|(trip, varies)| asked + trip + 2 * varies);
            lost(Lost { sequence, packets: (ended - sequence) as u32, repaired });
            false
        });
        self.untold = untold;
    }

    /// Which of the last packets have not come as they were first sent.
    pub fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        let known = WINDOW - (self.expected - self.highest) as usize;
        for ago in 0..known {
            if !matches!(self.slots[index(self.highest - ago as i64)], Slot::Came) {
                missing.set(ago);
            }
        }
        missing
    }

    /// Lost ones that came after all.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    fn measure(&mut self, took: Duration) {
        self.trip = Some(match self.trip {
            None => (took, took / 8),
            Some((trip, varies)) => {
                // Many repairs come in one burst: each counts for little.
                let off = took.abs_diff(trip);
                ((trip * 15 + took) / 16, (varies * 15 + off) / 16)
            }
        });
    }
}

/// When to ask again: when the answer is overdue, each time after twice as long (a busy machine is
/// no loss), or, where that would be too late, when an answer just comes in time.
fn next_ask(now: Instant, deadline: Instant, overdue: Duration, trip: Duration) -> Instant {
    let last = deadline - trip;
    if now + overdue > last && last > now + trip / 4 { last } else { now + overdue }
}

/// Where a packet has its slot.
fn index(sequence: i64) -> usize {
    sequence.rem_euclid(WINDOW as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn ask(arrivals: &mut Arrivals, millis: u64) -> Vec<u16> {
        let mut asked = Vec::new();
        arrivals.poll_asked(at(millis), &mut asked);
        asked
    }

    /// 10 has come, 11 and 12 have not; what is missing can be waited for until so many ms.
    fn with_a_hole(deadline: u64) -> Arrivals {
        let mut arrivals = Arrivals::new(10);
        arrivals.set_round_trip(Duration::from_millis(30));
        arrivals.trip = arrivals.trip.map(|(trip, _)| (trip, Duration::from_millis(4)));
        assert_eq!(arrivals.handle(at(15), 13, |_| Some(at(deadline))), Came::First);
        arrivals
    }

    #[test]
    fn what_is_missing_is_asked_for_after_a_moment_and_again_when_no_answer_comes() {
        let mut arrivals = with_a_hole(120);
        assert!(ask(&mut arrivals, 16).is_empty(), "it may have been overtaken");
        assert_eq!(arrivals.poll_timeout(), Some(at(17)));
        assert_eq!(ask(&mut arrivals, 17), [11, 12]);
        assert!(ask(&mut arrivals, 50).is_empty());
        assert_eq!(arrivals.handle(at(52), 11, |_| None), Came::Repair);
        assert_eq!(ask(&mut arrivals, 58), [12]);
        assert_eq!(arrivals.repaired(), 1);
    }

    #[test]
    fn what_would_come_too_late_is_not_asked_for() {
        let mut arrivals = with_a_hole(46);
        assert!(ask(&mut arrivals, 17).is_empty());
        let mut arrivals = with_a_hole(48);
        assert_eq!(ask(&mut arrivals, 17), [11, 12]);
        assert!(ask(&mut arrivals, 60).is_empty(), "once is all there is time for");
    }

    #[test]
    fn an_answer_that_comes_after_the_second_request_is_a_repair() {
        let mut arrivals = with_a_hole(120);
        ask(&mut arrivals, 17);
        assert_eq!(ask(&mut arrivals, 58), [11, 12]);
        assert_eq!(arrivals.handle(at(59), 11, |_| None), Came::Repair);
        assert_eq!(arrivals.reordered, REORDERED, "nothing was overtaken");
    }

    #[test]
    fn what_was_overtaken_is_no_repair_and_not_missing() {
        let mut arrivals = with_a_hole(120);
        assert_eq!(arrivals.handle(at(16), 12, |_| None), Came::First);
        ask(&mut arrivals, 17);
        assert_eq!(arrivals.handle(at(20), 11, |_| None), Came::First, "sooner than any answer");
        assert!(arrivals.missing().is_empty());
    }

    #[test]
    fn what_was_repaired_is_still_reported_as_lost() {
        let mut arrivals = with_a_hole(120);
        ask(&mut arrivals, 17);
        arrivals.handle(at(50), 12, |_| None);
        let missing = arrivals.missing();
        assert!(missing.is_set(1) && missing.is_set(2) && !missing.is_set(0));
    }

    #[test]
    fn what_is_overdue_is_asked_for_at_once_where_it_never_comes() {
        let mut arrivals = Arrivals::new(0);
        arrivals.set_round_trip(Duration::from_millis(30));
        let mut asked = Vec::new();
        // Of each ten the last two are lost.
        for n in 1..200 {
            match n % 10 {
                8 | 9 => arrivals.handle_overdue(at(n * 5), |n| Some(at(n as u64 * 5 + 60))),
                _ => drop(arrivals.handle(at(n * 5), n as i64, |n| Some(at(n as u64 * 5 + 60)))),
            }
            if ask(&mut arrivals, n * 5).contains(&(n as u16)) {
                asked.push(n);
            }
        }
        assert!(asked.ends_with(&[188, 189, 198, 199]), "{asked:?}");
        assert!(!asked.contains(&8), "the first may as well be late");
    }

    #[test]
    fn what_is_merely_late_is_waited_for() {
        let mut arrivals = Arrivals::new(0);
        arrivals.set_round_trip(Duration::from_millis(30));
        for n in 1..200 {
            arrivals.handle_overdue(at(n * 5), |n| Some(at(n as u64 * 5 + 60)));
            assert_eq!(ask(&mut arrivals, n * 5), []);
            assert_eq!(arrivals.handle(at(n * 5 + 2), n as i64, |_| None), Came::First);
        }
        assert!(arrivals.missing().is_empty());
    }

    #[test]
    fn a_long_outage_is_bounded() {
        let mut arrivals = with_a_hole(120);
        arrivals.handle(at(20), 100_000, |_| Some(at(10_000)));
        assert_eq!(ask(&mut arrivals, 30).len(), ASKED_MAX);
        assert!(arrivals.wanted.len() < WINDOW);
    }
}
