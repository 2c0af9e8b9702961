//! Packets in a byte stream: a length of 16 bits before each (RFC 4571 section 2).

/// The longest packet that a record can hold.
pub const PACKET_BYTES_MAX: usize = u16::MAX as usize;

/// Appends `packet` with its length to `stream`; one longer than [`PACKET_BYTES_MAX`] is not
/// appended.
pub fn frame(packet: &[u8], stream: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(packet.len()) {
        stream.extend(length.to_be_bytes());
        stream.extend(packet);
    }
}

/// Takes a byte stream apart into packets. Holds at most one unfinished record (64 KiB).
#[derive(Debug, Default)]
pub struct Deframer {
    bytes: Vec<u8>,
    /// Where the next record begins.
    start: usize,
}

impl Deframer {
    /// Takes bytes as they came. Call [`poll_packet`](Self::poll_packet) until it is empty
    /// before the next call, or what is held grows.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend(bytes);
    }

    /// The next whole packet; empty records (a length of zero is a keep-alive) are skipped.
    pub fn poll_packet(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.bytes[self.start..];
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes(*length));
            if rest.len() < length {
                return None;
            }
            let packet = self.start + 2..self.start + 2 + length;
            self.start = packet.end;
            if length > 0 {
                return Some(&self.bytes[packet]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(deframer: &mut Deframer) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| deframer.poll_packet().map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn packets_come_out_whole_however_the_stream_is_cut() {
        let packets: Vec<Vec<u8>> = vec![vec![1; 3], vec![2; 500], vec![3], vec![4; PACKET_BYTES_MAX]];
        let mut stream = Vec::new();
        packets.iter().for_each(|packet| frame(packet, &mut stream));
        for cut in [1, 2, 3, 7, 1000, stream.len()] {
            let mut deframer = Deframer::default();
            let mut out = Vec::new();
            for bytes in stream.chunks(cut) {
                deframer.handle_bytes(bytes);
                out.extend(drain(&mut deframer));
            }
            assert_eq!(out, packets, "cut into pieces of {cut}");
        }
    }

    #[test]
    fn empty_records_are_skipped() {
        let mut deframer = Deframer::default();
        deframer.handle_bytes(&[0, 0, 0, 0, 0, 1, 42, 0, 0]);
        assert_eq!(drain(&mut deframer), [[42]]);
    }

    #[test]
    fn an_endless_record_is_held_only_up_to_its_length() {
        let mut deframer = Deframer::default();
        deframer.handle_bytes(&[0xff, 0xff]);
        for _ in 0..100 {
            deframer.handle_bytes(&[0; 1000]);
            drain(&mut deframer);
            assert!(deframer.bytes.len() <= PACKET_BYTES_MAX + 1000 + 2);
        }
    }

    #[test]
    fn a_packet_too_long_for_a_record_is_not_written() {
        let mut stream = Vec::new();
        frame(&vec![0; PACKET_BYTES_MAX + 1], &mut stream);
        assert!(stream.is_empty());
    }
}
