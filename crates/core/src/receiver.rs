//! One sender's stream on the network side: what arrives becomes units for playout.

mod run;

use std::collections::VecDeque;
use std::time::Duration;

use crate::codec::payload_frames;
use crate::copies;
use crate::feedback::{Ability, Feedback};
use crate::packet::Rtp;
use crate::playout::{Origin, Unit};
use crate::red::Red;
use crate::repair::Lost;
use crate::rtcp::{self, Message, Ntp, Outgoing, Report};
use crate::transit::Passage;
use crate::{Format, Instant, MediaTime, PayloadTypes, duration_of};
use run::{Arrival, Run, payload_in};

/// Receiver reports go out this often, the first as soon as a stream is known; see the sender's.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// While there is something to tell, what came of the packets is told this often.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);

/// So much more room for what comes late is worth telling.
const ROOMIER: Duration = Duration::from_millis(5);

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
    /// What the source was last told of it.
    room_told: Duration,
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
            room_told: Duration::ZERO,
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
        let news = self.has_news() && self.last_feedback + FEEDBACK_INTERVAL <= now;
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
        let news = run.filter(|_| self.has_news()).map(|_| self.last_feedback + FEEDBACK_INTERVAL);
        let overdue = run.filter(|run| run.arrivals.trusts_the_clock()).and_then(Run::overdue);
        [self.next_report, asked, news, overdue].into_iter().flatten().min()
    }

    /// Whether there is something that the source should soon know. Where something was lost, or nothing was told
    /// yet, that is also that there is room for copies: without it they would wait for the next loss, or for a report.
    fn has_news(&self) -> bool {
        let roomier = self.room.unwrap_or_default() > self.room_told + ROOMIER;
        self.run.as_ref().is_some_and(|run| run.has_news() || roomier && (run.lost() > 0 || self.room_told.is_zero()))
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
        let Rtp { sequence, timestamp, marker, .. } = *rtp;
        Some(Arrival { now, format, frames, sequence, timestamp, marker, way: self.way })
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
        let held = if ability.copies_as_packets { Duration::ZERO } else { copies::held(run.format) };
        let copies = (ability.copies && copies::are_possible(run.format)).then_some(held + usual);
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
        self.room_told = self.room.unwrap_or_default();
        run.holes = false;
        let Passage { number: fastest, arrived: fastest_arrived, .. } = run.fastest_lately.get();
        let Passage { number: highest, arrived, .. } = run.newest;
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

#[cfg(test)]
mod tests;
