//! A TCP connection as the kernel has it, and what a live stream puts before it: a queue with deadlines,
//! and a fresh connection in place of one that stands still.

use std::collections::VecDeque;
use std::time::Duration;

use audiostreamer_core::{Instant, Outbox};

/// Segments that may be on their way: Linux's initial window, which loss does not let grow.
const WINDOW: usize = 10;
/// And those that the kernel holds unsent: `TCP_NOTSENT_LOWAT`.
const UNSENT: usize = 2;

/// Linux's least retransmission timeout, beyond a round trip; it doubles each time.
const PATIENCE: Duration = Duration::from_millis(200);

/// When a connection is known to stand still, and how often a fresh one is tried then.
const LOOKS: Duration = Duration::from_millis(100);
const CONNECT_AGAIN: Duration = Duration::from_millis(200);

/// The sending side of a connection. Moves with each packet that is given to it, and when it is to repeat one.
pub struct Connection {
    outbox: Outbox,
    /// In order, from the first that is not acknowledged.
    segments: VecDeque<Segment>,
    round_trip: Duration,
    last_progress: Instant,
    /// Retransmission timeouts in a row.
    timeouts: u32,
    still_since: Option<Instant>,
    next_attempt: Instant,
    /// The arrival of the first word of a fresh connection.
    fresh: Option<Instant>,
    pub replaced: u64,
}

struct Segment {
    bytes: Vec<u8>,
    sent: Instant,
    /// `None`: lost.
    arrives: Option<Instant>,
    given: bool,
    acknowledged: bool,
}

impl Connection {
    pub fn new(now: Instant) -> Self {
        Self {
            outbox: Outbox::default(),
            segments: VecDeque::new(),
            round_trip: Duration::ZERO,
            last_progress: now,
            timeouts: 0,
            still_since: None,
            next_attempt: now,
            fresh: None,
            replaced: 0,
        }
    }

    /// How long packets may wait before the kernel takes them.
    pub fn set_patience(&mut self, patience: Duration) {
        self.outbox.set_patience(patience);
    }

    /// Takes a record. `pass` says when what is sent now will arrive, if it does; `round_trip` is that
    /// without anything on the way. What becomes readable is given away with when it does.
    pub fn handle_input(
        &mut self,
        now: Instant,
        record: &[u8],
        round_trip: Duration,
        mut pass: impl FnMut() -> Option<Instant>,
        give: impl FnMut(Instant, &[u8]),
    ) {
        self.round_trip = round_trip;
        self.outbox.push(now, record);
        self.acknowledge(now);
        self.repeat(now, &mut pass);
        self.replace(now, &mut pass);
        let mut bytes = Vec::new();
        let under_way = |segments: &VecDeque<Segment>| segments.iter().filter(|segment| !segment.acknowledged).count();
        while under_way(&self.segments) < WINDOW + UNSENT && self.outbox.poll(now, &mut bytes) {
            if self.segments.is_empty() {
                self.last_progress = now;
            }
            let (bytes, arrives) = (std::mem::take(&mut bytes), pass());
            self.segments.push_back(Segment { bytes, sent: now, arrives, given: false, acknowledged: false });
        }
        self.give(give);
    }

    /// Repeats what is known to be lost by now.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        mut pass: impl FnMut() -> Option<Instant>,
        give: impl FnMut(Instant, &[u8]),
    ) {
        self.acknowledge(now);
        self.repeat(now, &mut pass);
        self.give(give);
    }

    /// When something that follows a lost one is acknowledged, and others had the time to overtake it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lost = self.segments.iter().filter(|segment| segment.arrives.is_none());
        lost.filter_map(|lost| {
            let later = self.segments.iter().filter(|segment| segment.sent >= lost.sent);
            let known = later.filter_map(|segment| Some(segment.arrives? + self.round_trip / 2)).min()?;
            Some(known.max(lost.sent + self.reordering()))
        })
        .min()
    }

    /// What can be read without what is missing.
    fn give(&mut self, mut give: impl FnMut(Instant, &[u8])) {
        let mut readable = Instant::default();
        for segment in &mut self.segments {
            let Some(arrives) = segment.arrives else { break };
            readable = readable.max(arrives);
            if !std::mem::replace(&mut segment.given, true) {
                give(readable, &segment.bytes);
            }
        }
    }

    /// Since it was sent, until it does not count as overtaken any more: a round trip, and a quarter for its detour.
    fn reordering(&self) -> Duration {
        self.round_trip.mul_f64(1.25)
    }

    fn acknowledge(&mut self, now: Instant) {
        let half = self.round_trip / 2;
        for segment in self.segments.iter_mut().filter(|segment| !segment.acknowledged) {
            if segment.arrives.is_some_and(|arrives| arrives + half <= now) {
                segment.acknowledged = true;
                (self.last_progress, self.timeouts, self.still_since) = (now, 0, None);
            }
        }
        while self.segments.front().is_some_and(|segment| segment.acknowledged && segment.given) {
            self.segments.pop_front();
        }
    }

    /// What was sent before something that was acknowledged is lost (RFC 8985), and so is all when nothing
    /// is acknowledged for long (RFC 6298).
    fn repeat(&mut self, now: Instant, pass: &mut impl FnMut() -> Option<Instant>) {
        let newest = self.segments.iter().filter(|segment| segment.acknowledged).map(|segment| segment.sent).max();
        let patient = self.reordering();
        for segment in self.segments.iter_mut().filter(|segment| segment.arrives.is_none()) {
            if newest.is_some_and(|newest| newest >= segment.sent) && segment.sent + patient <= now {
                (segment.sent, segment.arrives) = (now, pass());
            }
        }
        let timeout = (self.round_trip + PATIENCE) * 2u32.pow(self.timeouts.min(8));
        if self.last_progress + timeout <= now
            && let Some(first) = self.segments.iter_mut().find(|segment| segment.arrives.is_none())
        {
            (first.sent, first.arrives) = (now, pass());
            (self.last_progress, self.timeouts) = (now, self.timeouts + 1);
            self.still_since.get_or_insert(now);
        }
    }

    fn replace(&mut self, now: Instant, pass: &mut impl FnMut() -> Option<Instant>) {
        if self.still_since.is_none_or(|since| now < since + LOOKS) {
            self.fresh = None;
            return;
        }
        if self.fresh.is_none() && self.next_attempt <= now {
            self.next_attempt = now + CONNECT_AGAIN;
            self.fresh = pass().map(|_| now + self.round_trip * 2); // connecting, and a handshake of TLS 1.3
        }
        if self.fresh.is_some_and(|ready| ready <= now) {
            self.segments.clear();
            self.replaced += 1;
            (self.fresh, self.timeouts, self.still_since, self.last_progress) = (None, 0, None, now);
        }
    }
}
