//! One receiver's stream on the sending side: sequence, timestamps, reports.

use std::time::Duration;

use crate::feedback::Feedback;
use crate::history::History;
use crate::packet::{HEADER_BYTES, Rtp, pad};
use crate::packetizer::Frame;
use crate::plan::Plan;
use crate::rate::{Rate, UDP_BYTES};
use crate::redundancy::Protection;
use crate::rtcp::{self, Echo, Message, Ntp, Outgoing, Report, SenderInfo};
use crate::{Instant, PayloadTypes, copies, frames_in};

pub use crate::redundancy::{Beside, Redundancy};

/// Sender reports go out this often, the first at once. RFC 3550 asks for 5 s on average but
/// allows less where the session is small (section 6.2); a round trip time is worth 0.3 kb/s.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Who a [`Sender`] is. What is random is drawn by the caller.
#[derive(Clone, Debug)]
pub struct Config {
    /// Random (RFC 3550 section 8.1).
    pub ssrc: u32,
    /// Random, as are the next two, so that plaintext can't be guessed once there is encryption
    /// (RFC 3550 section 5.1).
    pub first_sequence: u16,
    /// The RTP timestamp of media time zero.
    pub first_timestamp: u32,
    /// `user@host`, or whatever names this end.
    pub cname: String,
    /// With or without headers.
    pub wire: Wire,
    /// Frames per second of the format.
    pub rate: u32,
    /// What copies may ride beside; `None` where there is no payload type for them.
    pub beside: Option<Beside>,
    /// Wall-clock time at the epoch of [`Instant`].
    pub wall_epoch: Ntp,
}

/// How payloads are put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Wire {
    /// As RTP of this payload type, with RTCP beside it.
    Rtp { payload_type: u8 },
    /// As they are, without a header and without reports.
    Raw,
}

/// What a sender learns about the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The receiver reports on our stream: it is there and listens.
    Heard,
    /// The receiver says that it ends (BYE).
    Ended,
}

/// What a sender knows of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Media packets, not reports.
    pub packets_sent: u64,
    /// Payloads only.
    pub bytes_sent: u64,
    /// That copies and their headers took; not among the bytes sent.
    pub bytes_copied: u64,
    /// Copies of each frame that are sent now.
    pub copies: usize,
    /// Packets sent once more because the receiver asked for it; not among the packets and bytes sent.
    pub packets_resent: u64,
    /// As the receiver counts them.
    pub packets_lost: u32,
    /// Share of packets lost between its last two reports, 0 to 1.
    pub fraction_lost: f64,
    /// As the receiver measures it (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// From a sender report to the answer to it, less the time that the receiver held it;
    /// `None` until the first answer.
    pub round_trip_time: Option<Duration>,
    /// How much longer than the fastest of late even the fastest packets are on their way: they wait.
    pub queueing_delay: Duration,
    /// What may be sent in all, bits per second with headers; `None` where nothing limits it.
    pub budget_bps: Option<f64>,
}

impl Stats {
    /// The same, with what was counted for the streams that went to the same receiver before.
    pub fn after(self, before: Self) -> Self {
        Self {
            packets_sent: self.packets_sent + before.packets_sent,
            bytes_sent: self.bytes_sent + before.bytes_sent,
            bytes_copied: self.bytes_copied + before.bytes_copied,
            packets_resent: self.packets_resent + before.packets_resent,
            packets_lost: self.packets_lost.saturating_add(before.packets_lost),
            ..self
        }
    }
}

/// Ages of frames are alike within this: what threads take to wake up.
const AGE_SCATTER: Duration = Duration::from_micros(200);

/// What reports take, with their headers, and QUIC's acknowledgements of what comes back.
const REPORTS_BPS: f64 = 3.5e3;

/// A report waits no longer than this for a frame to follow.
const REPORT_LATEST: Duration = Duration::from_millis(200);

/// Turns frames into packets for one receiver and reads its reports.
pub struct Sender {
    config: Config,
    /// Of the next packet; on the wire are its lowest 16 bits.
    sequence: i64,
    history: History,
    protection: Protection,
    /// A payload with copies.
    red: Vec<u8>,
    /// A frame that [`poll_transmit`](Self::poll_transmit) has not taken yet.
    packet: Option<Vec<u8>>,
    /// Kept from packet to packet.
    spare: Vec<u8>,
    /// The last frame's timestamp and the moment that its first sample was captured.
    position: Option<(u32, Instant)>,
    next_report: Option<Instant>,
    /// The least time from capture to here of the frames since the last report.
    least_age: Duration,
    /// The receiver's clock: whose it is, what it said, and when that arrived.
    reference: Option<(u32, u32, Instant)>,
    /// Who reports on our stream: others may send and end on the same path.
    receiver: Option<u32>,
    report_due: bool,
    bye_due: bool,
    event: Option<Event>,
    rate: Rate,
    /// Of each packet beyond its own bytes.
    overhead: usize,
    /// RTP packets are as long as a multiple of the one, up to the other.
    padding: (u8, usize),
    /// How much later than the fastest a packet may come, as the receiver says.
    room: Option<Duration>,
    stats: Stats,
}

impl Sender {
    /// A sender of one stream, before its first frame.
    pub fn new(config: Config) -> Self {
        Self {
            sequence: config.first_sequence.into(),
            protection: Protection::new(config.beside),
            red: Vec::new(),
            config,
            history: History::new(),
            packet: None,
            spare: Vec::new(),
            position: None,
            next_report: None,
            least_age: Duration::MAX,
            reference: None,
            receiver: None,
            report_due: false,
            bye_due: false,
            event: None,
            rate: Rate::new(),
            overhead: UDP_BYTES,
            padding: (0, 0),
            room: None,
            stats: Stats::default(),
        }
    }

    /// Takes one frame; poll it out with [`poll_transmit`](Self::poll_transmit) before the next,
    /// which would replace it.
    pub fn handle_frame(&mut self, now: Instant, frame: &Frame<'_>) {
        let timestamp = self.config.first_timestamp.wrapping_add(frame.time.0 as u32);
        let mut packet = self.packet.take().unwrap_or_else(|| std::mem::take(&mut self.spare));
        match self.config.wire {
            Wire::Raw => {
                packet.clear();
                packet.extend(frame.payload);
            }
            Wire::Rtp { payload_type } => {
                let Config { ssrc, .. } = self.config;
                let (sequence, marker) = (self.sequence as u16, self.position.is_none() || frame.begins);
                let rtp = Rtp { ssrc, payload_type, sequence, timestamp, marker, payload: frame.payload };
                rtp.write(&mut packet);
                if self.protection.is_on() {
                    self.history.push(now, self.sequence, &packet); // once more it goes without copies
                }
                if self.protection.handle_frame(frame, payload_type, &mut self.red) {
                    Rtp { payload_type: PayloadTypes::REDUNDANCY, payload: &self.red, ..rtp }.write(&mut packet);
                }
                self.report_due |= self.is_report_due(now, now - frame.captured);
            }
        }
        self.packet = Some(packet);
        self.position = Some((timestamp, frame.captured));
        self.sequence += 1;
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += frame.payload.len() as u64;
    }

    /// Takes note that time has passed, where no frames come: reports go on, so that the receiver knows that we
    /// are there, and the two clocks.
    pub fn handle_time(&mut self, now: Instant) {
        let due = self.next_report.is_some_and(|due| due + REPORT_LATEST <= now);
        self.report_due |= due && self.position.is_some() && self.config.wire != Wire::Raw;
    }

    /// Takes what came back from the receiver: any bytes.
    pub fn handle_packet(&mut self, now: Instant, bytes: &[u8]) {
        let ssrc = self.config.ssrc;
        rtcp::parse(bytes, |message| match message {
            Message::Report { from, report } if report.ssrc == ssrc => {
                self.receiver = Some(from);
                self.handle_report(now, report);
            }
            Message::Reference { from, ntp } => {
                // The first is answered at once: until it knows the round trip, it says nothing of the path,
                // and a queue that is full by then looks like a longer path.
                self.report_due |= self.reference.is_none() && self.position.is_some();
                self.reference = Some((from, ntp.middle(), now));
            }
            Message::Feedback(feedback) if feedback.ssrc == ssrc => self.handle_feedback(now, &feedback),
            Message::Nack { ssrc: of, sequence } if of == ssrc => self.history.handle_asked(now, sequence),
            Message::Bye { ssrc: of } if self.receiver.is_none_or(|receiver| receiver == of) => {
                self.event = Some(Event::Ended);
            }
            _ => {}
        });
    }

    /// Ends the stream: a BYE follows what is still to be sent.
    pub fn finish(&mut self) {
        self.bye_due = self.config.wire != Wire::Raw;
    }

    /// Replaces `packet` by the next thing to send; false when there is nothing more.
    pub fn poll_transmit(&mut self, now: Instant, packet: &mut Vec<u8>) -> bool {
        let media = self.packet.is_some().then_some(self.sequence - 1);
        if let Some(ready) = self.packet.take() {
            self.spare = std::mem::replace(packet, ready);
        } else if !self.history.poll_repair(packet) {
            if !self.report_due && !self.bye_due {
                return false;
            }
            self.write_report(now, packet);
        }
        if self.padding.0 > 0 && self.config.wire != Wire::Raw {
            pad(packet, self.padding.0, self.padding.1);
        }
        self.rate.handle_sent(now, media, packet.len());
        true
    }

    /// The latest that was heard of the receiver since the last call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// What has been counted since the start, and what the receiver said last.
    pub fn stats(&self) -> Stats {
        let (packets_resent, bytes_copied) = (self.history.resent(), self.protection.bytes_copied());
        let (queueing_delay, budget_bps) = (self.rate.queueing_delay(), self.budget_bps());
        let copies = self.protection.plan().count();
        Stats { packets_resent, bytes_copied, copies, queueing_delay, budget_bps, ..self.stats }
    }

    /// From the next frame on sends payloads of another type, whose clock has that rate: the receiver takes
    /// them for another run of the same stream. Copies ride `beside` them.
    pub fn set_format(&mut self, payload_type: u8, rate: u32, beside: Option<Beside>) {
        if let Wire::Rtp { payload_type: present } = &mut self.config.wire {
            (*present, self.config.rate) = (payload_type, rate);
            self.history = History::new(); // two of the run before would be taken for a run of their own
            self.protection.set_beside(beside);
        }
    }

    /// What each packet takes on the wire beyond its own bytes: at first that of UDP over IPv4.
    pub fn set_overhead(&mut self, bytes: usize) {
        self.overhead = bytes;
        self.rate.set_overhead(bytes);
        self.protection.set_headers(self.headers_max());
    }

    /// Makes RTP packets longer, to the next multiple of `bucket` bytes or else to `bytes_max`; 0 leaves
    /// them as they are. See [`pad`].
    pub fn set_padding(&mut self, bucket: u8, bytes_max: usize) {
        self.padding = (bucket, bytes_max);
        self.protection.set_headers(self.headers_max());
    }

    /// What a packet takes on the wire beyond its payload, bytes, at the most.
    pub fn headers_max(&self) -> usize {
        HEADER_BYTES + self.overhead + usize::from(self.padding.0.saturating_sub(1))
    }

    /// What is sent where nothing limits it, bits per second with headers: when the path carries that
    /// again, nothing does.
    pub fn set_full_bps(&mut self, bits_per_second: f64) {
        self.rate.set_full(bits_per_second);
    }

    /// All that is sent keeps below this, bits per second with headers: frames, copies, repairs and reports.
    /// `None` leaves that to the path.
    pub fn set_ceiling_bps(&mut self, bits_per_second: Option<f64>) {
        self.protection.set_ceiling(bits_per_second.map(|ceiling| ceiling - REPORTS_BPS));
    }

    /// What may be sent in all, bits per second with headers, so that no queue grows on the way; `None`
    /// where nothing limits it.
    pub fn budget_bps(&self) -> Option<f64> {
        self.rate.budget_bps()
    }

    /// What of that, and of the ceiling, is for the frames, bits per second with headers: under a ceiling they
    /// give way to what is sent more than once. `None` where nothing limits it.
    pub fn frames_bps(&self) -> Option<f64> {
        self.rate.budget_bps().into_iter().chain(self.protection.frames_bps()).reduce(f64::min)
    }

    /// How much later than the fastest a packet may come and still be played, as the receiver says.
    pub fn room(&self) -> Option<Duration> {
        self.room
    }

    /// Says whether what is lost is made up for, from now on.
    pub fn set_redundancy(&mut self, redundancy: Redundancy) {
        if redundancy != self.protection.redundancy() {
            self.history = History::new();
            self.protection.set(redundancy);
        }
    }

    /// How the [`Packetizer`](crate::Packetizer) is to code copies, if there are to be any.
    pub fn copies(&self) -> Option<copies::Settings> {
        self.protection.copies()
    }

    /// The share of the packets that is lost, 0 to 1, where repairs and copies bring too little of it back.
    pub fn unprotected(&self) -> f64 {
        self.protection.unprotected()
    }

    /// What is sent more than once now.
    pub fn plan(&self) -> Plan {
        self.protection.plan()
    }

    fn handle_feedback(&mut self, now: Instant, feedback: &Feedback) {
        let highest = self.sequence - i64::from((self.sequence as u16).wrapping_sub(feedback.highest));
        self.room = feedback.room();
        self.rate.handle_feedback(now, highest, feedback);
        self.protection.set_budget(self.rate.budget_bps());
        self.protection.handle_feedback(now, highest, feedback, self.stats.jitter);
    }

    /// Whether a report is to follow a frame of that age: the receiver takes the frame for one that
    /// came as fast as any, so it is one that has not waited here for others of its block.
    fn is_report_due(&mut self, now: Instant, age: Duration) -> bool {
        self.least_age = self.least_age.min(age);
        let waited = age > self.least_age + AGE_SCATTER;
        self.next_report.is_none_or(|due| if waited { due + REPORT_LATEST <= now } else { due <= now })
    }

    fn write_report(&mut self, now: Instant, packet: &mut Vec<u8>) {
        let sender = self.position.map(|(timestamp, captured)| SenderInfo {
            ntp: self.wall(now),
            // The same moment on the media clock, extrapolated (RFC 3550 section 6.4.1).
            timestamp: timestamp.wrapping_add(frames_in(now - captured, self.config.rate) as u32),
            packets: self.stats.packets_sent as u32,
            bytes: self.stats.bytes_sent as u32,
        });
        let Config { ssrc, ref cname, .. } = self.config;
        let echo = self.reference.map(|(ssrc, reference, arrived)| Echo {
            ssrc,
            reference,
            delay_since: rtcp::fraction(now - arrived),
        });
        let ability = self.protection.ability();
        Outgoing { ssrc, cname, sender, echo, ability, bye: self.bye_due, ..Outgoing::default() }.write(packet);
        self.next_report = Some(now + REPORT_INTERVAL);
        self.least_age = Duration::MAX;
        self.report_due = false;
        self.bye_due = false;
    }

    fn handle_report(&mut self, now: Instant, report: Report) {
        self.event = Some(Event::Heard);
        self.stats.packets_lost = report.lost;
        self.stats.fraction_lost = f64::from(report.fraction_lost) / 256.0;
        self.stats.jitter = crate::duration_of(report.jitter.into(), self.config.rate);
        if report.last_sender_report != 0 {
            let trip = self.wall(now).trip(report.last_sender_report, report.delay_since);
            self.stats.round_trip_time = trip.or(self.stats.round_trip_time);
            trip.into_iter().for_each(|trip| self.protection.handle_trip(trip));
        }
    }

    fn wall(&self, now: Instant) -> Ntp {
        self.config.wall_epoch.plus_nanos(now.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MediaTime;
    use crate::packet::Packet;

    fn sender(wire: Wire) -> Sender {
        Sender::new(Config {
            ssrc: 7,
            first_sequence: 65_535,
            first_timestamp: u32::MAX,
            cname: "test".into(),
            wire,
            rate: 48_000,
            beside: None,
            wall_epoch: Ntp(1 << 40),
        })
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn send(sender: &mut Sender, millis: u64) -> Vec<Vec<u8>> {
        let time = MediaTime(millis as i64 * 48);
        sender.handle_frame(
            at(millis),
            &Frame { time, frames: 240, captured: at(millis), begins: false, payload: b"sound", copy: None },
        );
        drain(sender, millis)
    }

    fn drain(sender: &mut Sender, millis: u64) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut packet = Vec::new();
        while sender.poll_transmit(at(millis), &mut packet) {
            packets.push(packet.clone());
        }
        packets
    }

    #[test]
    fn sequence_and_timestamp_wrap_on_the_wire() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        let mut seen = Vec::new();
        for millis in [0, 5] {
            for packet in send(&mut sender, millis) {
                if let Some(Packet::Rtp(rtp)) = Packet::parse(&packet) {
                    seen.push((rtp.sequence, rtp.timestamp));
                }
            }
        }
        assert_eq!(seen, [(65_535, u32::MAX), (0, 239)]);
    }

    #[test]
    fn a_report_goes_with_the_first_packet_and_then_every_second() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        let counts: Vec<usize> = (0..=400).map(|n| send(&mut sender, n * 5).len()).collect();
        let reports: Vec<usize> = (0..=400).filter(|&n| counts[n] == 2).collect();
        assert_eq!(reports, [0, 200, 400]);
    }

    #[test]
    fn round_trip_time_leaves_out_the_receivers_own_delay() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        let sent = send(&mut sender, 0);
        let mut sent_at = Ntp::default();
        rtcp::parse(&sent[1], |message| {
            if let Message::Sender { info, .. } = message {
                sent_at = info.ntp;
            }
        });
        let report = Report {
            ssrc: 7,
            last_sender_report: sent_at.middle(),
            delay_since: 65_536 / 2,
            fraction_lost: 64,
            ..Report::default()
        };
        let mut packet = Vec::new();
        Outgoing { ssrc: 1, cname: "r", report: Some(report), ..Outgoing::default() }.write(&mut packet);
        sender.handle_packet(at(540), &packet);
        assert_eq!(sender.poll_event(), Some(Event::Heard));
        let trip = sender.stats().round_trip_time.unwrap();
        assert!(trip.abs_diff(Duration::from_millis(40)) < Duration::from_micros(50), "{trip:?}");
        assert_eq!(sender.stats().fraction_lost, 0.25);
    }

    #[test]
    fn the_end_is_said_after_the_last_packet() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        send(&mut sender, 0);
        sender.finish();
        let packets = drain(&mut sender, 1);
        let mut bye = false;
        rtcp::parse(&packets[0], |message| bye |= message == Message::Bye { ssrc: 7 });
        assert!(bye);
        assert!(drain(&mut sender, 2).is_empty(), "and only once");
    }

    #[test]
    fn only_the_receivers_own_end_is_its_end() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        let (report, mut packet) = (Some(Report { ssrc: 7, ..Report::default() }), Vec::new());
        Outgoing { ssrc: 1, cname: "r", report, ..Outgoing::default() }.write(&mut packet);
        sender.handle_packet(at(0), &packet);
        assert_eq!(sender.poll_event(), Some(Event::Heard));
        for (ssrc, event) in [(2, None), (1, Some(Event::Ended))] {
            Outgoing { ssrc, cname: "r", bye: true, ..Outgoing::default() }.write(&mut packet);
            sender.handle_packet(at(1), &packet);
            assert_eq!(sender.poll_event(), event, "a stream that comes back over the same path has its own end");
        }
    }

    #[test]
    fn what_is_padded_is_so_on_the_wire_and_is_counted() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        let plain = sender.headers_max();
        sender.set_padding(64, 1200);
        assert_eq!(sender.headers_max(), plain + 63);
        assert_eq!(send(&mut sender, 0)[0].len(), 64);
        let mut raw = self::sender(Wire::Raw);
        raw.set_padding(64, 1200);
        assert_eq!(send(&mut raw, 0), [b"sound"]);
    }

    #[test]
    fn raw_is_payloads_and_nothing_else() {
        let mut sender = sender(Wire::Raw);
        assert_eq!(send(&mut sender, 0), [b"sound"]);
        sender.finish();
        assert!(drain(&mut sender, 1).is_empty());
    }

    #[test]
    fn any_bytes_may_come_back() {
        let mut sender = sender(Wire::Rtp { payload_type: 96 });
        sender.handle_packet(at(0), &[]);
        sender.handle_packet(at(0), &[0x80, 200, 0xff, 0xff]);
        assert_eq!(sender.poll_event(), None);
    }
}
