//! Redundant audio data (RFC 2198): earlier sound, coded once more, beside a packet's own.
//!
//! A block of it has a payload type and a time of its own, so what rides along need not be coded as
//! the packet is, nor be as long.

/// Frames that a block may lie before its packet's first: its offset has 14 bits.
pub const OFFSET_MAX: u32 = (1 << 14) - 1;

/// Bytes that a block may have: its length has 10 bits.
pub const BLOCK_BYTES_MAX: usize = (1 << 10) - 1;

/// Bytes of the header of a block, and of that of the packet's own sound.
pub const HEADER_BYTES: usize = 4;
const LAST_HEADER_BYTES: usize = 1;

/// Blocks that are looked at; nobody sends more.
const BLOCKS_MAX: usize = 8;

/// Earlier sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// The 7 bits that stand for a format.
    pub payload_type: u8,
    /// Frames of the packet's format by which it lies before the packet's first.
    pub offset: u32,
    /// Coded sound.
    pub payload: &'a [u8],
}

/// The payload of a packet with redundancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Red<'a> {
    /// Payload type of the packet's own sound.
    pub payload_type: u8,
    /// The packet's own sound.
    pub payload: &'a [u8],
    headers: &'a [u8],
    blocks: &'a [u8],
}

impl<'a> Red<'a> {
    /// Any bytes; `None` where they are not of this form, or say more than they hold.
    pub fn parse(bytes: &'a [u8]) -> Option<Red<'a>> {
        let is_block = |at: usize| bytes.get(at).map(|byte| byte & 0x80 != 0);
        let (mut end, mut length) = (0, 0);
        while is_block(end)? {
            let header: [u8; HEADER_BYTES] = bytes.get(end..end + HEADER_BYTES)?.try_into().ok()?;
            length += block_bytes(header);
            end += HEADER_BYTES;
            if end > BLOCKS_MAX * HEADER_BYTES {
                return None;
            }
        }
        let (headers, rest) = bytes.split_at(end);
        let (last, sound) = rest.split_at(LAST_HEADER_BYTES);
        let (blocks, payload) = sound.split_at_checked(length)?;
        Some(Red { payload_type: last[0] & 0x7f, payload, headers, blocks })
    }

    /// The earlier sound, in the order of the packet.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut rest = self.blocks;
        self.headers.as_chunks::<HEADER_BYTES>().0.iter().filter_map(move |&header| {
            let (payload, after) = rest.split_at_checked(block_bytes(header))?;
            rest = after;
            let offset = u32::from_be_bytes(header) >> 10 & OFFSET_MAX;
            Some(Block { payload_type: header[0] & 0x7f, offset, payload })
        })
    }
}

fn block_bytes(header: [u8; HEADER_BYTES]) -> usize {
    u32::from_be_bytes(header) as usize & BLOCK_BYTES_MAX
}

/// Replaces `bytes` by a payload of these blocks and of `payload`, the packet's own sound. What has
/// no room in the fields of a header is left out.
pub fn write(blocks: &[Block<'_>], payload_type: u8, payload: &[u8], bytes: &mut Vec<u8>) {
    let fits = |block: &&Block<'_>| block.offset <= OFFSET_MAX && block.payload.len() <= BLOCK_BYTES_MAX;
    let blocks = || blocks.iter().filter(fits);
    bytes.clear();
    for block in blocks() {
        let header =
            1 << 31 | u32::from(block.payload_type & 0x7f) << 24 | block.offset << 10 | block.payload.len() as u32;
        bytes.extend(header.to_be_bytes());
    }
    bytes.push(payload_type & 0x7f);
    blocks().for_each(|block| bytes.extend(block.payload));
    bytes.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_was_written() {
        let blocks = [
            Block { payload_type: 96, offset: OFFSET_MAX, payload: b"long ago" },
            Block { payload_type: 5, offset: 0, payload: b"" },
        ];
        let mut bytes = Vec::new();
        write(&blocks, 97, b"sound", &mut bytes);
        assert_eq!(bytes.len(), 2 * HEADER_BYTES + 1 + 8 + 5);
        assert_eq!(bytes[..4], [0x80 | 96, 0xff, 0xfc, 8], "RFC 2198 section 3");
        let red = Red::parse(&bytes).unwrap();
        assert_eq!((red.payload_type, red.payload), (97, &b"sound"[..]));
        assert_eq!(red.blocks().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn what_says_more_than_it_holds_is_none() {
        assert_eq!(Red::parse(&[]), None);
        assert_eq!(Red::parse(&[0x80 | 96, 0, 0, 4]), None, "no last header");
        assert_eq!(Red::parse(&[0x80 | 96, 0, 0, 4, 97, 1, 2, 3]), None, "a block of four bytes");
        assert_eq!(Red::parse(&[0xff; 200]), None, "fifty blocks");
        assert!(Red::parse(&[97]).unwrap().payload.is_empty());
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let long = [0; BLOCK_BYTES_MAX + 1];
        let blocks = [
            Block { payload_type: 96, offset: 0, payload: &long },
            Block { payload_type: 96, offset: OFFSET_MAX + 1, payload: b"" },
        ];
        let mut bytes = Vec::new();
        write(&blocks, 97, b"sound", &mut bytes);
        assert_eq!(Red::parse(&bytes).unwrap().blocks().count(), 0);
    }
}
