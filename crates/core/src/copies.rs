//! Copies: the sound once more, in fewer bits, for where a packet is lost.
//!
//! They are coded by Opus beside whatever codes the packets, in frames of their own length, and ride
//! in later packets ([`red`]). A copy's time is where its *decoded* sound belongs among
//! the decoded sound of the packets: what the two codecs hold back is settled here.
//!
//! [`red`]: mod@crate::red

use std::collections::VecDeque;
use std::time::Duration;

use crate::codec::opus;
use crate::red::{self, Block};
use crate::{Codec, Error, Format, MediaTime, PayloadTypes, duration_of};

/// How copies are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Frames in one, at least as many as a packet has: 480 or 960.
    pub frames: usize,
    /// As of any Opus stream.
    pub opus: opus::Settings,
}

impl Settings {
    /// What each copy takes, bits per second with its header (RFC 2198).
    pub fn bps(&self) -> f64 {
        f64::from(self.opus.bitrate_bps) + Self::headers_bps(self.frames)
    }

    pub(crate) fn headers_bps(frames: usize) -> f64 {
        (8 * crate::red::HEADER_BYTES) as f64 * f64::from(Format::OPUS.rate) / frames as f64
    }
}

/// One copy, coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied<'a> {
    /// Of its first frame when it is decoded, where the packets' decoded sound has it.
    pub time: MediaTime,
    /// Its code.
    pub payload: &'a [u8],
}

/// Whether a stream of that format can have copies: they run at Opus' rate, and in stereo at most.
pub(crate) fn are_possible(format: Format) -> bool {
    format.rate == Format::OPUS.rate && format.channels <= Format::OPUS.channels
}

/// From the first of a copy's sound to the packet of its last, at the usual length of copies beside that
/// format: a copy can ride no earlier.
pub(crate) fn held(format: Format) -> Duration {
    let frames = match format.codec {
        Codec::Pcm(_) => 480,
        Codec::Opus => 960,
    };
    duration_of(frames, format.rate) + LOOKAHEAD
}

/// By how much longer than PCM Opus holds the sound back, about.
pub(crate) const LOOKAHEAD: Duration = Duration::from_micros(2_500);

/// Codes copies of what it is given.
#[derive(Clone)]
pub(crate) struct Copier {
    settings: Settings,
    encoder: opus::Encoder,
    channels: usize,
    /// By how much longer the copies' codec holds the sound back than the packets'.
    behind: i64,
    waiting: Vec<f32>,
    /// Where what waits begins.
    start: MediaTime,
    payload: Vec<u8>,
}

impl Copier {
    /// Beside a codec that holds the sound back by so many frames.
    pub fn new(settings: Settings, channels: usize, lookahead_frames: u32) -> Result<Self, Error> {
        let mut encoder = opus::Encoder::new(channels as u8, settings.opus)?;
        let behind = i64::from(encoder.lookahead_frames()) - i64::from(lookahead_frames);
        let (waiting, start, payload) = (Vec::new(), MediaTime(0), Vec::new());
        Ok(Self { settings, encoder, channels, behind, waiting, start, payload })
    }

    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Takes what one packet holds, no more frames than a copy has; returns the copy that is complete
    /// with it. A frame that the codec refuses is left out.
    pub fn code(&mut self, time: MediaTime, samples: &[f32]) -> Option<Copied<'_>> {
        if self.start + (self.waiting.len() / self.channels) as i64 != time {
            self.waiting.clear();
            self.start = time;
        }
        self.waiting.extend(samples);
        let wanted = self.settings.frames * self.channels;
        if self.waiting.len() < wanted {
            return None;
        }
        let coded = self.encoder.encode(&self.waiting[..wanted], &mut self.payload);
        let time = self.start - self.behind;
        self.waiting.drain(..wanted);
        self.start = self.start + self.settings.frames as i64;
        coded.ok()?;
        Some(Copied { time, payload: &self.payload })
    }
}

/// The most copies of one frame.
pub const COPIES_MAX: usize = 3;

/// Copies on their way: each is sent as often as there are offsets, in the first packet that begins
/// so many frames after it, or the next that has room.
#[derive(Default)]
pub(crate) struct Copies {
    kept: VecDeque<Kept>,
    spare: Vec<Vec<u8>>,
}

struct Kept {
    time: MediaTime,
    payload: Vec<u8>,
    sent: usize,
}

impl Copies {
    pub fn push(&mut self, copied: &Copied<'_>) {
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend(copied.payload);
        self.kept.push_back(Kept { time: copied.time, payload, sent: 0 });
    }

    /// Writes the payload of the packet that begins at `time` with the copies that are due, and no
    /// longer than `bytes_max`; returns how many bytes that is more, zero where none is.
    pub fn write(
        &mut self,
        time: MediaTime,
        offsets: &[i64],
        (payload_type, payload): (u8, &[u8]),
        bytes_max: usize,
        bytes: &mut Vec<u8>,
    ) -> usize {
        self.forget(time, offsets);
        let mut room = bytes_max.saturating_sub(payload.len() + 1);
        let mut blocks = [Block { payload_type: 0, offset: 0, payload: &[] }; BLOCKS_MAX];
        let mut count = 0;
        for kept in &mut self.kept {
            let due = offsets.get(kept.sent).is_some_and(|&offset| time.frames_since(kept.time) >= offset);
            let length = kept.payload.len() + red::HEADER_BYTES;
            if due && count < BLOCKS_MAX && length <= room {
                let offset = time.frames_since(kept.time) as u32;
                blocks[count] = Block { payload_type: PayloadTypes::COPY, offset, payload: &kept.payload };
                kept.sent += 1;
                room -= length;
                count += 1;
            }
        }
        if count == 0 {
            return 0;
        }
        red::write(&blocks[..count], payload_type, payload, bytes);
        bytes.len() - payload.len()
    }

    /// Lets go of what was sent often enough, or is too old to be said.
    fn forget(&mut self, time: MediaTime, offsets: &[i64]) {
        let gone = |kept: &Kept| {
            let ago = time.frames_since(kept.time);
            kept.sent >= offsets.len() || !(0..=i64::from(red::OFFSET_MAX)).contains(&ago)
        };
        while self.kept.front().is_some_and(gone) {
            self.spare.extend(self.kept.pop_front().map(|kept| kept.payload));
        }
        self.spare.truncate(SPARE_MAX);
    }
}

/// In one packet; after a packet without room several are due at once.
const BLOCKS_MAX: usize = 6;

const SPARE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::opus::Application;
    use crate::red::Red;

    const MUSIC: Settings =
        Settings { frames: 480, opus: opus::Settings { application: Application::Music, bitrate_bps: 64_000 } };

    #[test]
    fn a_copy_lies_where_its_sound_does() {
        let mut copier = Copier::new(MUSIC, 2, 0).unwrap();
        assert_eq!(copier.code(MediaTime(240), &[0.0; 480]), None);
        assert_eq!(copier.code(MediaTime(480), &[0.0; 480]).unwrap().time, MediaTime(240 - 120), "2.5 ms behind PCM");
        let mut beside_opus = Copier::new(MUSIC, 2, 120).unwrap();
        beside_opus.code(MediaTime(0), &[0.0; 480]);
        assert_eq!(beside_opus.code(MediaTime(240), &[0.0; 480]).unwrap().time, MediaTime(0));
        // After a gap it begins anew.
        copier.code(MediaTime(720), &[0.0; 480]);
        assert_eq!(copier.code(MediaTime(1440), &[0.0; 480]), None);
        assert_eq!(copier.code(MediaTime(1680), &[0.0; 480]).unwrap().time, MediaTime(1320));
    }

    /// The times of the copies in the packet at `time`.
    fn sent(copies: &mut Copies, time: i64, bytes_max: usize) -> Vec<i64> {
        let mut bytes = Vec::new();
        copies.write(MediaTime(time), &[480, 1200], (97, &[0; 100]), bytes_max, &mut bytes);
        let Some(red) = Red::parse(&bytes) else { return Vec::new() };
        assert_eq!((red.payload_type, red.payload.len()), (97, 100));
        red.blocks().map(|block| time - i64::from(block.offset)).collect()
    }

    #[test]
    fn each_copy_rides_once_at_each_offset() {
        let mut copies = Copies::default();
        let mut rides = Vec::new();
        for time in (0..4800).step_by(240) {
            if time % 480 == 240 {
                copies.push(&Copied { time: MediaTime(time - 240), payload: b"copy" });
            }
            rides.extend(sent(&mut copies, time, 1000).into_iter().map(|copy| (copy, time - copy)));
        }
        rides.retain(|(copy, _)| (480..2400).contains(copy));
        rides.sort_unstable();
        assert_eq!(rides.len(), 8);
        assert!(rides.chunks(2).all(|pair| (pair[0].1, pair[1].1) == (480, 1200)), "{rides:?}");
        assert!(copies.kept.len() < 5);
    }

    #[test]
    fn what_has_no_room_rides_in_the_next() {
        let mut copies = Copies::default();
        copies.push(&Copied { time: MediaTime(0), payload: &[0; 80] });
        assert!(sent(&mut copies, 480, 180).is_empty());
        assert_eq!(sent(&mut copies, 720, 185), [0]);
    }
}
