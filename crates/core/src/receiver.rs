//! One sender's stream on the network side: what arrives becomes units for playout.

use std::collections::VecDeque;
use std::time::Duration;

use crate::codec::payload_frames;
use crate::copies;
use crate::feedback::{self, Ability, Feedback};
use crate::packet::{Extender, Rtp};
use crate::playout::{Origin, Unit};
use crate::red::Red;
use crate::repair::{Arrivals, Came, Lost};
use crate::rtcp::{self, Message, Ntp, Outgoing, Report};
use crate::transit::{Fastest, Lateness, Schedule};
use crate::{Format, Instant, MediaTime, PayloadTypes, duration_of};

/// Receiver reports go out this often, the first as soon as a stream is known; see the sender's.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// While there is something to tell, what came of the packets is told this often.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);

/// When even the fastest packets take so much longer than before, in seconds, it is told.
const QUEUED: f64 = 4e-3;

/// A sequence number this far ahead or behind is no longer the same run (RFC 3550 appendix A.1).
const DROPOUT_MAX: i64 = 3_000;
/// What was asked for once more may come that late.
const MISORDER_MAX: i64 = feedback::WINDOW as i64;

/// A timestamp may differ by this much from what the clock says before the run counts as broken:
/// more than any jitter, less than any pause with a halted media clock that matters.
const TIMESTAMP_SLACK_SECS: f64 = 3.0;

/// What comes out of a [`Receiver`].
#[derive(Debug, PartialEq)]
pub enum Output {
    /// A run of units of one format begins: the stream's first, or after a restart or a change
    /// of format. What follows has nothing to do with the timeline before.
    Start(Format),
    /// The next unit of the run.
    Unit(Unit),
    /// The sender said that it ends.
    End,
}

/// What a receiver counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Packets that became units, duplicates among them.
    pub packets_received: u64,
    /// Payloads only.
    pub bytes_received: u64,
    /// Expected by sequence number and not received; late ones count as received.
    pub packets_lost: u64,
    /// Lost ones that came when they were asked for once more.
    pub packets_repaired: u64,
    /// Copies that came beside packets, each as often as it was sent.
    pub copies_received: u64,
    /// Not a packet of this stream: unknown payload type, a payload that is none, a stray
    /// sequence number or timestamp.
    pub packets_refused: u64,
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// From our report to the answer, less the time that the source held it; `None` until then.
    pub round_trip_time: Option<Duration>,
    /// One way, as far as that can be told from here: half the shortest of the last round trips,
    /// because delay is counted from the packet that came fastest.
    pub network_delay: Option<Duration>,
    /// From the capture of a packet's last sample to its sending, codec included, as the source's
    /// reports tell; `None` until one does.
    pub capture_delay: Option<Duration>,
}

/// Reads one source's RTP packets in whatever order they arrive and reports on them.
///
/// A new run needs two packets that fit together before it is believed (RFC 3550 appendix A.1),
/// so random bytes never start a stream and a forged packet never breaks one. The first of the
/// two is kept and nothing is lost.
pub struct Receiver {
    /// Our own.
    ssrc: u32,
    cname: String,
    source: u32,
    types: PayloadTypes,
    run: Option<Run>,
    candidate: Option<(Run, Unit)>,
    outputs: VecDeque<Output>,
    spare: Vec<Vec<u8>>,
    last_heard: Instant,
    last_sender_report: Option<(u32, Instant)>,
    next_report: Option<Instant>,
    /// Whether the source has answered our clock: others have no use for what we know.
    answered: bool,
    /// What the source can do about losses, where it can do anything.
    ability: Option<Ability>,
    last_feedback: Instant,
    /// How much later than the fastest a packet may come.
    room: Option<Duration>,
    asked: Vec<u16>,
    /// Over which packets come at the moment.
    way: u8,
    bye_due: bool,
    /// The last round trips.
    trips: VecDeque<Duration>,
    stats: Stats,
}

/// So many round trips tell the network's delay.
const TRIPS: usize = 8;

impl Receiver {
    /// A receiver of the stream of `source`, that calls itself `ssrc` and `cname` in its reports.
    pub fn new(now: Instant, ssrc: u32, cname: &str, source: u32, types: PayloadTypes) -> Self {
        Self {
            ssrc,
            cname: cname.to_owned(),
            source,
            types,
            run: None,
            candidate: None,
            outputs: VecDeque::new(),
            trips: VecDeque::new(),
            spare: Vec::new(),
            last_heard: now,
            last_sender_report: None,
            next_report: None,
            answered: false,
            ability: None,
            last_feedback: now,
            room: None,
            asked: Vec::new(),
            way: 0,
            bye_due: false,
            stats: Stats::default(),
        }
    }

    /// How much later than the fastest a packet may come and still be played, as the playout
    /// [says](crate::playout::Stats::room): what is lost is asked for once more where there is time.
    pub fn set_room(&mut self, room: Duration) {
        self.room = Some(room);
    }

    /// Says over which of several ways the next packets come, where the source sends everything over each
    /// of them; the numbers only tell them apart.
    pub fn set_way(&mut self, way: u8) {
        self.way = way;
    }

    /// Takes an RTP packet of the source. Poll the outputs after each.
    pub fn handle_rtp(&mut self, now: Instant, rtp: &Rtp<'_>) {
        let red = self.types.is_redundancy(rtp.payload_type).then(|| Red::parse(rtp.payload));
        let (payload_type, payload) = match red {
            None => (rtp.payload_type, rtp.payload),
            Some(red) => red.map_or((rtp.payload_type, &[][..]), |red| (red.payload_type, red.payload)),
        };
        let rtp = &Rtp { payload_type, payload, ..*rtp };
        let Some(arrival) = self.arrival(now, rtp) else {
            self.stats.packets_refused += 1;
            return;
        };
        if let Some(run) = self.run.as_mut().filter(|run| run.fits(&arrival)) {
            let unit = run.handle(&arrival, self.room, rtp.payload, &mut self.spare);
            let time = unit.time;
            self.accept(now, unit);
            self.accept_copies(now, time, red.flatten());
            self.tell_lost(now);
            if let Some((_, stray)) = self.candidate.take() {
                self.refuse(stray);
            }
            return;
        }
        match self.candidate.take() {
            Some((mut run, first)) if run.follows(&arrival) => {
                let second = run.handle(&arrival, None, rtp.payload, &mut self.spare);
                self.outputs.push_back(Output::Start(run.format));
                self.next_report = Some(now);
                self.end_run();
                self.run = Some(run);
                self.accept(now, first);
                self.accept(now, second);
            }
            stray => {
                if let Some((_, stray)) = stray {
                    self.refuse(stray);
                }
                let mut run = Run::new(&arrival);
                let unit = run.handle(&arrival, None, rtp.payload, &mut self.spare);
                self.candidate = Some((run, unit));
            }
        }
    }

    /// Takes a compound RTCP packet: any bytes.
    pub fn handle_rtcp(&mut self, now: Instant, bytes: &[u8]) {
        let source = self.source;
        rtcp::parse(bytes, |message| match message {
            Message::Sender { ssrc, info } if ssrc == source => {
                self.last_sender_report = Some((info.ntp.middle(), now));
                self.last_heard = now;
                if let Some(run) = &mut self.run {
                    run.measure_capture(now, info.timestamp);
                }
            }
            Message::Echo { from, echo } if from == source && echo.ssrc == self.ssrc => {
                let trip = clock(now).trip(echo.reference, echo.delay_since);
                self.handle_trip(trip);
                self.answered = true;
                if let (Some(run), Some(trip)) = (&mut self.run, trip) {
                    run.arrivals.set_round_trip(trip);
                }
            }
            Message::Ability { from, ability } if from == source => self.ability = Some(ability),
            Message::Bye { ssrc } if ssrc == source => {
                self.outputs.push_back(Output::End);
                self.end_run();
            }
            _ => {}
        });
    }

    /// What is for the playout now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Replaces `packet` by the next report to send to the source; false when none is due.
    pub fn poll_transmit(&mut self, now: Instant, packet: &mut Vec<u8>) -> bool {
        if self.bye_due || self.next_report.is_some_and(|due| due <= now) {
            self.write_report(now, packet);
            return true;
        }
        let Some(run) = self.run.as_mut().filter(|_| self.answered) else { return false };
        run.expect(now, self.room);
        run.arrivals.poll_asked(now, &mut self.asked);
        let news = run.has_news() && self.last_feedback + FEEDBACK_INTERVAL <= now;
        if self.asked.is_empty() && !news {
            return false;
        }
        let feedback = if news { self.feedback(now) } else { None };
        let nack = (self.source, self.asked.as_slice());
        Outgoing { ssrc: self.ssrc, feedback, nack, ..Outgoing::default() }.write(packet);
        true
    }

    /// When [`poll_transmit`](Self::poll_transmit) will next have something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let run = self.run.as_ref().filter(|_| self.answered);
        let asked = run.and_then(|run| run.arrivals.poll_timeout());
        let news = run.filter(|run| run.has_news()).map(|_| self.last_feedback + FEEDBACK_INTERVAL);
        let overdue = run.filter(|run| run.arrivals.trusts_the_clock()).and_then(Run::overdue);
        [self.next_report, asked, news, overdue].into_iter().flatten().min()
    }

    /// Tells the source that we end: the next packet to transmit is a BYE.
    pub fn close(&mut self) {
        self.bye_due = true;
    }

    /// Takes back a payload's memory, to be used for the next one.
    pub fn recycle(&mut self, payload: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(payload);
        }
    }

    /// When the source was last heard.
    pub fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// What has been counted since the start, over all runs; the jitter is of the present run.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        if let Some(run) = &self.run {
            stats.packets_lost += run.lost();
            stats.packets_repaired += run.arrivals.repaired();
            stats.jitter = duration_of(run.jitter as u64, run.format.rate);
            stats.capture_delay = run.capture_delay();
        }
        stats
    }

    fn arrival(&self, now: Instant, rtp: &Rtp<'_>) -> Option<Arrival> {
        let format = self.types.format(rtp.payload_type)?;
        let frames = payload_frames(format, rtp.payload)? as u32;
        Some(Arrival {
            now,
            format,
            frames,
            sequence: rtp.sequence,
            timestamp: rtp.timestamp,
            marker: rtp.marker,
            way: self.way,
        })
    }

    fn accept(&mut self, now: Instant, unit: Unit) {
        self.last_heard = now;
        self.stats.packets_received += 1;
        self.stats.bytes_received += unit.payload.len() as u64;
        self.outputs.push_back(Output::Unit(unit));
    }

    /// What rides beside the packet of `time`.
    fn accept_copies(&mut self, now: Instant, time: MediaTime, red: Option<Red<'_>>) {
        let (Some(run), Some(red)) = (&mut self.run, red) else { return };
        if !copies::are_possible(run.format) {
            return;
        }
        for block in red.blocks() {
            let frames = match self.types.format(block.payload_type) {
                Some(Format::OPUS) => payload_frames(Format::OPUS, block.payload),
                _ => None,
            };
            let Some(frames) = frames else { continue };
            let time = time - i64::from(block.offset);
            self.stats.copies_received += 1;
            if run.knows_copy(time) {
                continue;
            }
            let payload = payload_in(&mut self.spare, block.payload);
            let unit = Unit { time, frames: frames as u32, arrived: now, origin: Origin::Copy, payload };
            self.outputs.push_back(Output::Unit(unit));
        }
    }

    /// Tells the playout what more delay would bring back.
    fn tell_lost(&mut self, now: Instant) {
        let (Some(run), Some(ability)) = (&mut self.run, self.ability) else { return };
        let (schedule, spare, outputs) = (run.schedule, &mut self.spare, &mut self.outputs);
        let usual = run.lateness.mean();
        let copies = (ability.copies && copies::are_possible(run.format)).then(|| copies::held(run.format) + usual);
        let (highest, time) = (run.sequence.highest(), run.timestamp.highest());
        let frames = run.frames;
        run.arrivals.poll_lost(now, |Lost { sequence, packets, repaired }| {
            let copied = copies.map(|held| schedule.on_time(sequence) + schedule.packet * packets + held);
            let Some(arrived) = repaired.into_iter().chain(copied).min() else { return };
            let time = MediaTime(time - (highest - sequence) * i64::from(frames));
            let unit = Unit { time, frames, arrived, origin: Origin::Lost, payload: payload_in(spare, &[]) };
            outputs.push_back(Output::Unit(unit));
        });
    }

    /// A packet that began no run is none of this stream.
    fn refuse(&mut self, unit: Unit) {
        self.stats.packets_refused += 1;
        self.recycle(unit.payload);
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.stats.packets_lost += run.lost();
            self.stats.packets_repaired += run.arrivals.repaired();
        }
    }

    /// The regular report.
    fn write_report(&mut self, now: Instant, packet: &mut Vec<u8>) {
        let report = self.report(now);
        let feedback = if self.answered { self.feedback(now) } else { None };
        let (ssrc, cname, bye) = (self.ssrc, &self.cname, self.bye_due);
        let reference = Some(clock(now));
        Outgoing { ssrc, cname, report, reference, feedback, bye, ..Outgoing::default() }.write(packet);
        self.bye_due = false;
        self.next_report = Some(now + REPORT_INTERVAL);
    }

    /// What came of the packets up to now, and nothing of that is news any more.
    fn feedback(&mut self, now: Instant) -> Option<Feedback> {
        let run = self.run.as_mut()?;
        self.last_feedback = now;
        run.holes = false;
        let (fastest, fastest_arrived, _) = run.fastest_since.take().unwrap_or(run.newest);
        let (highest, arrived, _) = run.newest;
        Some(Feedback {
            ssrc: self.source,
            highest: highest as u16,
            held: Feedback::held_of(now - arrived),
            arrived: clock(arrived).middle(),
            fastest: fastest as u16,
            fastest_arrived: clock(fastest_arrived).middle(),
            room: self.room.map_or(0, Feedback::room_of),
            missing: run.arrivals.missing(),
        })
    }

    fn handle_trip(&mut self, trip: Option<Duration>) {
        let Some(trip) = trip else { return };
        self.trips.push_back(trip);
        if self.trips.len() > TRIPS {
            self.trips.pop_front();
        }
        self.stats.round_trip_time = Some(trip);
        self.stats.network_delay = self.trips.iter().min().map(|trip| *trip / 2);
    }

    fn report(&mut self, now: Instant) -> Option<Report> {
        let run = self.run.as_mut()?;
        let (last_sender_report, delay_since) = match self.last_sender_report {
            Some((middle, arrived)) => (middle, rtcp::fraction(now - arrived)),
            None => (0, 0),
        };
        Some(Report {
            ssrc: self.source,
            fraction_lost: run.fraction_lost_since_last(),
            lost: run.lost() as u32,
            highest_sequence: run.sequence.highest() as u32,
            jitter: run.jitter as u32,
            last_sender_report,
            delay_since,
        })
    }
}

/// Our clock, as we say it to the source.
fn clock(now: Instant) -> Ntp {
    Ntp(0).plus_nanos(now.as_nanos())
}

/// Payload buffers kept for reuse: what one stream has on its way at 5 ms a packet in 0.3 s.
const SPARE_MAX: usize = 64;

/// Where nothing has come for so long, the source pauses.
const PAUSING: Duration = Duration::from_millis(100);

/// A packet whose payload makes sense.
struct Arrival {
    now: Instant,
    format: Format,
    frames: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    way: u8,
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
struct Run {
    format: Format,
    sequence: Extender,
    first_sequence: i64,
    timestamp: Extender,
    last_arrival: Instant,
    received: u64,
    /// `received` and expected at the last report.
    reported: (u64, u64),
    /// Of the last packet, for the jitter: arrival minus timestamp in frames.
    transit: Option<f64>,
    /// In frames.
    jitter: f64,
    /// Where the newest packet ends.
    end: i64,
    /// Of the last packet.
    frames: u32,
    arrivals: Arrivals,
    schedule: Schedule,
    fastest: Fastest,
    lateness: Lateness,
    /// The fastest since the last feedback, and the newest of all: number, arrival, transit.
    fastest_since: Option<(i64, Instant, f64)>,
    newest: (i64, Instant, f64),
    /// Something is missing that was not reported yet.
    holes: bool,
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
fn payload_in(spare: &mut Vec<Vec<u8>>, payload: &[u8]) -> Vec<u8> {
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
    fn new(first: &Arrival) -> Self {
        let sequence = Extender::starting_at(first.sequence.into());
        let number = sequence.highest();
        let transit = first.transit(first.timestamp.into());
        Self {
            arrivals: Arrivals::new(number - 1),
            schedule: Schedule { number, at: first.now, packet: first.packet() },
            fastest: Fastest::new(first.now, transit),
            lateness: Lateness::default(),
            fastest_since: None,
            newest: (number, first.now, transit),
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

    fn fits(&self, arrival: &Arrival) -> bool {
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
    fn follows(&self, arrival: &Arrival) -> bool {
        self.fits(arrival) && self.sequence.extend_u16(arrival.sequence) == self.sequence.highest() + 1
    }

    fn handle(&mut self, arrival: &Arrival, room: Option<Duration>, payload: &[u8], spare: &mut Vec<Vec<u8>>) -> Unit {
        let number = self.sequence.extend_u16(arrival.sequence);
        let timestamp = self.timestamp.extend_u32(arrival.timestamp);
        let came = self.note(arrival, room, number, timestamp);
        self.sequence.advance_to(number);
        self.timestamp.advance_to(timestamp);
        self.last_arrival = arrival.now;
        self.received += u64::from(came != Came::Again);
        self.frames = arrival.frames;
        self.end = self.end.max(timestamp + i64::from(arrival.frames));
        let origin = match came {
            Came::First if arrival.marker => Origin::Begin,
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
    fn knows_copy(&mut self, time: MediaTime) -> bool {
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
            if self.fastest_since.is_none_or(|(_, _, least)| transit < least) {
                self.fastest_since = Some((number, arrival.now, transit));
            }
            if number >= self.newest.0 {
                self.newest = (number, arrival.now, transit);
            }
        }
        came
    }

    /// By how much a transit is longer than the shortest.
    fn late(&self, transit: f64) -> Duration {
        Duration::try_from_secs_f64(transit - self.fastest.get()).unwrap_or_default()
    }

    /// Takes note of packets that should have come by now.
    fn expect(&mut self, now: Instant, room: Option<Duration>) {
        let schedule = self.schedule;
        while self.overdue().is_some_and(|due| due <= now) {
            self.arrivals.handle_overdue(now, |number| Some(schedule.on_time(number) + room?));
        }
    }

    /// When the next packet will be overdue.
    fn overdue(&self) -> Option<Instant> {
        Some(self.schedule.on_time(self.arrivals.awaited()?) + self.lateness.most())
    }

    /// Whether there is something that the source should soon know.
    fn has_news(&self) -> bool {
        let queued = self.fastest_since.is_some_and(|(_, _, transit)| transit - self.fastest.get() > QUEUED);
        self.holes || queued
    }

    /// RFC 3550 section 6.4.1 and appendix A.8.
    fn measure_jitter(&mut self, now: Instant, timestamp: i64) {
        let transit = now.as_nanos() as f64 * 1e-9 * f64::from(self.format.rate) - timestamp as f64;
        if let Some(last) = self.transit.replace(transit) {
            self.jitter += ((transit - last).abs() - self.jitter) / 16.0;
        }
    }

    /// A report says what is being captured, and was sent right behind a packet; not in a pause.
    fn measure_capture(&mut self, now: Instant, timestamp: u32) {
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

    fn capture_delay(&self) -> Option<Duration> {
        self.captures.iter().min().map(|&frames| duration_of(frames as u64, self.format.rate))
    }

    fn expected(&self) -> u64 {
        (self.sequence.highest() - self.first_sequence + 1).max(0) as u64
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    fn fraction_lost_since_last(&mut self) -> u8 {
        let (received, expected) = (self.received - self.reported.0, self.expected() - self.reported.1);
        self.reported = (self.received, self.expected());
        let lost = expected.saturating_sub(received);
        (lost * 256).checked_div(expected).unwrap_or(0).min(255) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver() -> Receiver {
        Receiver::new(at(0), 1, "test", 7, PayloadTypes::default())
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// A packet of 5 ms of L16 stereo, number `n` of a stream that starts just before its wraps.
    fn packet(n: u64, payload_type: u8) -> Rtp<'static> {
        Rtp {
            ssrc: 7,
            payload_type,
            sequence: 65_530u16.wrapping_add(n as u16),
            timestamp: (u32::MAX - 500).wrapping_add(n as u32 * 240),
            marker: false,
            payload: &[0; 960],
        }
    }

    fn handle(receiver: &mut Receiver, n: u64) -> Vec<Output> {
        receiver.handle_rtp(at(n * 5), &packet(n, 97));
        outputs(receiver)
    }

    fn outputs(receiver: &mut Receiver) -> Vec<Output> {
        std::iter::from_fn(|| receiver.poll_output()).collect()
    }

    fn times(outputs: &[Output]) -> Vec<i64> {
        let first = i64::from(u32::MAX) - 500;
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Unit(unit) => Some((unit.time.0 - first) / 240),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn two_packets_in_order_start_a_stream_and_none_is_lost() {
        let mut receiver = receiver();
        assert!(handle(&mut receiver, 0).is_empty());
        let outputs = handle(&mut receiver, 1);
        assert_eq!(outputs[0], Output::Start(Format::l16(48_000, 2)));
        assert_eq!(times(&outputs), [0, 1]);
    }

    #[test]
    fn wraps_losses_and_reordering_keep_one_timeline() {
        let mut receiver = receiver();
        let mut all = Vec::new();
        for n in [0, 1, 2, 4, 3, 5, 8, 9, 7, 20] {
            all.extend(handle(&mut receiver, n));
        }
        assert_eq!(times(&all), [0, 1, 2, 4, 3, 5, 8, 9, 7, 20]);
        assert_eq!(receiver.stats().packets_lost, 21 - 10);
    }

    #[test]
    fn a_restart_begins_a_new_run_and_a_stray_packet_does_not() {
        let mut receiver = receiver();
        (0..10).for_each(|n| drop(handle(&mut receiver, n)));
        let stray = Rtp { sequence: 20_000, timestamp: 5, ..packet(0, 97) };
        receiver.handle_rtp(at(50), &stray);
        assert!(outputs(&mut receiver).is_empty());
        assert_eq!(times(&handle(&mut receiver, 10)), [10], "the stream goes on");
        assert_eq!(receiver.stats().packets_refused, 1);
        for n in 0..3 {
            let restarted = Rtp { sequence: 30_000 + n, timestamp: 0x5000_0000 + u32::from(n) * 240, ..packet(0, 97) };
            receiver.handle_rtp(at(60 + u64::from(n) * 5), &restarted);
        }
        let outputs = outputs(&mut receiver);
        assert!(matches!(outputs[0], Output::Start(_)));
        assert_eq!(outputs.len(), 4);
    }

    #[test]
    fn an_absurd_timestamp_is_refused() {
        let mut receiver = receiver();
        (0..4).for_each(|n| drop(handle(&mut receiver, n)));
        receiver.handle_rtp(at(20), &Rtp { timestamp: 0x7000_0000, ..packet(4, 97) });
        assert!(outputs(&mut receiver).is_empty());
        assert_eq!(times(&handle(&mut receiver, 5)), [5]);
    }

    #[test]
    fn a_timestamp_that_goes_back_begins_a_new_run() {
        let mut receiver = receiver();
        (0..10).for_each(|n| drop(handle(&mut receiver, n)));
        for n in 10..12 {
            let timestamp = packet(n - 8, 97).timestamp;
            receiver.handle_rtp(at(n * 5), &Rtp { timestamp, ..packet(n, 97) });
        }
        assert!(matches!(outputs(&mut receiver)[..], [Output::Start(_), Output::Unit(_), Output::Unit(_)]));
    }

    #[test]
    fn a_changed_format_begins_a_new_run() {
        let mut receiver = receiver();
        (0..4).for_each(|n| drop(handle(&mut receiver, n)));
        receiver.handle_rtp(at(20), &packet(4, 10));
        receiver.handle_rtp(at(25), &packet(5, 10));
        let outputs = outputs(&mut receiver);
        assert_eq!(outputs[0], Output::Start(Format::l16(44_100, 2)));
        assert_eq!(outputs.len(), 3);
    }

    #[test]
    fn what_is_no_payload_is_counted_and_dropped() {
        let mut receiver = receiver();
        receiver.handle_rtp(at(0), &packet(0, 99));
        receiver.handle_rtp(at(0), &Rtp { payload: &[0; 961], ..packet(0, 97) });
        receiver.handle_rtp(at(0), &Rtp { payload: &[], ..packet(0, 97) });
        assert_eq!(receiver.stats().packets_refused, 3);
        assert_eq!(receiver.stats().packets_received, 0);
    }

    #[test]
    fn reports_say_what_was_lost_since_the_last() {
        let mut receiver = receiver();
        let mut packet = Vec::new();
        let mut reports = Vec::new();
        for n in (0..500).filter(|n| n % 4 != 3) {
            handle(&mut receiver, n);
            while receiver.poll_transmit(at(n * 5), &mut packet) {
                rtcp::parse(&packet, |message| {
                    if let Message::Report { report, .. } = message {
                        reports.push(report.fraction_lost);
                    }
                });
            }
        }
        assert_eq!(reports.len(), 3, "at once and then every second");
        assert!(reports[1].abs_diff(64) <= 1, "a quarter: {}", reports[1]);
    }

    #[test]
    fn bye_ends_the_stream() {
        let mut receiver = receiver();
        (0..4).for_each(|n| drop(handle(&mut receiver, n)));
        let mut bytes = Vec::new();
        Outgoing { ssrc: 8, cname: "other", bye: true, ..Outgoing::default() }.write(&mut bytes);
        receiver.handle_rtcp(at(20), &bytes);
        assert!(outputs(&mut receiver).is_empty(), "somebody else's");
        Outgoing { ssrc: 7, cname: "ours", bye: true, ..Outgoing::default() }.write(&mut bytes);
        receiver.handle_rtcp(at(20), &bytes);
        assert_eq!(outputs(&mut receiver), [Output::End]);
    }

    #[test]
    fn what_was_lost_is_still_known_after_the_end() {
        let mut receiver = receiver();
        [0, 1, 2, 5].into_iter().for_each(|n| drop(handle(&mut receiver, n)));
        let mut bytes = Vec::new();
        Outgoing { ssrc: 7, cname: "ours", bye: true, ..Outgoing::default() }.write(&mut bytes);
        receiver.handle_rtcp(at(30), &bytes);
        assert_eq!(receiver.stats().packets_lost, 2);
    }

    #[test]
    fn every_stray_packet_is_counted() {
        let mut receiver = receiver();
        handle(&mut receiver, 0);
        for n in 1..11 {
            handle(&mut receiver, n);
            receiver.handle_rtp(at(n * 5), &Rtp { sequence: 20_000, ..packet(0, 97) });
        }
        let stats = receiver.stats();
        // The last may yet begin a run.
        assert_eq!((stats.packets_received, stats.packets_refused), (11, 9));
    }
}
