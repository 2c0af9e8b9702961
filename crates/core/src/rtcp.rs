//! RTCP (RFC 3550 section 6): sender and receiver reports, BYE, always as a compound packet that
//! begins with a report and names its source.

use std::time::Duration;

use crate::feedback::{self, Ability, Feedback};
use rtcp_types::prelude::*;
use rtcp_types::{
    App, Bye, Compound, DelaySinceLastReceiverReport, DelaySinceLastReceiverReportBlock,
    DelaySinceLastReceiverReportBlockBuilder, Nack, ReceiverReferenceTime, ReceiverReport, ReportBlock,
    ReportBlockBuilder, Sdes, SdesChunk, SdesItem, SenderReport, TransportFeedback, Xr,
};

/// A 64 bit NTP timestamp: seconds since 1900 and their fraction, 32 bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The middle 32 bits, as reports quote them: units of 1/65536 s.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// What lies between `reference`, the middle bits of a time that we sent, and now, when its
    /// echo came, less the `delay_since` that the other end held it (RFC 3550 section 6.4.1). `None`
    /// where that makes no sense: a forged or stale echo may say anything.
    pub fn trip(self, reference: u32, delay_since: u32) -> Option<Duration> {
        let trip = self.middle().wrapping_sub(reference).wrapping_sub(delay_since);
        (trip < 60 << 16).then(|| Duration::from_nanos((u64::from(trip) * 1_000_000_000) >> 16))
    }

    /// The time `nanos` nanoseconds later.
    pub fn plus_nanos(self, nanos: u64) -> Ntp {
        let fraction = (u128::from(nanos) << 32) / 1_000_000_000;
        Ntp(self.0.wrapping_add(fraction as u64))
    }
}

/// A span in 1/65536 s.
pub(crate) fn fraction(span: Duration) -> u32 {
    (span.as_nanos() * 65_536 / 1_000_000_000) as u32
}

/// What a sender says of itself (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The wall-clock time at which the report was sent.
    pub ntp: Ntp,
    /// The media time of the same moment.
    pub timestamp: u32,
    /// RTP packets sent since the start, wrapping.
    pub packets: u32,
    /// Bytes of payload.
    pub bytes: u32,
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The source that this is about.
    pub ssrc: u32,
    /// Of the packets since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Never below zero here: more duplicates than losses count as none lost.
    pub lost: u32,
    /// The highest sequence number received, extended by the wraps that were seen.
    pub highest_sequence: u32,
    /// In units of the RTP timestamp.
    pub jitter: u32,
    /// Middle bits of the last sender report's NTP time, zero when there was none.
    pub last_sender_report: u32,
    /// Time since that arrived, in 1/65536 s.
    pub delay_since: u32,
}

/// The answer to a receiver's clock (RFC 3611 section 4.5), by which it knows the round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Whose clock it was.
    pub ssrc: u32,
    /// The middle bits of what it said.
    pub reference: u32,
    /// Time since that arrived, in 1/65536 s.
    pub delay_since: u32,
}

/// One thing that a compound packet said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Message {
    /// `ssrc` sends, and has sent so much until now.
    Sender { ssrc: u32, info: SenderInfo },
    /// `from` says how it receives one source.
    Report { from: u32, report: Report },
    /// It was `ntp` at `from`, a receiver, when it sent this (RFC 3611 section 4.4).
    Reference { from: u32, ntp: Ntp },
    /// `from`, a sender, answers that.
    Echo { from: u32, echo: Echo },
    /// What came of a source's packets, and when.
    Feedback(Feedback),
    /// What `from`, a sender, can do about losses.
    Ability { from: u32, ability: Ability },
    /// Somebody would like to have a packet of `ssrc` once more (RFC 4585 section 6.2.1).
    Nack { ssrc: u32, sequence: u16 },
    /// `ssrc` ends.
    Bye { ssrc: u32 },
}

/// Tells `handle` everything that a compound packet says; returns false, without a word, where
/// the bytes are not one.
pub fn parse(bytes: &[u8], mut handle: impl FnMut(Message)) -> bool {
    let Ok(compound) = Compound::parse(bytes) else { return false };
    let packets: Result<Vec<_>, _> = compound.collect();
    let Ok(packets) = packets else { return false };
    for packet in &packets {
        match packet {
            rtcp_types::Packet::Sr(sender) => {
                handle(Message::Sender { ssrc: sender.ssrc(), info: sender_info(sender) });
                sender.report_blocks().for_each(|block| handle(report(sender.ssrc(), &block)));
            }
            rtcp_types::Packet::Rr(receiver) => {
                receiver.report_blocks().for_each(|block| handle(report(receiver.ssrc(), &block)));
            }
            rtcp_types::Packet::Xr(extended) => extended_report(extended, &mut handle),
            rtcp_types::Packet::App(app) if app.name() == *feedback::NAME.as_bytes() => {
                Feedback::parse(app.data()).into_iter().for_each(|feedback| handle(Message::Feedback(feedback)));
            }
            rtcp_types::Packet::App(app) if app.name() == *feedback::ABILITY_NAME.as_bytes() => {
                let from = app.ssrc();
                Ability::parse(app.data()).into_iter().for_each(|ability| handle(Message::Ability { from, ability }));
            }
            rtcp_types::Packet::TransportFeedback(packet) => nacks(packet, &mut handle),
            rtcp_types::Packet::Bye(bye) => bye.ssrcs().for_each(|ssrc| handle(Message::Bye { ssrc })),
            _ => {}
        }
    }
    true
}

fn nacks(packet: &TransportFeedback, handle: &mut impl FnMut(Message)) {
    let ssrc = packet.media_ssrc();
    if let Ok(nack) = packet.parse_fci::<Nack>() {
        nack.entries().for_each(|sequence| handle(Message::Nack { ssrc, sequence }));
    }
}

fn extended_report(packet: &Xr, handle: &mut impl FnMut(Message)) {
    let from = packet.sender_ssrc();
    for block in packet.block_iter() {
        if let Ok(reference) = block.parse_into::<ReceiverReferenceTime>() {
            handle(Message::Reference { from, ntp: Ntp(reference.ntp_timestamp()) });
        } else if let Ok(delays) = block.parse_into::<DelaySinceLastReceiverReport>() {
            delays.block_iter().for_each(|block| handle(Message::Echo { from, echo: echo(&block) }));
        }
    }
}

fn echo(block: &DelaySinceLastReceiverReportBlock) -> Echo {
    Echo {
        ssrc: block.ssrc(),
        reference: block.last_receiver_report(),
        delay_since: block.delay_since_last_receiver_report_timestamp(),
    }
}

fn sender_info(sender: &SenderReport) -> SenderInfo {
    SenderInfo {
        ntp: Ntp(sender.ntp_timestamp()),
        timestamp: sender.rtp_timestamp(),
        packets: sender.packet_count(),
        bytes: sender.octet_count(),
    }
}

fn report(from: u32, block: &ReportBlock) -> Message {
    let report = Report {
        ssrc: block.ssrc(),
        fraction_lost: block.fraction_lost(),
        lost: block.cumulative_lost(),
        highest_sequence: block.extended_sequence_number(),
        jitter: block.interarrival_jitter(),
        last_sender_report: block.last_sender_report_timestamp(),
        delay_since: block.delay_since_last_sender_report_timestamp(),
    };
    Message::Report { from, report }
}

/// What to say in one compound packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// Who speaks.
    pub ssrc: u32,
    /// The canonical name of this end (RFC 3550 section 6.5.1); its first 255 bytes are said. Where
    /// it is empty, it is not said: not every report needs to (RFC 5506).
    pub cname: &'a str,
    /// What we send, if we do.
    pub sender: Option<SenderInfo>,
    /// How we receive, if we do.
    pub report: Option<Report>,
    /// Our clock, to be answered.
    pub reference: Option<Ntp>,
    /// The answer to the other end's.
    pub echo: Option<Echo>,
    /// What came of one source's packets.
    pub feedback: Option<Feedback>,
    /// What we can do about what is lost of what we send.
    pub ability: Option<Ability>,
    /// What is asked for once more, and of whom.
    pub nack: (u32, &'a [u16]),
    /// Whether this is the last that is heard of us.
    pub bye: bool,
}

impl Outgoing<'_> {
    /// Replaces `packet` by the compound packet's bytes.
    pub fn write(&self, packet: &mut Vec<u8>) {
        let chunk = SdesChunk::builder(self.ssrc).add_item(SdesItem::builder(SdesItem::CNAME, sayable(self.cname)));
        let feedback = self.feedback.map(|feedback| feedback.write());
        let ability = self.ability.map(|ability| ability.write());
        let mut compound = Compound::builder();
        compound = match self.sender {
            Some(info) => compound.add_packet(self.sender_report(info)),
            None => compound.add_packet(self.receiver_report()),
        };
        if !self.cname.is_empty() {
            compound = compound.add_packet(Sdes::builder().add_chunk(chunk));
        }
        if let Some(extended) = self.extended_report() {
            compound = compound.add_packet(extended);
        }
        if let Some(data) = &feedback {
            compound = compound.add_packet(App::builder(self.ssrc, feedback::NAME).data(data));
        }
        if let Some(data) = &ability {
            compound = compound.add_packet(App::builder(self.ssrc, feedback::ABILITY_NAME).data(data));
        }
        let (media, missing) = self.nack;
        if !missing.is_empty() {
            let nack = missing.iter().fold(Nack::builder(), |nack, &sequence| nack.add_rtp_sequence(sequence));
            let asked = TransportFeedback::builder_owned(nack).sender_ssrc(self.ssrc).media_ssrc(media);
            compound = compound.add_packet(asked);
        }
        if self.bye {
            compound = compound.add_packet(Bye::builder().add_source(self.ssrc));
        }
        packet.clear();
        packet.resize(compound.calculate_size().expect("one report block at most and a name cut to size"), 0);
        compound.write_into(packet).expect("the size was just calculated");
    }

    fn sender_report(&self, info: SenderInfo) -> rtcp_types::SenderReportBuilder {
        let builder = SenderReport::builder(self.ssrc)
            .ntp_timestamp(info.ntp.0)
            .rtp_timestamp(info.timestamp)
            .packet_count(info.packets)
            .octet_count(info.bytes);
        match self.report {
            Some(report) => builder.add_report_block(block(report)),
            None => builder,
        }
    }

    fn extended_report(&self) -> Option<rtcp_types::XrBuilder> {
        let empty = Xr::builder().sender_ssrc(self.ssrc);
        let with_reference = match self.reference {
            Some(ntp) => empty.add_block(ReceiverReferenceTime::builder().ntp_timestamp(ntp.0)),
            None => empty,
        };
        let whole = match self.echo {
            Some(echo) => with_reference.add_block(DelaySinceLastReceiverReport::builder().add_block(echo_block(echo))),
            None => with_reference,
        };
        (self.reference.is_some() || self.echo.is_some()).then_some(whole)
    }

    fn receiver_report(&self) -> rtcp_types::ReceiverReportBuilder {
        let builder = ReceiverReport::builder(self.ssrc);
        match self.report {
            Some(report) => builder.add_report_block(block(report)),
            None => builder,
        }
    }
}

fn echo_block(echo: Echo) -> DelaySinceLastReceiverReportBlockBuilder {
    DelaySinceLastReceiverReportBlock::builder()
        .ssrc(echo.ssrc)
        .last_receiver_report(echo.reference)
        .delay_since_last_receiver_report_timestamp(echo.delay_since)
}

/// As much of a name as its length, one byte, can say (RFC 3550 section 6.5).
fn sayable(name: &str) -> &str {
    let end = (0..=name.len().min(255)).rev().find(|&end| name.is_char_boundary(end));
    &name[..end.unwrap_or(0)]
}

fn block(report: Report) -> ReportBlockBuilder {
    ReportBlock::builder(report.ssrc)
        .fraction_lost(report.fraction_lost)
        .cumulative_lost(report.lost.min(0x7f_ffff)) // 24 bits, signed
        .extended_sequence_number(report.highest_sequence)
        .interarrival_jitter(report.jitter)
        .last_sender_report_timestamp(report.last_sender_report)
        .delay_since_last_sender_report_timestamp(report.delay_since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(bytes: &[u8]) -> Option<Vec<Message>> {
        let mut messages = Vec::new();
        parse(bytes, |message| messages.push(message)).then_some(messages)
    }

    #[test]
    fn reports_and_bye_read_as_they_were_written() {
        let info = SenderInfo { ntp: Ntp(0x1234_5678_9abc_def0), timestamp: 480, packets: 2, bytes: 300 };
        let report = Report {
            ssrc: 9,
            fraction_lost: 25,
            lost: 3,
            highest_sequence: 65_540,
            jitter: 12,
            last_sender_report: 5,
            delay_since: 6,
        };
        let echo = Echo { ssrc: 3, reference: 4, delay_since: 5 };
        let reference = Ntp(77);
        let feedback = Feedback { ssrc: 9, highest: 2, room: 5, ..Feedback::default() };
        let nack = |sequence| Message::Nack { ssrc: 9, sequence };
        let outgoing = Outgoing {
            ssrc: 7,
            cname: "a@b",
            sender: Some(info),
            report: Some(report),
            reference: Some(reference),
            echo: Some(echo),
            feedback: Some(feedback),
            ability: Some(Ability { copies: true, copies_as_packets: true }),
            nack: (9, &[65_534, 65_535, 3, 40]),
            bye: true,
        };
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        let expected = [
            Message::Sender { ssrc: 7, info },
            Message::Report { from: 7, report },
            Message::Reference { from: 7, ntp: reference },
            Message::Echo { from: 7, echo },
            Message::Feedback(feedback),
            Message::Ability { from: 7, ability: Ability { copies: true, copies_as_packets: true } },
            nack(3),
            nack(40),
            nack(65_534),
            nack(65_535),
            Message::Bye { ssrc: 7 },
        ];
        assert_eq!(messages(&bytes).unwrap(), expected);
    }

    #[test]
    fn an_empty_receiver_report_says_nothing_but_is_valid() {
        let outgoing = Outgoing { ssrc: 7, cname: "a@b", ..Outgoing::default() };
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        assert_eq!(messages(&bytes), Some(vec![]));
    }

    #[test]
    fn a_name_longer_than_rtcp_can_say_is_cut() {
        let cname = "ö".repeat(200);
        let outgoing = Outgoing { ssrc: 7, cname: &cname, bye: true, ..Outgoing::default() };
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        assert_eq!(messages(&bytes), Some(vec![Message::Bye { ssrc: 7 }]));
    }

    #[test]
    fn a_cut_off_packet_says_nothing_at_all() {
        let outgoing =
            Outgoing { ssrc: 7, cname: "name", report: Some(Report::default()), bye: true, ..Outgoing::default() };
        let mut bytes = Vec::new();
        outgoing.write(&mut bytes);
        let whole = bytes.len();
        // The ends of its three packets are the only places where a prefix is valid.
        let valid = (0..=whole).filter(|&end| messages(&bytes[..end]).is_some()).count();
        assert_eq!(valid, 3);
    }

    #[test]
    fn ntp_time_moves_with_nanoseconds() {
        let start = Ntp(1 << 32);
        assert_eq!(start.plus_nanos(500_000_000), Ntp((1 << 32) + (1 << 31)));
        assert_eq!(start.plus_nanos(500_000_000).middle(), 0x1_8000);
    }
}
