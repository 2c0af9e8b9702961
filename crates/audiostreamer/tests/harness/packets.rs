//! RTP packets written by hand: good ones for comparison, and all kinds of bad ones.

use super::signal::Random;

/// L16, 44.1 kHz, mono (RFC 3551).
pub const L16_MONO: u8 = 11;

/// A well-formed packet of that payload type.
pub fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Random bytes of any length that a datagram may have.
pub fn random(random: &mut Random) -> Vec<u8> {
    let length = random.below(1500);
    random.bytes(length)
}

/// Beginnings of a good packet, of every length up to the whole.
pub fn truncated() -> Vec<Vec<u8>> {
    let whole = rtp(L16_MONO, 1, 1, 1, &[1; 32]);
    (0..whole.len()).map(|length| whole[..length].to_vec()).collect()
}

/// Packets whose headers lie.
pub fn lying() -> Vec<Vec<u8>> {
    let good = rtp(L16_MONO, 7, 70, 7, &[9; 64]);
    let with_first_byte = |byte: u8| [&[byte], &good[1..]].concat();
    let mut packets: Vec<Vec<u8>> = Vec::new();
    packets.extend([0x00, 0x40, 0xc0].map(with_first_byte)); // versions 0, 1 and 3
    packets.push([&[0x8f], &good[1..16]].concat()); // fifteen sources announced, one there
    packets.push([&[0x90], &good[1..12]].concat()); // an extension announced, nothing there
    packets.push([&[0x90], &good[1..12], &[0xbe, 0xde, 0xff, 0xff, 1, 2, 3, 4]].concat()); // and one of 256 KiB
    packets.push([&[0xa0], &good[1..12], &[0, 0, 0, 255]].concat()); // padding longer than the packet
    packets.push([&[0xa0], &good[1..12], &[0, 0, 0, 0]].concat()); // padding of no length
    packets.push(vec![0x80, 200]); // RTCP: a sender report without a body
    packets.push(vec![0x81, 200, 0xff, 0xff, 0, 0, 0, 1]); // one of 256 KiB
    packets.push(vec![0x9f, 203, 0, 1, 0, 0, 0, 1]); // BYE for 31 sources, one there
    packets
}

/// Well-formed packets of sources of their own that no one could play: times that jump to and fro
/// in a stream that began well, half samples, payloads longer than any frame, unknown types. What
/// of it might be played is silence.
pub fn absurd() -> Vec<Vec<u8>> {
    let times = [0, 220, 440, u32::MAX, 1 << 31, 1, u32::MAX / 3, 12_345, u32::MAX - 1, 0];
    let mut packets: Vec<Vec<u8>> =
        times.iter().zip(0..).map(|(&time, sequence)| rtp(L16_MONO, sequence, time, 0xabad_1dea, &[0; 440])).collect();
    packets.push(rtp(L16_MONO, 1, 1, 2, &[0; 441]));
    packets.push(rtp(L16_MONO, 1, 1, 2, &[0; JUMBO]));
    packets.push(rtp(96, 1, 1, 3, &[0xff; JUMBO]));
    packets.push(rtp(96, 2, 1, 3, &[]));
    packets.push(rtp(96, 3, 1, 3, &[0xff; 3]));
    packets.push(rtp(127, 1, 1, 4, &[1; 100]));
    packets
}

/// About what the longest frames of an Ethernet carry: too long for anything that is played, and
/// not so long that a few of them fill a socket's buffer and push out what is.
const JUMBO: usize = 8_900;

/// A packet as a record of RFC 4571.
pub fn record(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes(), packet].concat()
}
