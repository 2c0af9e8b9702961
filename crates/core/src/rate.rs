//! How much a path carries, and what that leaves for the sound.
//!
//! A queue that fills is seen before anything is lost in it: even the fastest packets take longer. So the
//! delay of the fastest packet of each feedback is followed. While it grows, what arrives is what the
//! bottleneck passes: that is the capacity, and less than that is sent until the queue has drained. Then
//! it comes back to just below the capacity soon, and beyond slowly. Loss alone says nothing of capacity.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;
use crate::feedback::{Feedback, WINDOW};
use crate::transit::Fastest;

/// A queue longer than this, in seconds, that does not shrink is one that fills ...
const QUEUED: f64 = 10e-3;
/// ... and one shorter than this is none.
const DRAINED: f64 = 6e-3;
/// Seen in so many reports in a row: the air stands still for the time between two.
const REPORTS: u32 = 2;
/// A queue of this length, in seconds, that grows is believed at once; as is this one where more is sent
/// to find out whether it passes, or this share of what the receiver's delay has room for: it is not to be heard.
const LONG: f64 = 60e-3;
const PROBED: f64 = 4e-3;
const PROBED_OF_ROOM: f64 = 0.6;
const PROBED_MIN: f64 = 2.5e-3;

/// Of the capacity this is used while nothing waits, and less while something does: so much per second
/// of queue, down to the least. A cut after one in vain is small: perhaps the queue is not ours.
const USED: f64 = 0.9;
const DRAIN: f64 = 2.0;
const USED_MIN: f64 = 0.5;
const USED_AGAIN: f64 = 0.85;

/// Where more than this of what is sent passes although the queue fills, somebody else fills it.
const PASSES: f64 = 0.9;

/// Then no less than this of what was sent before is sent as long as nothing is lost: it would be for nothing.
const KEPT: f64 = 0.75;

/// Below the capacity as it is known, so much of it is regained per second. Beyond, the rate grows after a
/// rest by so much per second, slowly enough for the queue to be seen before it is heard, and by more where
/// the bottleneck was last time and is no longer. Each time that it still is, the next rest is twice as long.
const REGAIN: f64 = 0.5;
const GROWTH: f64 = 0.01;
const GROWTH_BEYOND: f64 = 0.05;
const BEYOND: f64 = 1.05;
const REST: Duration = Duration::from_secs(8);
const REST_MAX: Duration = Duration::from_secs(64);

/// A sender that has less to say than it might proves nothing.
const PROVEN: f64 = 0.6;

/// It takes this long, and as long as the queue is, until less is seen to be sent. When that was in vain,
/// twice as long: the queue is somebody else's.
const EFFECT: Duration = Duration::from_millis(400);
const EFFECT_MAX: Duration = Duration::from_secs(4);

/// Longer by the same for so long although less is sent: no queue but another path.
const ANOTHER_PATH: Duration = Duration::from_millis(1500);
/// By the same: within so many seconds per second.
const LEVEL: f64 = 10e-3;

/// Reports closer to each other than this, in seconds, are taken as one; farther apart, something else
/// has happened.
const APART_MIN: f64 = 0.08;
const APART_MAX: f64 = 2.5;

/// The shortest way is known from the last so many seconds: clocks drift by 1 ms in ten.
const REMEMBERED: f64 = 30.0;

/// Packets that feedback may tell of.
const PACKETS_MAX: usize = 4 * WINDOW;

/// Never less than this, bits per second with headers: it would be silence.
const BUDGET_MIN: f64 = 32e3;

/// Headers of IPv4 and UDP, where nobody says otherwise.
pub(crate) const UDP_BYTES: usize = 20 + 8;

/// What is known of a path's capacity, from when packets were sent and when they came.
pub(crate) struct Rate {
    /// Headers below RTP, bytes per packet.
    overhead: usize,
    /// All bits that were sent.
    bits: f64,
    sent: VecDeque<Sent>,
    base: Option<Fastest>,
    last: Option<Seen>,
    queue: f64,
    filling: u32,
    /// Since when the queue has been as long as it is.
    level_since: Option<Instant>,
    limit: Option<Limit>,
    /// What would be sent if nothing limited it.
    full_bps: f64,
}

/// A packet that was sent.
struct Sent {
    sequence: i64,
    at: Instant,
    /// All bits up to it, it included.
    bits: f64,
}

/// The newest packet of the last feedback.
#[derive(Clone, Copy)]
struct Seen {
    sequence: i64,
    sent: Instant,
    /// By the receiver's clock: on the wire, and in seconds without its wrap.
    clock: u32,
    arrived: f64,
    bits: f64,
}

/// There is a bottleneck.
#[derive(Clone, Copy)]
struct Limit {
    capacity: f64,
    /// The capacity when the queue was last seen to fill.
    bottleneck: f64,
    budget: f64,
    since: Instant,
    /// Until then the effect of the last cut is waited for, and how long that is.
    patient_until: Instant,
    effect: Duration,
    /// The budget before the first of the cuts that were in vain so far, and what was sent then.
    before: Option<f64>,
    sent_bps: f64,
    rest: Duration,
    /// Cuts were in vain, and all passed: somebody else fills the queue.
    foreign: bool,
}

impl Rate {
    /// Nothing is known, and nothing limits.
    pub fn new() -> Self {
        Self {
            overhead: UDP_BYTES,
            bits: 0.0,
            sent: VecDeque::new(),
            base: None,
            last: None,
            queue: 0.0,
            filling: 0,
            level_since: None,
            limit: None,
            full_bps: f64::INFINITY,
        }
    }

    /// What each packet takes on the wire beyond its own bytes, from now on.
    pub fn set_overhead(&mut self, bytes: usize) {
        self.overhead = bytes;
    }

    /// What would be sent if nothing limited it, bits per second with headers.
    pub fn set_full(&mut self, bits_per_second: f64) {
        self.full_bps = bits_per_second;
    }

    /// Takes note of anything that is sent; of a media packet with its number.
    pub fn handle_sent(&mut self, now: Instant, sequence: Option<i64>, bytes: usize) {
        self.bits += ((bytes + self.overhead) * 8) as f64;
        let Some(sequence) = sequence else { return };
        if self.sent.len() == PACKETS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { sequence, at: now, bits: self.bits });
    }

    /// Takes the receiver's feedback; `highest` is its highest sequence number, extended.
    pub fn handle_feedback(&mut self, now: Instant, highest: i64, feedback: &Feedback) {
        let fastest = highest - i64::from(feedback.highest.wrapping_sub(feedback.fastest));
        let Some(transit) = self.find(fastest).map(|sent| sent.at.as_nanos() as f64 * 1e-9) else { return };
        let Some(seen) = self.find(highest).map(|sent| Seen {
            sequence: highest,
            sent: sent.at,
            clock: feedback.arrived,
            arrived: self.unwrap(feedback.arrived),
            bits: sent.bits,
        }) else {
            return;
        };
        let apart = f64::from(feedback.arrived.wrapping_sub(feedback.fastest_arrived) as i32) / CLOCK;
        let transit = seen.arrived - apart - transit;
        let Some(last) = self.last.filter(|last| (0.0..APART_MAX).contains(&(seen.arrived - last.arrived))) else {
            self.last = Some(seen);
            self.filling = 0;
            self.observe(now, transit);
            return;
        };
        if seen.arrived - last.arrived < APART_MIN {
            return;
        }
        self.last = Some(seen);
        let before = self.queue;
        self.queue = self.observe(now, transit);
        let passed = seen.bits - last.bits;
        let lost = lost_share(&last, &seen, feedback);
        let seconds = seen.arrived - last.arrived;
        let arrived_bps = passed * (1.0 - lost) / seconds;
        let sent_bps = passed / seen.sent.seconds_since(last.sent).max(1e-3);
        let room = feedback.room().map(|room| room.as_secs_f64());
        self.follow(now, Interval { seconds, before, arrived_bps, sent_bps, lost: lost > 0.0, transit, room });
    }

    /// What may be sent in all, bits per second with headers; `None` where nothing limits it.
    pub fn budget_bps(&self) -> Option<f64> {
        self.limit.map(|limit| limit.budget)
    }

    /// How long packets wait on their way, by the last feedback.
    pub fn queueing_delay(&self) -> Duration {
        Duration::from_secs_f64(self.queue.max(0.0))
    }

    fn follow(&mut self, now: Instant, interval: Interval) {
        let slope = (self.queue - interval.before) / interval.seconds;
        let probes = self.limit.is_some_and(|limit| limit.probes());
        let probed = interval.room.map_or(PROBED, |room| (PROBED_OF_ROOM * room).clamp(PROBED_MIN, PROBED));
        let fills = self.queue > if probes { probed } else { QUEUED } && self.queue > 0.9 * interval.before;
        self.filling = if fills { self.filling + 1 } else { 0 };
        if self.is_another_path(now, slope, &interval) {
            self.base = Some(Fastest::remembering(now, interval.transit, REMEMBERED));
            (self.queue, self.filling) = (0.0, 0);
            // Less was sent for nothing.
            self.limit = self.limit.and_then(|limit| limit.before.map(|budget| Limit { budget, ..limit }));
        } else if self.filling >= REPORTS || fills && (probes || self.queue > LONG && slope > 0.0) {
            self.give_way(now, &interval);
        } else if self.queue < DRAINED {
            self.come_back(now, &interval);
        }
    }

    /// Sends less than what arrives.
    fn give_way(&mut self, now: Instant, interval: &Interval) {
        if self.limit.is_some_and(|limit| now < limit.patient_until) {
            return;
        }
        let passes = interval.arrived_bps.min(interval.sent_bps);
        let is_ours = interval.lost || passes < PASSES * interval.sent_bps;
        let in_vain = self.limit.filter(|limit| limit.effect >= EFFECT);
        let mut next = Limit {
            capacity: passes,
            bottleneck: passes,
            budget: passes * (USED - DRAIN * self.queue).max(USED_MIN),
            since: now,
            patient_until: now,
            effect: EFFECT,
            before: self.budget_bps(),
            foreign: false,
            sent_bps: interval.sent_bps,
            rest: self.limit.map_or(REST, |last| if last.probes() { (2 * last.rest).min(REST_MAX) } else { last.rest }),
        };
        if let Some(last) = in_vain {
            let Limit { before, sent_bps, .. } = last;
            let (budget, effect) = (passes * USED_AGAIN, (2 * last.effect).min(EFFECT_MAX));
            next = Limit { budget, effect, before, sent_bps, ..next };
            if !is_ours {
                let (capacity, budget) = (last.capacity, budget.max(KEPT * sent_bps));
                next = Limit { capacity, budget, foreign: true, ..next };
            }
        }
        next.budget = next.budget.min(self.budget_bps().unwrap_or(f64::INFINITY)).max(BUDGET_MIN);
        next.patient_until = now + next.effect + self.queueing_delay();
        self.limit = Some(next);
    }

    /// Sends more, as long as nothing waits.
    fn come_back(&mut self, now: Instant, interval: &Interval) {
        let Some(limit) = &mut self.limit else { return };
        if std::mem::take(&mut limit.foreign) {
            // Less was sent for nothing.
            let Some(before) = limit.before else { return self.limit = None };
            (limit.budget, limit.capacity) = (before, limit.capacity.max(before / USED));
        }
        limit.effect = Duration::ZERO; // it was not in vain
        let known = USED * limit.capacity;
        let rested = (now - limit.since).saturating_sub(limit.rest);
        if limit.budget < known {
            limit.budget = (limit.budget + REGAIN * limit.capacity * interval.seconds).min(known);
        } else if interval.sent_bps > PROVEN * limit.budget && rested > Duration::ZERO {
            let growth = if limit.budget > BEYOND * limit.bottleneck { GROWTH_BEYOND } else { GROWTH };
            limit.budget *= 1.0 + growth * interval.seconds;
            limit.capacity = limit.capacity.max(limit.budget);
        }
        if limit.budget > self.full_bps {
            self.limit = None;
        }
    }

    /// Whether packets take longer for another reason than a queue.
    fn is_another_path(&mut self, now: Instant, slope: f64, interval: &Interval) -> bool {
        let level = self.queue > QUEUED && slope.abs() < LEVEL && !interval.lost && self.limit.is_some();
        self.level_since = if level { self.level_since.or(Some(now)) } else { None };
        self.level_since.is_some_and(|since| now - since > ANOTHER_PATH)
    }

    /// By how much a transit is longer than the shortest of late.
    fn observe(&mut self, now: Instant, transit: f64) -> f64 {
        let base = self.base.get_or_insert_with(|| Fastest::remembering(now, transit, REMEMBERED));
        base.observe(now, transit);
        transit - base.get()
    }

    fn find(&self, sequence: i64) -> Option<&Sent> {
        let ago = self.sent.back()?.sequence.checked_sub(sequence)?;
        let index = self.sent.len().checked_sub(usize::try_from(ago).ok()? + 1)?;
        self.sent.get(index).filter(|sent| sent.sequence == sequence)
    }

    /// A moment of the receiver's clock, in seconds without its wrap.
    fn unwrap(&self, clock: u32) -> f64 {
        self.last.map_or(0.0, |last| last.arrived + f64::from(clock.wrapping_sub(last.clock) as i32) / CLOCK)
    }
}

impl Limit {
    /// Whether more is sent than is known to pass.
    fn probes(&self) -> bool {
        self.budget > 1.001 * USED * self.capacity
    }
}

/// Between two reports.
struct Interval {
    /// By the receiver's clock.
    seconds: f64,
    /// The queue at its beginning.
    before: f64,
    arrived_bps: f64,
    sent_bps: f64,
    /// Whether something was lost.
    lost: bool,
    transit: f64,
    /// How much later than the fastest a packet may come and still be played, as far as that is known.
    room: Option<f64>,
}

/// Of the packets between two reports.
fn lost_share(last: &Seen, seen: &Seen, feedback: &Feedback) -> f64 {
    let packets = usize::try_from(seen.sequence - last.sequence).unwrap_or(0).min(WINDOW);
    let missing = (0..packets).filter(|ago| feedback.missing.is_set(*ago)).count();
    missing as f64 / packets.max(1) as f64
}

/// Of the receiver's clock in feedback, per second.
const CLOCK: f64 = 65_536.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender over a bottleneck with an endless queue, and a path behind it.
    struct Path {
        rate: Rate,
        millis: u64,
        sequence: i64,
        queue_until: f64,
        longest: f64,
    }

    impl Path {
        fn new() -> Self {
            Self { rate: Rate::new(), millis: 1000, sequence: 65_000, queue_until: 0.0, longest: 0.0 }
        }

        /// Sends packets of 5 ms for so many seconds, `wanted` bits per second or what is allowed.
        fn run(&mut self, seconds: f64, wanted: f64, capacity: f64, delay: impl Fn(f64) -> f64) {
            let end = self.millis + (seconds * 1e3) as u64;
            let (mut fastest, mut count) = (None::<(i64, f64, f64)>, 0);
            while self.millis < end {
                let now = Instant::from_nanos(self.millis * 1_000_000);
                let seconds = self.millis as f64 * 1e-3;
                let bps = self.rate.budget_bps().map_or(wanted, |budget| budget.min(wanted));
                let bytes = (bps * 5e-3 / 8.0) as usize;
                self.rate.handle_sent(now, Some(self.sequence), bytes.saturating_sub(28));
                self.queue_until = self.queue_until.max(seconds) + bytes as f64 * 8.0 / capacity;
                self.longest = self.longest.max(self.queue_until - seconds);
                let arrived = self.queue_until + delay(seconds);
                if fastest.is_none_or(|(_, _, transit)| arrived - seconds < transit) {
                    fastest = Some((self.sequence, arrived, arrived - seconds));
                }
                count += 1;
                if let (true, Some((number, fast, _))) = (count % 20 == 0, fastest.take_if(|_| count % 20 == 0)) {
                    let clock = |time: f64| ((time * CLOCK) as u64) as u32;
                    let feedback = Feedback {
                        highest: self.sequence as u16,
                        arrived: clock(arrived),
                        fastest: number as u16,
                        fastest_arrived: clock(fast),
                        ..Feedback::default()
                    };
                    self.rate.handle_feedback(now, self.sequence, &feedback);
                }
                self.sequence += 1;
                self.millis += 5;
            }
        }

        fn budget(&self) -> f64 {
            self.rate.budget_bps().unwrap_or(f64::INFINITY)
        }
    }

    #[test]
    fn nothing_limits_where_nothing_waits() {
        let mut path = Path::new();
        path.run(30.0, 200e3, 1e6, |_| 0.02);
        assert_eq!(path.rate.budget_bps(), None);
    }

    #[test]
    fn a_bottleneck_is_found_and_mostly_used() {
        let mut path = Path::new();
        path.run(3.0, 800e3, 256e3, |_| 0.02);
        path.longest = 0.0;
        for _ in 0..30 {
            path.run(1.0, 800e3, 256e3, |_| 0.02);
            assert!((190e3..280e3).contains(&path.budget()), "{}", path.budget());
        }
        assert!(path.longest < 0.05, "{}", path.longest);
    }

    #[test]
    fn what_has_room_again_is_found_to_have_it() {
        let mut path = Path::new();
        path.rate.set_full(420e3);
        path.run(10.0, 400e3, 256e3, |_| 0.02);
        assert!(path.budget() < 280e3, "{}", path.budget());
        path.run(60.0, 400e3, 2e6, |_| 0.02);
        assert_eq!(path.rate.budget_bps(), None);
    }

    #[test]
    fn a_path_that_becomes_longer_is_no_queue_for_long() {
        let mut path = Path::new();
        path.run(5.0, 200e3, 1e6, |_| 0.02);
        path.run(8.0, 200e3, 1e6, |_| 0.06);
        assert!(path.budget() > 180e3, "{}", path.budget());
        assert!(path.rate.queueing_delay() < Duration::from_millis(5));
    }

    #[test]
    fn jitter_and_standstills_are_no_queue() {
        let mut path = Path::new();
        let wifi = |time: f64| {
            let phase = (time * 1e3) as u64;
            let still = phase % 1700;
            0.002 + (phase * 7919 % 13) as f64 * 1e-3 + if still < 80 { (80 - still) as f64 * 1e-3 } else { 0.0 }
        };
        path.run(30.0, 200e3, 10e6, wifi);
        assert_eq!(path.rate.budget_bps(), None);
    }

    #[test]
    fn a_queue_that_others_fill_takes_not_all() {
        let mut path = Path::new();
        let others = |time: f64| 0.02 + 0.2 * (1.0 - (time / 5.0 % 2.0 - 1.0).abs());
        for _ in 0..20 {
            path.run(1.0, 160e3, 1e6, others);
            assert!(path.budget() > 64e3, "{}", path.budget());
        }
    }

    #[test]
    fn any_feedback_may_come() {
        let mut rate = Rate::new();
        rate.handle_feedback(Instant::default(), 5, &Feedback::default());
        (0..100).for_each(|n| rate.handle_sent(Instant::from_nanos(n * 1_000_000), Some(n as i64), 100));
        for n in 0..1000u32 {
            let arrived = n.wrapping_mul(0x9e37_79b9);
            let feedback = Feedback { highest: n as u16, fastest: (n * 7) as u16, arrived, ..Feedback::default() };
            rate.handle_feedback(Instant::from_nanos(u64::from(n) * 10_000_000), i64::from(n), &feedback);
            assert!(rate.budget_bps().is_none_or(f64::is_finite));
        }
    }
}
