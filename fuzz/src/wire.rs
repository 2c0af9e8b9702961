//! The parsers of what comes from the network.

use arbitrary::Arbitrary;
use audiostreamer_core::framing::{Deframer, frame};
use audiostreamer_core::packet::{Packet, pad};
use audiostreamer_core::red::{Block, Red};
use audiostreamer_core::rtcp::{self, Message, Ntp, Outgoing, Report, SenderInfo};

/// Any bytes as a packet: what is read is inside of them, and survives being written again.
pub fn packet(bytes: &[u8]) {
    let Some(Packet::Rtp(rtp)) = Packet::parse(bytes) else { return };
    assert!(bytes.as_ptr_range().start <= rtp.payload.as_ptr_range().start);
    assert!(rtp.payload.as_ptr_range().end <= bytes.as_ptr_range().end);
    let mut written = Vec::new();
    rtp.write(&mut written);
    assert!(matches!(Packet::parse(&written), Some(Packet::Rtp(again)) if again == rtp));
    pad(&mut written, bytes.len() as u8, 1200);
    assert!(matches!(Packet::parse(&written), Some(Packet::Rtp(again)) if again == rtp));
}

/// Any bytes as a compound packet: all of it is understood or nothing is said. What was said by
/// one of ours comes back as it was.
pub fn rtcp(bytes: &[u8]) {
    let mut said = 0;
    let whole = rtcp::parse(bytes, |_| said += 1);
    assert!(whole || said == 0);
    if let Some(compound) = super::input::<OurCompound>(bytes) {
        compound.survives();
    }
}

#[derive(Arbitrary, Debug)]
struct OurCompound<'a> {
    ssrc: u32,
    info: Option<(u64, u32, u32, u32)>,
    report: Option<(u32, u8, u32, u32, u32, u32, u32)>,
    bye: bool,
    cname: &'a str,
}

impl OurCompound<'_> {
    fn survives(&self) {
        let Self { ssrc, bye, cname, .. } = *self;
        let sender =
            self.info.map(|(ntp, timestamp, packets, bytes)| SenderInfo { ntp: Ntp(ntp), timestamp, packets, bytes });
        let report = self.report.map(|(ssrc, fraction_lost, lost, sequence, jitter, last, delay)| Report {
            ssrc,
            fraction_lost,
            lost: lost & 0x7f_ffff, // as many bits as the wire has
            highest_sequence: sequence,
            jitter,
            last_sender_report: last,
            delay_since: delay,
        });
        let mut written = Vec::new();
        Outgoing { ssrc, cname, sender, report, bye, ..Outgoing::default() }.write(&mut written);
        let mut said = Vec::new();
        assert!(rtcp::parse(&written, |message| said.push(message)));
        let expected = [
            sender.map(|info| Message::Sender { ssrc, info }),
            report.map(|report| Message::Report { from: ssrc, report }),
            bye.then_some(Message::Bye { ssrc }),
        ];
        assert!(said.into_iter().eq(expected.into_iter().flatten()));
    }
}

/// Any stream in any pieces: the same packets as from a reader who has it whole, and what was
/// framed by us comes back.
pub fn framing(bytes: &[u8]) {
    let Some((pieces, stream)) = super::input::<(Vec<u16>, &[u8])>(bytes) else { return };
    assert_eq!(deframed(stream, &pieces), records(stream));
    let packets: Vec<&[u8]> = stream.chunks(usize::from(*pieces.first().unwrap_or(&1)).max(1)).collect();
    let mut framed = Vec::new();
    packets.iter().for_each(|packet| frame(packet, &mut framed));
    assert_eq!(deframed(&framed, &pieces), packets);
}

/// What a deframer makes of a stream that arrives in pieces of these sizes, again and again.
fn deframed(stream: &[u8], pieces: &[u16]) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::default();
    let mut packets = Vec::new();
    let mut rest = stream;
    for piece in pieces.iter().cycle().map(|&piece| usize::from(piece).max(1)).chain([usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        deframer.handle_bytes(now);
        while let Some(packet) = deframer.poll_packet() {
            packets.push(packet.to_vec());
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    packets
}

/// RFC 4571 as it reads: a length, then so many bytes; empty records say nothing.
fn records(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((record, rest)) = rest.split_at_checked(length) else { break };
        records.push(record.to_vec());
        stream = rest;
    }
    records.retain(|record| !record.is_empty());
    records
}

/// The payload of a packet with redundancy: what is read lies within the bytes, and is written again as
/// it was.
pub fn red(bytes: &[u8]) {
    let Some(red) = Red::parse(bytes) else { return };
    let blocks: Vec<Block<'_>> = red.blocks().collect();
    let mut again = Vec::new();
    audiostreamer_core::red::write(&blocks, red.payload_type, red.payload, &mut again);
    assert_eq!(again, bytes);
}
