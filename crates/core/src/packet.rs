//! One datagram, or one TCP record: RTP (RFC 3550 section 5.1) or RTCP, told apart as RFC 5761
//! section 4 says. Wire integers end here: beyond, sequence numbers and timestamps are extended.

use rtp_types::{RtpPacket, RtpPacketBuilder};

/// Bytes of an RTP header without contributing sources and extensions.
pub const HEADER_BYTES: usize = 12;

/// What a datagram turned out to be.
#[derive(Debug)]
pub enum Packet<'a> {
    /// Media.
    Rtp(Rtp<'a>),
    /// A compound RTCP packet, not yet looked into.
    Rtcp(&'a [u8]),
}

/// The parts of an RTP packet that a receiver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtp<'a> {
    /// The source that it belongs to.
    pub ssrc: u32,
    /// The 7 bits that stand for a format.
    pub payload_type: u8,
    /// The 16 bits on the wire.
    pub sequence: u16,
    /// The 32 bits on the wire.
    pub timestamp: u32,
    /// The first of a talkspurt: before it nothing was sent (RFC 3551 section 4.1).
    pub marker: bool,
    /// Coded sound, without header and padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Looks at any bytes; `None` where they are neither RTP nor RTCP of version 2, or say more
    /// than they hold (contributing sources, an extension or padding beyond the end).
    pub fn parse(bytes: &'a [u8]) -> Option<Packet<'a>> {
        // RFC 5761 section 4: RTCP's packet types 192 to 223 in the second byte.
        match bytes.get(1)? {
            192..=223 => Some(Packet::Rtcp(bytes)),
            _ => Rtp::parse(bytes).map(Packet::Rtp),
        }
    }
}

impl<'a> Rtp<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Rtp<'a>> {
        let packet = RtpPacket::parse(bytes).ok()?;
        let start = packet.payload_offset();
        let end = bytes.len().checked_sub(packet.padding().unwrap_or(0).into())?;
        Some(Rtp {
            ssrc: packet.ssrc(),
            payload_type: packet.payload_type(),
            sequence: packet.sequence_number(),
            timestamp: packet.timestamp(),
            marker: packet.marker_bit(),
            payload: bytes.get(start..end)?,
        })
    }

    /// Replaces `packet` by this one's bytes.
    pub fn write(&self, packet: &mut Vec<u8>) {
        packet.clear();
        RtpPacketBuilder::<&[u8], &[u8]>::new()
            .ssrc(self.ssrc)
            .payload_type(self.payload_type)
            .sequence_number(self.sequence)
            .timestamp(self.timestamp)
            .marker_bit(self.marker)
            .payload(self.payload)
            .write_into_vec(packet)
            .expect("a payload type of 7 bits and no contributing sources");
    }
}

/// Makes an RTP packet longer, to the next multiple of `bucket` bytes or else to `bytes_max`, by padding
/// (RFC 3550 section 5.1): so that its length says less of what is in it. What is no RTP packet, or padded
/// already, stays as it is.
pub fn pad(packet: &mut Vec<u8>, bucket: u8, bytes_max: usize) {
    const PADDING_BIT: u8 = 0x20;
    let whole = packet.len().next_multiple_of(usize::from(bucket.max(1))).min(bytes_max);
    let missing = whole.saturating_sub(packet.len());
    let is_plain = matches!(Packet::parse(packet), Some(Packet::Rtp(_))) && packet[0] & PADDING_BIT == 0;
    if missing > 0 && is_plain {
        packet[0] |= PADDING_BIT;
        packet.resize(packet.len() + missing, 0);
        packet.pop();
        packet.push(missing as u8); // its own byte is counted
    }
}

/// Extends wire counters that wrap (RFC 3550 appendix A.1) to ones that don't.
#[derive(Clone, Copy, Debug)]
pub struct Extender {
    highest: i64,
}

impl Extender {
    /// Counts on from here; `first` itself is the extended value.
    pub fn starting_at(first: u32) -> Self {
        Self { highest: first.into() }
    }

    /// The extended value of `wire` nearest to the highest so far, which does not change.
    pub fn extend_u32(&self, wire: u32) -> i64 {
        self.highest + i64::from(wire.wrapping_sub(self.highest as u32) as i32)
    }

    /// As [`extend_u32`](Self::extend_u32), for a counter of 16 bits.
    pub fn extend_u16(&self, wire: u16) -> i64 {
        self.highest + i64::from(wire.wrapping_sub(self.highest as u16) as i16)
    }

    /// The highest extended value so far.
    pub fn highest(&self) -> i64 {
        self.highest
    }

    /// Takes note of an extended value.
    pub fn advance_to(&mut self, extended: i64) {
        self.highest = self.highest.max(extended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_packet_reads_as_before() {
        let rtp = Rtp { ssrc: 1, payload_type: 96, sequence: 2, timestamp: 3, marker: false, payload: &[7; 60] };
        for bucket in [0, 1, 2, 16, 64, 255] {
            let mut packet = Vec::new();
            rtp.write(&mut packet);
            pad(&mut packet, bucket, 1000);
            assert!(packet.len().is_multiple_of(usize::from(bucket.max(1))) && packet.len() < 72 + 255);
            assert!(matches!(Packet::parse(&packet), Some(Packet::Rtp(read)) if read == rtp), "{bucket}");
            let once = packet.clone();
            pad(&mut packet, 255, 1000);
            assert!(packet == once || once.len() == 72, "it is padded once only");
        }
        let mut long = Vec::new();
        Rtp { payload: &[7; 900], ..rtp }.write(&mut long);
        pad(&mut long, 64, 930);
        assert_eq!(long.len(), 930, "no longer than may be sent");
        let report = [0x80, 201, 0, 1, 0, 0, 0, 1];
        let mut packet = report.to_vec();
        pad(&mut packet, 64, 1000);
        assert_eq!(packet, report);
    }

    #[test]
    fn a_packet_reads_as_it_was_written() {
        let rtp = Rtp {
            ssrc: 0xdead_beef,
            payload_type: 96,
            sequence: 65_535,
            timestamp: 7,
            marker: true,
            payload: b"sound",
        };
        let mut bytes = Vec::new();
        rtp.write(&mut bytes);
        assert_eq!(bytes[..2], [0x80, 0x80 | 96], "version 2, marker, payload type");
        assert_eq!(bytes.len(), HEADER_BYTES + 5);
        let Some(Packet::Rtp(parsed)) = Packet::parse(&bytes) else { panic!("not RTP") };
        assert_eq!(parsed, rtp);
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        // Two contributing sources, an extension of one word, padding of 3 bytes.
        let mut bytes = vec![0x80 | 0x20 | 0x10 | 2, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend([0; 8]);
        bytes.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        bytes.extend(b"ab");
        bytes.extend([0, 0, 3]);
        let Some(Packet::Rtp(rtp)) = Packet::parse(&bytes) else { panic!("not RTP") };
        assert_eq!(rtp.payload, b"ab");
    }

    #[test]
    fn what_points_beyond_the_end_is_refused() {
        let header = |first: u8| [first, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        assert!(Packet::parse(&[]).is_none());
        assert!(Packet::parse(&[0x80]).is_none());
        assert!(Packet::parse(&header(0x80)[..11]).is_none(), "cut off");
        assert!(Packet::parse(&header(0x40)).is_none(), "version 1");
        assert!(Packet::parse(&header(0x8f)).is_none(), "15 contributing sources");
        assert!(Packet::parse(&header(0x90)).is_none(), "an extension");
        let mut padded = header(0xa0).to_vec();
        padded.extend([0, 0, 200]);
        assert!(Packet::parse(&padded).is_none(), "200 bytes of padding");
    }

    #[test]
    fn rtcp_is_told_by_its_packet_type() {
        assert!(matches!(Packet::parse(&[0x80, 200, 0, 6]), Some(Packet::Rtcp(_))));
        assert!(matches!(Packet::parse(&[0x80, 203]), Some(Packet::Rtcp(_))));
    }

    #[test]
    fn counters_extend_over_their_wrap_in_both_directions() {
        let mut sequence = Extender::starting_at(65_534);
        assert_eq!(sequence.extend_u16(65_535), 65_535);
        assert_eq!(sequence.extend_u16(1), 65_537);
        sequence.advance_to(65_537);
        assert_eq!(sequence.extend_u16(65_533), 65_533, "an old one stays old");
        let mut timestamp = Extender::starting_at(u32::MAX - 100);
        timestamp.advance_to(timestamp.extend_u32(380));
        assert_eq!(timestamp.highest(), i64::from(u32::MAX) + 381);
    }
}
