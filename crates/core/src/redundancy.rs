//! What one receiver is sent more than once: what it told of its path, the plan that follows from that,
//! and the copies that are on their way.

use std::time::Duration;

use crate::codec::opus::Application;
use crate::copies::{self, Copies, Settings};
use crate::feedback::{Ability, Feedback};
use crate::loss::Estimator;
use crate::packet::HEADER_BYTES;
use crate::packetizer::Frame;
use crate::plan::{self, Plan, Situation};
use crate::rate::UDP_BYTES;
use crate::{Codec, Format, Instant, duration_of, frames_in};

/// What is sent more than once, in case it is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redundancy {
    /// Nothing: the path is reliable, or the listener would rather have the gaps.
    Off,
    /// What the path asks for, and nothing on one that loses nothing; copies are [`AUTO_MOST`] of the
    /// stream at the most.
    #[default]
    Auto,
    /// The same, with copies of so many percent of the stream at the most.
    AtMost(u16),
    /// This, whatever the path is like.
    Fixed(Plan),
}

/// Percent of a stream that its copies take at the most.
pub const AUTO_MOST: u16 = 55;

/// What copies ride beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Of the packets.
    pub format: Format,
    /// What Opus is tuned for.
    pub application: Application,
}

impl Beside {
    /// Whether copies beside packets of so many frames are as long as these, and take their places in the same
    /// decoder: those of speech.
    pub(crate) fn copies_as_packets(&self, frames: usize) -> bool {
        self.format.codec == Codec::Opus && self.application == Application::Voice && frames >= SPEECH_FRAMES_MIN
    }
}

/// SILK has none that are shorter: 10 ms.
const SPEECH_FRAMES_MIN: usize = 480;

/// A packet with copies is no longer than this: it fits the least datagram of QUIC (RFC 9000 section 14).
pub const PACKET_BYTES_MAX: usize = 1150;

/// A plan with fewer copies follows one with more no sooner than this.
const RELEASE: Duration = Duration::from_millis(2_500);

pub(crate) struct Protection {
    redundancy: Redundancy,
    beside: Option<Beside>,
    /// That may be sent in all, if that is limited.
    budget_bps: Option<f64>,
    ceiling_bps: Option<f64>,
    /// The share of the packets that is lost, 0 to 1, and the same where too little of it comes back.
    loss: f64,
    unprotected: f64,
    /// Of a packet beyond its payload, bytes.
    headers: usize,
    estimator: Estimator,
    copies: Copies,
    plan: Plan,
    /// When there was last a plan with as many copies.
    planned: Instant,
    /// Of the last packets, without headers.
    bytes: f64,
    frames: usize,
    trip: Option<(Duration, Duration)>,
    bytes_copied: u64,
}

impl Protection {
    pub fn new(beside: Option<Beside>) -> Self {
        Self {
            redundancy: Redundancy::default(),
            beside: beside.filter(|beside| copies::are_possible(beside.format)),
            budget_bps: None,
            ceiling_bps: None,
            loss: 0.0,
            unprotected: 0.0,
            headers: UDP_BYTES + HEADER_BYTES,
            estimator: Estimator::new(),
            copies: Copies::default(),
            plan: Plan::default(),
            planned: Instant::default(),
            bytes: 0.0,
            frames: 0,
            trip: None,
            bytes_copied: 0,
        }
    }

    pub fn redundancy(&self) -> Redundancy {
        self.redundancy
    }

    /// Whether anything may be sent more than once.
    pub fn is_on(&self) -> bool {
        self.redundancy != Redundancy::Off
    }

    /// Whether copies may ever be sent.
    pub fn may_copy(&self) -> bool {
        self.beside.is_some() && !matches!(self.redundancy, Redundancy::Off | Redundancy::AtMost(0))
    }

    /// What the receiver may reckon with, if with anything.
    pub fn ability(&self) -> Option<Ability> {
        let copies_as_packets = self.beside.is_some_and(|beside| beside.copies_as_packets(self.frames));
        self.is_on().then(|| Ability { copies: self.may_copy(), copies_as_packets })
    }

    pub fn set(&mut self, redundancy: Redundancy) {
        self.redundancy = redundancy;
        self.estimator = Estimator::new();
        (self.loss, self.unprotected) = (0.0, 0.0);
        self.copies = Copies::default();
        self.plan = match redundancy {
            Redundancy::Fixed(plan) if self.beside.is_some() => plan,
            _ => Plan::default(),
        };
    }

    /// From now on copies ride beside that: a run of its own, with copies of its own.
    pub fn set_beside(&mut self, beside: Option<Beside>) {
        self.beside = beside.filter(|beside| copies::are_possible(beside.format));
        (self.copies, self.bytes) = (Copies::default(), 0.0);
        if !matches!(self.redundancy, Redundancy::Fixed(_)) {
            self.plan = Plan::default();
        }
    }

    /// That may be sent in all, bits per second with headers; `None` where nothing limits it.
    pub fn set_budget(&mut self, budget_bps: Option<f64>) {
        self.budget_bps = budget_bps;
    }

    /// Below which all is kept, bits per second with headers; `None` where that is left to the path.
    pub fn set_ceiling(&mut self, ceiling_bps: Option<f64>) {
        self.ceiling_bps = ceiling_bps;
    }

    /// What the ceiling leaves for the packets themselves, beside copies and repairs: bits per second with headers.
    pub fn frames_bps(&self) -> Option<f64> {
        let copies = self.plan.copies.map_or(0.0, |copies| copies.bps()) * self.plan.count() as f64;
        self.ceiling_bps.map(|ceiling| ceiling - copies - self.loss * self.primary_bps())
    }

    /// What a packet takes on the wire beyond its payload, bytes.
    pub fn set_headers(&mut self, bytes: usize) {
        self.headers = bytes;
    }

    pub fn plan(&self) -> Plan {
        self.plan
    }

    pub fn bytes_copied(&self) -> u64 {
        self.bytes_copied
    }

    /// Takes a frame and its copy; where copies are due, writes the payload that has them.
    pub fn handle_frame(&mut self, frame: &Frame<'_>, payload_type: u8, payload: &mut Vec<u8>) -> bool {
        self.frames = frame.frames;
        self.bytes += (frame.payload.len() as f64 - self.bytes) / if self.bytes > 0.0 { 32.0 } else { 1.0 };
        let (Some(beside), true) = (self.beside, self.plan.count() > 0) else { return false };
        if let Some(copied) = &frame.copy {
            self.copies.push(copied);
        }
        let rate = beside.format.rate;
        // A packet later would be too late.
        let offsets = self.plan.offsets.map(|offset| frames_in(offset, rate) as i64 - frame.frames as i64 + 1);
        let offsets = &offsets[..self.plan.count()];
        let bytes_max = PACKET_BYTES_MAX - HEADER_BYTES;
        let more = self.copies.write(frame.time, offsets, (payload_type, frame.payload), bytes_max, payload);
        self.bytes_copied += more as u64;
        more > 0
    }

    /// A round trip was measured.
    pub fn handle_trip(&mut self, trip: Duration) {
        self.trip = Some(match self.trip {
            None => (trip, trip / 8),
            Some((mean, varies)) => ((mean * 7 + trip) / 8, (varies * 3 + trip.abs_diff(mean)) / 4),
        });
    }

    /// The receiver says what came of the packets up to `highest`, an extended sequence number.
    pub fn handle_feedback(&mut self, now: Instant, highest: i64, feedback: &Feedback, jitter: Duration) {
        self.estimator.handle(now, highest, &feedback.missing);
        let estimate = self.estimator.estimate(now, self.packet());
        self.loss = estimate.loss;
        let Some(beside) = self.beside.filter(|_| self.is_on() && self.frames > 0) else { return };
        let situation = Situation {
            beside,
            frames: self.frames,
            budget_bps: self.copies_bps(beside.format.codec),
            round_trip: self.trip.map(|(trip, varies)| trip + 2 * varies),
            room: feedback.room(),
            jitter,
            copied: self.plan.copies.map(|copies| copies.frames),
        };
        if self.may_copy() && !matches!(self.redundancy, Redundancy::Fixed(_)) {
            // A path without losses gets fewer copies by itself.
            let calm = estimate.clean.is_none_or(|clean| clean >= RELEASE);
            // Below a ceiling the sound would have to make room, and it does not yet know that.
            let expected = match self.ceiling_bps {
                Some(_) => estimate,
                None => self.estimator.expect(now, self.packet()),
            };
            self.follow(now, plan::plan(&expected, &situation), calm);
        }
        self.unprotected = plan::unprotected(&estimate, &situation, &self.plan);
    }

    /// The share of the packets that is lost, 0 to 1, where repairs and copies bring too little of it back.
    pub fn unprotected(&self) -> f64 {
        self.unprotected
    }

    /// What the packets themselves take.
    fn primary_bps(&self) -> f64 {
        (self.bytes + self.headers as f64) * 8.0 / self.packet().as_secs_f64()
    }

    /// What copies may take of the stream's bits. Below a ceiling Opus makes room for them.
    fn copies_bps(&self, codec: Codec) -> f64 {
        let percent = f64::from(match self.redundancy {
            Redundancy::AtMost(percent) => percent,
            _ => AUTO_MOST,
        });
        let primary_bps = self.primary_bps();
        let share = match (self.ceiling_bps, codec) {
            (Some(ceiling), Codec::Opus) => ceiling * percent / (100.0 + percent),
            (Some(ceiling), Codec::Pcm(_)) => (primary_bps * percent / 100.0).min(ceiling - primary_bps),
            (None, _) => primary_bps * percent / 100.0,
        };
        // The packet itself then says where its own payload begins, too.
        let header_bps = 8.0 / self.packet().as_secs_f64();
        let left = self.budget_bps.map_or(f64::INFINITY, |budget| budget - primary_bps);
        (share - header_bps).min(left).max(0.0)
    }

    /// More copies at once, fewer slowly.
    fn follow(&mut self, now: Instant, mut next: Plan, calm: bool) {
        let (count, wanted) = (self.plan.count(), next.count());
        if wanted >= count {
            self.planned = now;
        } else if now - self.planned < RELEASE && !calm {
            return;
        } else {
            self.planned = now;
            // One step: of the copies that there are, the earliest are kept.
            let fewer = count - 1;
            if wanted < fewer {
                next = self.plan;
                next.offsets[fewer] = Duration::ZERO;
            }
        }
        if next.count() == 0 {
            self.copies = Copies::default();
            next.copies = None;
        }
        // A new encoder for a few bits more would cost a frame; for fewer it must be, or they are not kept to.
        if let (Some(now), Some(before)) = (&mut next.copies, self.plan.copies) {
            let more = now.opus.bitrate_bps.checked_sub(before.opus.bitrate_bps);
            if more.is_some_and(|more| more < before.opus.bitrate_bps / 5) {
                now.opus.bitrate_bps = before.opus.bitrate_bps;
            }
        }
        self.plan = next;
    }

    /// How copies are to be coded, if there are to be any.
    pub fn copies(&self) -> Option<Settings> {
        self.plan.copies
    }

    fn packet(&self) -> Duration {
        self.beside
            .map_or(Duration::from_millis(5), |beside| duration_of(self.frames.max(1) as u64, beside.format.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaTime;

    fn protection(redundancy: Redundancy) -> Protection {
        let beside = Beside { format: Format::l16(48_000, 2), application: Application::Music };
        let mut protection = Protection::new(Some(beside));
        protection.set(redundancy);
        let frame = Frame {
            time: MediaTime(0),
            frames: 240,
            captured: Instant::default(),
            begins: false,
            payload: &[0; 960],
            copy: None,
        };
        protection.handle_frame(&frame, 97, &mut Vec::new());
        protection
    }

    /// Feedback for so many seconds, ten times in each; a burst of three is lost each time.
    fn feed(protection: &mut Protection, seconds: std::ops::Range<u64>, lossy: bool) -> Vec<usize> {
        let mut counts = Vec::new();
        for n in seconds.start * 10..seconds.end * 10 {
            let mut feedback = Feedback { room: Feedback::room_of(Duration::from_millis(90)), ..Feedback::default() };
            if lossy {
                (5..8).for_each(|ago| feedback.missing.set(ago));
            }
            let now = Instant::from_nanos(n * 100_000_000);
            protection.handle_feedback(now, n as i64 * 20, &feedback, Duration::from_millis(2));
            counts.push(protection.plan().count());
        }
        counts
    }

    #[test]
    fn copies_come_at_once_and_go_step_by_step() {
        let mut protection = protection(Redundancy::Auto);
        let counts = feed(&mut protection, 1..5, true);
        assert!(counts[2] > 0 && counts.last() == Some(&3), "{counts:?}");
        let counts = feed(&mut protection, 5..15, false);
        assert!(counts.windows(2).all(|pair| pair[1] == pair[0] || pair[1] + 1 == pair[0]), "{counts:?}");
        assert_eq!(counts.last(), Some(&0));
        assert_eq!(protection.copies(), None);
    }

    #[test]
    fn what_was_turned_off_sends_nothing_twice() {
        for redundancy in [Redundancy::Off, Redundancy::AtMost(0)] {
            let mut protection = protection(redundancy);
            assert!(!protection.may_copy());
            assert!(feed(&mut protection, 1..5, true).iter().all(|&count| count == 0));
        }
        assert!(feed(&mut protection(Redundancy::AtMost(3)), 1..5, true).iter().all(|&count| count <= 1));
    }
}
