//! Packets of one sender that hang together, and what is known of how they come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::feedback;
use crate::packet::Extender;
use crate::playout::{Origin, Unit};
use crate::repair::{Arrivals, Came};
use crate::transit::{Fastest, Lately, Lateness, Passage, Schedule};
use crate::{Format, Instant, MediaTime, duration_of};

/// When even the fastest packets take so much longer than before, in seconds, it is told.
const QUEUED: f64 = 4e-3;

/// A sequence number this far ahead or behind is no longer the same run (RFC 3550 appendix A.1).
const DROPOUT_MAX: i64 = 3_000;
/// What was asked for once more may come that late.
const MISORDER_MAX: i64 = feedback::WINDOW as i64;

/// A timestamp may differ by this much from what the clock says before the run counts as broken:
/// more than any jitter, less than any pause with a halted media clock that matters.
const TIMESTAMP_SLACK_SECS: f64 = 3.0;

/// Where nothing has come for so long, the source pauses.
const PAUSING: Duration = Duration::from_millis(100);

/// A packet whose payload makes sense.
pub(super) struct Arrival {
    pub now: Instant,
    pub format: Format,
    pub frames: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub way: u8,
}

impl Arrival {
    /// How long its sound is.
    fn packet(&self) -> Duration {
        duration_of(self.frames.into(), self.format.rate)
    }

    /// From the end of its sound, by the source's clock, to its arrival by ours, in seconds.
    fn transit(&self, timestamp: i64) -> f64 {
        let end = (timestamp + i64::from(self.frames)) as f64 / f64::from(self.format.rate);
        self.now.as_nanos() as f64 * 1e-9 - end
    }
}

/// Packets of one format whose sequence numbers and timestamps hang together.
pub(super) struct Run {
    pub format: Format,
    pub sequence: Extender,
    first_sequence: i64,
    pub timestamp: Extender,
    last_arrival: Instant,
    received: u64,
    /// `received` and expected at the last report.
    reported: (u64, u64),
    /// Of the last packet, for the jitter: arrival minus timestamp in frames.
    transit: Option<f64>,
    /// In frames.
    pub jitter: f64,
    /// Where the newest packet ends.
    end: i64,
    /// Of the last packet.
    pub frames: u32,
    pub arrivals: Arrivals,
    pub schedule: Schedule,
    fastest: Fastest,
    pub lateness: Lateness,
    pub fastest_lately: Lately,
    pub newest: Passage,
    /// Something is missing that was not reported yet.
    pub holes: bool,
    /// By the last sender reports: frames from there to what was being captured.
    captures: VecDeque<i64>,
    /// The last copies, each of which comes more than once.
    copies: VecDeque<MediaTime>,
    /// Over which way the last packets came first; see [`way_of`].
    ways: [u8; feedback::WINDOW],
}

/// As many as are sent in the third of a second that one may be behind.
const COPIES: usize = 64;

/// Memory with that content.
pub(super) fn payload_in(spare: &mut Vec<Vec<u8>>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = spare.pop().unwrap_or_default();
    bytes.clear();
    bytes.extend(payload);
    bytes
}

/// Where a packet's way is kept.
fn way_of(number: i64) -> usize {
    number.rem_euclid(feedback::WINDOW as i64) as usize
}

/// So many sender reports tell the capture delay. Blocks of the capturing card and packets beat:
/// the shortest counts, as does the packet that came fastest.
const CAPTURES: usize = 8;

/// Longer than this between capture and sending, in seconds, is another clock and no delay.
const CAPTURE_MAX: i64 = 2;

impl Run {
    pub fn new(first: &Arrival) -> Self {
        let sequence = Extender::starting_at(first.sequence.into());
        let number = sequence.highest();
        let transit = first.transit(first.timestamp.into());
        let passage = Passage { number, arrived: first.now, transit };
        Self {
            arrivals: Arrivals::new(number - 1),
            schedule: Schedule { number, at: first.now, packet: first.packet() },
            fastest: Fastest::new(first.now, transit),
            lateness: Lateness::default(),
            fastest_lately: Lately::new(passage),
            newest: passage,
            holes: false,
            format: first.format,
            sequence,
            first_sequence: sequence.highest(),
            timestamp: Extender::starting_at(first.timestamp),
            last_arrival: first.now,
            received: 0,
            reported: (0, 0),
            transit: None,
            jitter: 0.0,
            end: i64::MIN,
            frames: first.frames,
            captures: VecDeque::new(),
            copies: VecDeque::new(),
            ways: [first.way; feedback::WINDOW],
        }
    }

    pub fn fits(&self, arrival: &Arrival) -> bool {
        let ahead = self.sequence.extend_u16(arrival.sequence) - self.sequence.highest();
        let frames = self.timestamp.extend_u32(arrival.timestamp) - self.timestamp.highest();
        let elapsed = (arrival.now - self.last_arrival).as_secs_f64();
        let off_by = frames as f64 / f64::from(self.format.rate) - elapsed;
        arrival.format == self.format
            && (-MISORDER_MAX..DROPOUT_MAX).contains(&ahead)
            && ahead.signum() == frames.signum() // time that runs backwards is another timeline
            && off_by.abs() < TIMESTAMP_SLACK_SECS
    }

    /// Whether `arrival` is the very next packet: what a new run must show.
    pub fn follows(&self, arrival: &Arrival) -> bool {
        self.fits(arrival) && self.sequence.extend_u16(arrival.sequence) == self.sequence.highest() + 1
    }

    pub fn handle(
        &mut self,
        arrival: &Arrival,
        room: Option<Duration>,
        payload: &[u8],
        spare: &mut Vec<Vec<u8>>,
    ) -> Unit {
        let number = self.sequence.extend_u16(arrival.sequence);
        let timestamp = self.timestamp.extend_u32(arrival.timestamp);
        let came = self.note(arrival, room, number, timestamp);
        let pauses = self.is_after_a_pause(arrival, number, timestamp);
        self.sequence.advance_to(number);
        self.timestamp.advance_to(timestamp);
        self.last_arrival = arrival.now;
        self.received += u64::from(came != Came::Again);
        self.frames = arrival.frames;
        self.end = self.end.max(timestamp + i64::from(arrival.frames));
        let origin = match came {
            Came::First if pauses => Origin::Begin,
            Came::First => Origin::First,
            Came::Repair => Origin::Repair,
            Came::Again if self.ways[way_of(number)] != arrival.way => Origin::OtherWay,
            Came::Again => Origin::Repair, // its time tells nothing
        };
        if came != Came::Again {
            self.ways[way_of(number)] = arrival.way;
        }
        Unit {
            time: MediaTime(timestamp),
            frames: arrival.frames,
            arrived: arrival.now,
            origin,
            payload: payload_in(spare, payload),
        }
    }

    /// Whether a copy has come before; from now on it has.
    pub fn knows_copy(&mut self, time: MediaTime) -> bool {
        let known = self.copies.contains(&time);
        if !known {
            self.copies.push_back(time);
            self.copies.drain(..self.copies.len().saturating_sub(COPIES));
        }
        known
    }

    /// Takes note of when a packet came.
    fn note(&mut self, arrival: &Arrival, room: Option<Duration>, number: i64, timestamp: i64) -> Came {
        let transit = arrival.transit(timestamp);
        self.holes |= number > self.sequence.highest() + 1;
        self.expect(arrival.now, room);
        let schedule = Schedule { number, at: arrival.now - self.late(transit), packet: arrival.packet() };
        let came = self.arrivals.handle(arrival.now, number, |number| Some(schedule.on_time(number) + room?));
        if number >= self.schedule.number {
            self.schedule = schedule;
        }
        if came == Came::First {
            self.fastest.observe(arrival.now, transit);
            self.lateness.observe(self.late(transit));
            self.measure_jitter(arrival.now, timestamp);
            let passage = Passage { number, arrived: arrival.now, transit };
            self.fastest_lately.observe(passage);
            if number >= self.newest.number {
                self.newest = passage;
            }
        }
        came
    }

    /// By how much a transit is longer than the shortest.
    fn late(&self, transit: f64) -> Duration {
        Duration::try_from_secs_f64(transit - self.fastest.get()).unwrap_or_default()
    }

    /// Takes note of packets that should have come by now.
    pub fn expect(&mut self, now: Instant, room: Option<Duration>) {
        let schedule = self.schedule;
        while self.overdue().is_some_and(|due| due <= now) {
            self.arrivals.handle_overdue(now, |number| Some(schedule.on_time(number) + room?));
        }
    }

    /// When the next packet will be overdue. After one that was lost it is likely lost, too: then less
    /// lateness tells as much.
    pub fn overdue(&self) -> Option<Instant> {
        let late = if self.arrivals.is_in_a_loss() { self.lateness.usual() } else { self.lateness.most() };
        Some(self.schedule.on_time(self.arrivals.awaited()?) + late)
    }

    /// Whether there is something that the source should soon know.
    pub fn has_news(&self) -> bool {
        self.holes || self.fastest_lately.get().transit - self.fastest.get() > QUEUED
    }

    /// RFC 3550 section 6.4.1 and appendix A.8.
    fn measure_jitter(&mut self, now: Instant, timestamp: i64) {
        let transit = now.as_nanos() as f64 * 1e-9 * f64::from(self.format.rate) - timestamp as f64;
        if let Some(last) = self.transit.replace(transit) {
            self.jitter += ((transit - last).abs() - self.jitter) / 16.0;
        }
    }

    /// Whether the source was silent before this packet: more time has passed than packets are missing, and
    /// the source says so. Some set the marker for every packet.
    fn is_after_a_pause(&self, arrival: &Arrival, number: i64, timestamp: i64) -> bool {
        let packets = number - self.sequence.highest();
        arrival.marker && timestamp - self.timestamp.highest() > packets * i64::from(self.frames)
    }

    /// A report says what is being captured, and was sent right behind a packet; not in a pause.
    pub fn measure_capture(&mut self, now: Instant, timestamp: u32) {
        if now - self.last_arrival > PAUSING + duration_of(self.frames.into(), self.format.rate) {
            return;
        }
        let frames = self.timestamp.extend_u32(timestamp) - self.end;
        // A file is there before its time: no less than nothing is waited for it.
        if frames.abs() < CAPTURE_MAX * i64::from(self.format.rate) {
            self.captures.push_back(frames.max(0));
        }
        if self.captures.len() > CAPTURES {
            self.captures.pop_front();
        }
    }

    pub fn capture_delay(&self) -> Option<Duration> {
        self.captures.iter().min().map(|&frames| duration_of(frames as u64, self.format.rate))
    }

    fn expected(&self) -> u64 {
        (self.sequence.highest() - self.first_sequence + 1).max(0) as u64
    }

    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    pub fn fraction_lost_since_last(&mut self) -> u8 {
        let (received, expected) = (self.received - self.reported.0, self.expected() - self.reported.1);
        self.reported = (self.received, self.expected());
        let lost = expected.saturating_sub(received);
        (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8
    }
}
