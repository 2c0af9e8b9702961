//! An Ogg Opus file (RFC 7845) of packets that were coded elsewhere.
//!
//! Pages are written whole, so that it is valid at every moment; when the program is killed, only the
//! mark of the end is missing, which players do without.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use ogg::{PacketWriteEndInfo, PacketWriter};

/// Frames per second, whatever was captured.
pub(super) const RATE: u32 = 48_000;

/// A decoder that begins in the middle has converged after this (RFC 7845 section 4.6).
pub(super) const PREROLL_FRAMES: u32 = 3_840;

pub(super) struct OggOpusFile {
    pages: PacketWriter<'static, BufWriter<File>>,
    serial: u32,
    pre_skip: u32,
    /// Of all packets, with what is skipped.
    frames: u64,
    bytes: u64,
    /// The last packet; only the next one tells whether it is the last of the file.
    last: Option<Vec<u8>>,
}

impl OggOpusFile {
    /// Begins a file whose first `pre_skip` frames are decoded and not played.
    pub fn new(file: File, pre_skip: u32) -> io::Result<Self> {
        let pages = PacketWriter::new(BufWriter::new(file));
        let serial = crate::random::u64() as u32;
        let mut new = Self { pages, serial, pre_skip, frames: 0, bytes: 0, last: None };
        for header in [head(pre_skip), tags()] {
            new.write(header, PacketWriteEndInfo::EndPage, 0)?;
        }
        new.pages.inner_mut().flush()?;
        Ok(new)
    }

    /// Adds a packet of so many frames; where it begins a page, what came before is safe.
    pub fn append(&mut self, packet: Vec<u8>, frames: u32, begins_page: bool) -> io::Result<()> {
        self.write_last(if begins_page { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket })?;
        if begins_page {
            self.pages.inner_mut().flush()?;
        }
        self.last = Some(packet);
        self.frames += u64::from(frames);
        Ok(())
    }

    /// Ends the file.
    pub fn finish(&mut self) -> io::Result<()> {
        self.write_last(PacketWriteEndInfo::EndStream)?;
        self.pages.inner_mut().flush()
    }

    /// Where the next packet will be heard, in frames from the start of the file.
    pub fn position(&self) -> i64 {
        self.frames as i64 - i64::from(self.pre_skip)
    }

    /// Of the file, up to the present page.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_last(&mut self, end: PacketWriteEndInfo) -> io::Result<()> {
        match self.last.take() {
            Some(packet) => self.write(packet, end, self.frames),
            None => Ok(()),
        }
    }

    fn write(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, position: u64) -> io::Result<()> {
        self.bytes += (packet.len() + packet.len() / 255 + 1) as u64;
        if end != PacketWriteEndInfo::NormalPacket {
            self.bytes += PAGE_HEADER_BYTES;
        }
        self.pages.write_packet(packet, self.serial, end, position)
    }
}

const PAGE_HEADER_BYTES: u64 = 27;

/// The identification header (RFC 7845 section 5.1). Two channels, as RTP has it (RFC 7587 section 7): a
/// stream may change between mono and stereo.
fn head(pre_skip: u32) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.extend((pre_skip as u16).to_le_bytes());
    head.extend(RATE.to_le_bytes());
    head.extend([0; 3]); // no gain, and the mapping of mono or stereo
    head
}

/// The comment header (RFC 7845 section 5.2).
fn tags() -> Vec<u8> {
    let vendor = concat!("audiostreamer ", env!("CARGO_PKG_VERSION"));
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor.as_bytes());
    tags.extend(0_u32.to_le_bytes()); // no comments
    tags
}
