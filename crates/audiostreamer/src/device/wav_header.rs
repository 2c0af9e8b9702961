//! The header of the WAV that we write.
//!
//! A file's header has room for the 64-bit sizes of RF64 (EBU Tech 3306) from the start, hidden
//! in a `JUNK` chunk that readers skip. So the header keeps its length when the file outgrows
//! 4 GiB, and is replaced in one piece.

use audiostreamer_core::Encoding;

use super::pcm_format::PcmFormat;

/// The header of a file that holds `data` bytes of samples so far. Its length depends on
/// `format` alone.
pub fn of_file(format: &PcmFormat, data: u64) -> Vec<u8> {
    let fmt = fmt_chunks(format, data);
    let riff = WAVE_ID + DS64_CHUNK + fmt.len() as u64 + CHUNK_HEAD + padded(data);
    let mut header = Vec::with_capacity(128);
    match (u32::try_from(riff), u32::try_from(data)) {
        (Ok(riff), Ok(data)) => {
            begin(&mut header, b"RIFF", riff);
            chunk(&mut header, b"JUNK", &[0; DS64_BYTES]);
            header.extend(fmt);
            begin_data(&mut header, data);
        }
        _ => {
            begin(&mut header, b"RF64", UNKNOWN);
            chunk(&mut header, b"ds64", &ds64(riff, data, data / format.frame_bytes() as u64));
            header.extend(fmt);
            begin_data(&mut header, UNKNOWN);
        }
    }
    header
}

/// The header of a stream that can't be gone back to: its sizes say "until the end", as those of
/// ffmpeg and sox do.
pub fn of_stream(format: &PcmFormat) -> Vec<u8> {
    let mut header = Vec::with_capacity(128);
    begin(&mut header, b"RIFF", UNKNOWN);
    header.extend(fmt_chunks(format, UNKNOWN.into()));
    begin_data(&mut header, UNKNOWN);
    header
}

/// `data` and the byte that makes its length even.
pub fn padded(data: u64) -> u64 {
    data.next_multiple_of(2)
}

fn begin(header: &mut Vec<u8>, id: &[u8; 4], size: u32) {
    header.extend(id);
    header.extend(size.to_le_bytes());
    header.extend(b"WAVE");
}

fn begin_data(header: &mut Vec<u8>, size: u32) {
    header.extend(b"data");
    header.extend(size.to_le_bytes());
}

fn chunk(header: &mut Vec<u8>, id: &[u8; 4], body: &[u8]) {
    header.extend(id);
    header.extend((body.len() as u32).to_le_bytes());
    header.extend(body);
}

fn ds64(riff: u64, data: u64, frames: u64) -> [u8; DS64_BYTES] {
    let mut body = [0; DS64_BYTES]; // ends with the length of an empty table
    body[..8].copy_from_slice(&riff.to_le_bytes());
    body[8..16].copy_from_slice(&data.to_le_bytes());
    body[16..24].copy_from_slice(&frames.to_le_bytes());
    body
}

/// `fmt `, and `fact`, which every encoding but plain integers has to have.
///
/// Up to two channels have the plain form, also with 24 and 32 bits: it is read by more
/// programs than WAVE_FORMAT_EXTENSIBLE, which only more channels really need.
fn fmt_chunks(format: &PcmFormat, data: u64) -> Vec<u8> {
    let mut chunks = Vec::new();
    let float = matches!(format.encoding, Encoding::F32Le | Encoding::F32Be);
    let tag = if float { FLOAT } else { INTEGER };
    match (format.channels, float) {
        (1..=2, false) => chunk(&mut chunks, b"fmt ", &fmt(format, tag)),
        (1..=2, true) => {
            let no_more = 0_u16.to_le_bytes();
            chunk(&mut chunks, b"fmt ", &[&fmt(format, tag)[..], &no_more].concat());
        }
        _ => chunk(&mut chunks, b"fmt ", &extensible(format, tag)),
    }
    if float {
        let frames = data / format.frame_bytes() as u64;
        let frames = u32::try_from(frames).unwrap_or(UNKNOWN);
        chunk(&mut chunks, b"fact", &frames.to_le_bytes());
    }
    chunks
}

fn fmt(format: &PcmFormat, tag: u16) -> Vec<u8> {
    let mut body = Vec::with_capacity(40);
    body.extend(tag.to_le_bytes());
    body.extend(format.channels.to_le_bytes());
    body.extend(format.rate.to_le_bytes());
    body.extend((format.byte_rate() as u32).to_le_bytes());
    body.extend((format.frame_bytes() as u16).to_le_bytes());
    body.extend((format.encoding.bytes() as u16 * 8).to_le_bytes());
    body
}

fn extensible(format: &PcmFormat, tag: u16) -> Vec<u8> {
    let mut body = fmt(format, EXTENSIBLE);
    body.extend(22_u16.to_le_bytes()); // bytes that follow
    body.extend((format.encoding.bytes() as u16 * 8).to_le_bytes());
    body.extend(0_u32.to_le_bytes()); // the channels have no known places in the room
    body.extend(tag.to_le_bytes());
    body.extend(SUBFORMAT);
    body
}

pub(super) const INTEGER: u16 = 1;
pub(super) const FLOAT: u16 = 3;
pub(super) const EXTENSIBLE: u16 = 0xFFFE;
/// What follows the tag in the GUID of an extensible format.
pub(super) const SUBFORMAT: [u8; 14] = *b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xAA\x00\x38\x9B\x71";
/// In place of a size that is given elsewhere, or not known.
pub(super) const UNKNOWN: u32 = u32::MAX;

const WAVE_ID: u64 = 4;
const CHUNK_HEAD: u64 = 8;
const DS64_BYTES: usize = 28;
const DS64_CHUNK: u64 = CHUNK_HEAD + DS64_BYTES as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::wav_read::{self, Length};

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["u8,8000,1", "s16le,44100,1", "s24le,48000,2", "f32le,48000,2", "s24le,1000,6"] {
            let format: PcmFormat = text.parse().unwrap();
            for data in [6, 300_000, 5 << 30] {
                let header = of_file(&format, data);
                let wav = wav_read::header(&mut &header[..]).unwrap();
                assert_eq!((wav.format, wav.data), (format, Length::Bytes(data)), "{text} {data}");
            }
            let wav = wav_read::header(&mut &of_stream(&format)[..]).unwrap();
            assert_eq!((wav.format, wav.data), (format, Length::UntilEnd), "{text}");
        }
    }

    #[test]
    fn the_header_of_a_file_never_changes_its_length() {
        let format: PcmFormat = "f32le,48000,8".parse().unwrap();
        let lengths = [0, 1 << 20, u64::from(u32::MAX), 1 << 40].map(|n| of_file(&format, n).len());
        assert_eq!(lengths, [lengths[0]; 4]);
    }

    #[test]
    fn sizes_count_what_follows_them() {
        let format: PcmFormat = "s24le,48000,1".parse().unwrap();
        let header = of_file(&format, 9);
        let riff = u32::from_le_bytes(header[4..8].try_into().unwrap());
        assert_eq!(u64::from(riff) + 8, header.len() as u64 + padded(9));
        assert_eq!(header[header.len() - 4..], 9_u32.to_le_bytes());
    }

    #[test]
    fn a_plain_stream_has_the_header_of_44_bytes_that_everyone_knows() {
        let header = of_stream(&"s16le,44100,2".parse().unwrap());
        assert_eq!(header.len(), 44);
        assert_eq!(&header[36..40], b"data");
    }
}
