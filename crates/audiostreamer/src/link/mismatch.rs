//! Plain and encrypted ends that meet: a server tells a client of the other kind what is wrong, in
//! the client's own language and in no more bytes than it was asked in.

/// The reason in the BYE (RFC 3550 section 6.6) of a server that takes encrypted sound only.
const REASON: &[u8] = b"encrypted only";

/// The first byte of RTP and RTCP, of version 2 (RFC 7983): never that of QUIC or TLS.
pub fn is_rtp(first_byte: u8) -> bool {
    (128..192).contains(&first_byte)
}

/// Whether a datagram may be QUIC, of which the second bit is always set (RFC 9443).
pub fn is_quic(datagram: &[u8]) -> bool {
    const FIXED_BIT: u8 = 0x40;
    datagram.first().is_some_and(|first| first & FIXED_BIT != 0)
}

/// Of datagrams that the kernel has brought in one piece, `stride` bytes each but for the last, keeps
/// those that may be QUIC, and gives the others to `refuse`. How many bytes are left.
pub fn keep_quic(datagrams: &mut [u8], stride: usize, mut refuse: impl FnMut(&[u8])) -> usize {
    let mut kept = 0;
    let mut start = 0;
    while start < datagrams.len() {
        let end = start.saturating_add(stride.max(1)).min(datagrams.len());
        let datagram = &datagrams[start..end];
        match is_quic(datagram) {
            true => {
                datagrams.copy_within(start..end, kept);
                kept += end - start;
            }
            false => refuse(datagram),
        }
        start = end;
    }
    kept
}

/// What an encrypted server answers to plain RTP, `None` to anything else, or where the answer were longer
/// than what it answers. Such an answer it does not answer, or two servers would talk for ever.
pub fn no_rtp(datagram: &[u8]) -> Option<Vec<u8>> {
    let answer = encrypted_only();
    (is_rtp(*datagram.first()?) && answer.len() <= datagram.len() && answer != datagram).then_some(answer)
}

/// What an encrypted server answers to plain RTP: an empty report, as any compound packet begins,
/// and a BYE with a reason.
pub fn encrypted_only() -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 0];
    packet.extend([0x81, 203, 0, 0, 0, 0, 0, 0, REASON.len() as u8]);
    packet.extend(REASON);
    packet.resize(packet.len().next_multiple_of(4), 0);
    packet[11] = ((packet.len() - 8) / 4 - 1) as u8;
    packet
}

/// Whether a packet is that answer.
pub fn is_encrypted_only(packet: &[u8]) -> bool {
    packet == encrypted_only()
}

/// Whether a TCP connection begins with a TLS handshake (RFC 8446 section 5.1), rather than with
/// the length of a packet: as such it would be 5635 bytes, which no packet of sound has.
pub fn is_tls(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(&[0x16, 3])
}

/// Whether a TCP connection begins with a whole beginning of one (RFC 8446 section 4): enough to tell it
/// from bare samples, which may begin with any two bytes.
pub fn is_client_hello(first_bytes: &[u8]) -> bool {
    const CLIENT_HELLO: u8 = 1;
    is_tls(first_bytes) && first_bytes.get(5) == Some(&CLIENT_HELLO) && first_bytes.get(9) == Some(&3)
}

/// Whether a datagram begins a QUIC connection of version 1 (RFC 9000 section 15): what else looks
/// like QUIC may be samples.
pub fn is_quic_1(datagram: &[u8]) -> bool {
    datagram.get(1..5) == Some(&[0, 0, 0, 1])
}

/// What a plain server answers to that: a fatal alert, that it does not speak this version of TLS
/// (RFC 8446 section 6).
pub const NO_TLS: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 70];

/// What a plain server answers to the first packet of a QUIC connection: that it speaks none of
/// the versions that there are (RFC 9000 section 17.2.1), only one of those that are kept free to
/// be misunderstood. `None` where it is no such packet.
pub fn no_quic(datagram: &[u8]) -> Option<Vec<u8>> {
    /// No client's first datagram is shorter (RFC 9000 section 14.1).
    const FIRST_BYTES_MIN: usize = 1200;
    const GREASE: [u8; 4] = [0x0a; 4];
    let is_long_header = datagram.first().is_some_and(|first| first & 0xc0 == 0xc0);
    if datagram.len() < FIRST_BYTES_MIN || !is_long_header || datagram[1..5] == [0; 4] {
        return None;
    }
    let (to, rest) = connection_id(&datagram[5..])?;
    let (from, _) = connection_id(rest)?;
    let mut packet = vec![0xc0, 0, 0, 0, 0];
    for id in [from, to] {
        packet.push(id.len() as u8);
        packet.extend(id);
    }
    packet.extend(GREASE);
    Some(packet)
}

/// A connection ID, of at most 20 bytes in version 1, and what follows it.
fn connection_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(length.into()).filter(|_| length <= 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiostreamer_core::rtcp;

    #[test]
    fn the_answer_to_plain_rtp_is_a_bye_that_others_understand_too() {
        let answer = encrypted_only();
        let mut byes = 0;
        assert!(rtcp::parse(&answer, |message| byes += u32::from(message == rtcp::Message::Bye { ssrc: 0 })));
        assert_eq!(byes, 1);
        let mut hello = Vec::new();
        let cname = crate::random::cname();
        rtcp::Outgoing { ssrc: 1, cname: &cname, ..rtcp::Outgoing::default() }.write(&mut hello);
        assert!(answer.len() <= hello.len(), "{} bytes for {}", answer.len(), hello.len());
        assert!(is_encrypted_only(&answer) && !is_encrypted_only(&hello));
    }

    #[test]
    fn what_is_no_quic_is_taken_out_from_among_what_is() {
        let (quic, rtp) = ([0x40, 1, 2], [0x80, 3, 4]);
        let mut datagrams = [&quic[..], &rtp, &[0xc0, 5, 6], &rtp, &[0x41]].concat();
        let mut refused = Vec::new();
        let kept = keep_quic(&mut datagrams, 3, |datagram| refused.push(datagram.to_vec()));
        assert_eq!(datagrams[..kept], [0x40, 1, 2, 0xc0, 5, 6, 0x41]);
        assert_eq!(refused, [rtp, rtp]);
    }

    #[test]
    fn samples_are_not_taken_for_a_handshake() {
        assert!(is_client_hello(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]));
        assert!(!is_client_hello(&[0x16, 3, 0x16, 3, 0x17, 3, 0x18, 3, 0x18, 3, 0x19]));
        assert!(is_quic_1(&[0xc3, 0, 0, 0, 1, 8]) && !is_quic_1(&[0xc3, 1, 0xc3, 1, 0xc4, 1]));
    }

    #[test]
    fn the_answer_to_quic_swaps_the_connection_ids() {
        let mut first = vec![0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 2, 9, 9];
        first.resize(1200, 0);
        let answer = no_quic(&first).unwrap();
        assert_eq!(answer, [&[0xc0, 0, 0, 0, 0, 2, 9, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0x0a; 4]].concat());
        assert_eq!(no_quic(&first[..1199]), None, "never more than was asked in");
        first[5] = 255;
        assert_eq!(no_quic(&first), None);
        assert_eq!(no_quic(&[0x80; 1200]), None, "RTP");
        assert_eq!(no_quic(&[]), None);
    }
}
