//! The header of WAV that others write, also in a pipe.

use std::io::{self, Read};

use audiostreamer_core::Encoding;

use super::pcm_format::PcmFormat;
use super::wav_header::{EXTENSIBLE, FLOAT, INTEGER, SUBFORMAT, UNKNOWN};

/// What the header of uncompressed WAV says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wav {
    pub format: PcmFormat,
    pub data: Length,
}

/// How much sound follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes, unless the file is cut off.
    Bytes(u64),
    /// All that comes: the writer did not know.
    UntilEnd,
}

/// Why WAV can't be played by what is here.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// It is fine, but holds a codec or a sample size that a full decoder may know.
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Damaged(&'static str),
    #[error("its header is cut off")]
    CutOff,
    #[error("{0}")]
    Io(io::Error),
}

/// Enough bytes for [`is_wav`].
pub const MAGIC_BYTES: usize = 12;

/// Whether a file that begins like this is WAV.
pub fn is_wav(begin: &[u8]) -> bool {
    begin.len() >= MAGIC_BYTES && matches!(&begin[..4], b"RIFF" | b"RF64") && &begin[8..MAGIC_BYTES] == b"WAVE"
}

/// Reads up to the first sample.
///
/// `input` must begin as [`is_wav`] wants it. A size of 0 or 2^32-1, from a writer that could not
/// go back, is taken as "until the end".
pub fn header(input: &mut impl Read) -> Result<Wav, WavError> {
    let mut input = Position { input, bytes: 0 };
    let [_, _, _, _, a, b, c, d, ..] = input.array::<MAGIC_BYTES>()?;
    let riff_end = u64::from(u32::from_le_bytes([a, b, c, d])) + CHUNK_HEAD;
    let mut format = None;
    let mut size_64 = None;
    loop {
        let id = input.array::<4>()?;
        let size = u32::from_le_bytes(input.array()?);
        match &id {
            b"fmt " => format = Some(fmt(&input.body(size)?)?),
            b"ds64" => size_64 = input.body(size)?.get(8..16).map(u64_le),
            b"data" => {
                let format = format.ok_or(WavError::Damaged("no format stands before its data"))?;
                let data = length(size, size_64, riff_end <= input.bytes);
                return Ok(Wav { format, data });
            }
            _ => input.skip(padded(size))?,
        }
    }
}

/// `last`: by the header's own account nothing comes after the data chunk's size.
fn length(size: u32, size_64: Option<u64>, last: bool) -> Length {
    match (size, size_64) {
        (UNKNOWN, Some(size)) => Length::Bytes(size),
        (UNKNOWN, None) => Length::UntilEnd,
        (0, _) if last => Length::UntilEnd,
        (size, _) => Length::Bytes(size.into()),
    }
}

fn fmt(body: &[u8]) -> Result<PcmFormat, WavError> {
    if body.len() < 16 {
        return Err(WavError::Damaged("its format is too short"));
    }
    let u16_at = |at: usize| u16::from_le_bytes([body[at], body[at + 1]]);
    let (channels, align, bits) = (u16_at(2), u16_at(12), u16_at(14));
    let rate = u32::from_le_bytes([body[4], body[5], body[6], body[7]]);
    let tag = match u16_at(0) {
        EXTENSIBLE if body.get(26..40) == Some(&SUBFORMAT) => u16_at(24),
        tag => tag,
    };
    let encoding = match (tag, bits) {
        (INTEGER, 8) => Encoding::U8,
        (INTEGER, 16) => Encoding::S16Le,
        (INTEGER, 24) => Encoding::S24Le,
        (INTEGER, 32) => Encoding::S32Le,
        (FLOAT, 32) => Encoding::F32Le,
        _ => {
            return Err(WavError::Unsupported(format!("format {tag:#06x} with {bits} bits")));
        }
    };
    let format = PcmFormat::new(encoding, rate, channels).map_err(|error| WavError::Unsupported(error.to_string()))?;
    if usize::from(align) != format.frame_bytes() {
        return Err(WavError::Unsupported(format!("{align} bytes a frame with {bits} bits")));
    }
    Ok(format)
}

/// An input that knows how much of it has been read.
struct Position<'a, R> {
    input: &'a mut R,
    bytes: u64,
}

impl<R: Read> Position<'_, R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WavError> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.bytes += N as u64;
        Ok(bytes)
    }

    fn body(&mut self, size: u32) -> Result<Vec<u8>, WavError> {
        if size > LARGEST_FORMAT {
            return Err(WavError::Damaged("its format is too long"));
        }
        let mut body = vec![0; padded(size) as usize];
        self.input.read_exact(&mut body)?;
        self.bytes += padded(size);
        Ok(body)
    }

    fn skip(&mut self, size: u64) -> Result<(), WavError> {
        let skipped = io::copy(&mut self.input.by_ref().take(size), &mut io::sink())?;
        self.bytes += skipped;
        if skipped < size { Err(WavError::CutOff) } else { Ok(()) }
    }
}

impl From<io::Error> for WavError {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Io(cause),
        }
    }
}

fn u64_le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn padded(size: u32) -> u64 {
    super::wav_header::padded(size.into())
}

const CHUNK_HEAD: u64 = 8;
/// Compressed WAV has some tens of bytes; far more is no format.
const LARGEST_FORMAT: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_chunks_are_skipped() {
        let wav = [&riff(100)[..], &chunk(b"LIST", b"odd"), &FMT, b"data\x08\0\0\0"].concat();
        let wav = header(&mut &wav[..]).unwrap();
        assert_eq!(wav.format.to_string(), "s16le,44100,2");
        assert_eq!(wav.data, Length::Bytes(8));
    }

    #[test]
    fn a_writer_that_could_not_go_back_means_until_the_end() {
        // as written to a pipe by ffmpeg, by GStreamer, and by a recorder that was killed
        for (riff_size, data_size) in [(UNKNOWN, UNKNOWN), (36, 0), (0, 0)] {
            let data = [&b"data"[..], &data_size.to_le_bytes()].concat();
            let wav = [&riff(riff_size)[..], &FMT, &data].concat();
            assert_eq!(header(&mut &wav[..]).unwrap().data, Length::UntilEnd);
        }
    }

    #[test]
    fn no_sound_before_other_chunks_is_no_sound() {
        let wav = [&riff(100)[..], &FMT, b"data\0\0\0\0LIST"].concat();
        assert_eq!(header(&mut &wav[..]).unwrap().data, Length::Bytes(0));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = |wav: &[u8]| header(&mut &wav[..]).unwrap_err().to_string();
        assert_eq!(error(&riff(100)), "its header is cut off");
        assert_eq!(error(&[&riff(100)[..], b"fmt \xFF\xFF\0\0"].concat()), "its format is too long");
        let no_format = [&riff(100)[..], b"data\0\0\0\0"].concat();
        assert_eq!(error(&no_format), "no format stands before its data");
        let mut adpcm = FMT;
        adpcm[8] = 2;
        assert_eq!(error(&[&riff(100)[..], &adpcm].concat()), "format 0x0002 with 16 bits");
    }

    fn riff(size: u32) -> Vec<u8> {
        [&b"RIFF"[..], &size.to_le_bytes(), b"WAVE"].concat()
    }

    fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let pad = &[0][..body.len() % 2];
        [id, &(body.len() as u32).to_le_bytes()[..], body, pad].concat()
    }

    const FMT: [u8; 24] = *b"fmt \x10\0\0\0\x01\0\x02\0\x44\xAC\0\0\x10\xB1\x02\0\x04\0\x10\0";
}
