//! Opus packets into Ogg Opus files, as they came and in the order in which they were sent.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use audiostreamer_core::{Instant, MediaTime};

use super::labels::Labels;
use super::ogg_opus::{OggOpusFile, PREROLL_FRAMES, RATE};
use super::parts::{Parts, Split};
use super::{FileError, News, PATIENCE};
use crate::clock;
use crate::device::decode;

/// A packet with its place in media time.
#[derive(Debug)]
pub(crate) struct Packet {
    pub time: MediaTime,
    pub frames: u32,
    /// When it came, or was made.
    pub at: Instant,
    pub payload: Vec<u8>,
}

/// The end of a recording that one run of packets goes into; dropping it ends the file.
#[derive(Debug)]
pub(crate) struct PacketRecorder(SyncSender<Packet>);

impl PacketRecorder {
    /// Takes a packet; never waits. What finds no room because the disk is too slow is missing, as what
    /// was lost on the way.
    pub fn record(&self, packet: Packet) {
        let _ = self.0.try_send(packet);
    }
}

/// One run of packets.
#[derive(Debug)]
pub(super) struct Run {
    packets: Receiver<Packet>,
    whose: Option<String>,
}

/// Both ends of a run of what `whose` sends.
pub(super) fn run(whose: Option<String>) -> (PacketRecorder, Run) {
    let (sender, packets) = sync_channel((PATIENCE.as_micros() / SHORTEST.as_micros()) as usize);
    (PacketRecorder(sender), Run { packets, whose })
}

/// The shortest packet of Opus.
const SHORTEST: Duration = Duration::from_micros(2_500);

/// What was lost may still come when it is asked for once more; so long a packet waits for those
/// before it.
const HOLD: Duration = Duration::from_secs(1);

/// Writes one run.
pub(super) struct RunWriter {
    run: Run,
    split: Option<Split>,
    waiting: BTreeMap<MediaTime, Packet>,
    part: Option<Part>,
    /// Media time of what follows what is written.
    next: MediaTime,
    /// The last packets that were written, from which a decoder begins the next file.
    recent: VecDeque<(Vec<u8>, u32)>,
}

struct Part {
    path: PathBuf,
    file: OggOpusFile,
    labels: Labels,
}

impl RunWriter {
    pub fn new(run: Run, split: Option<Split>) -> Self {
        let (waiting, recent) = (BTreeMap::new(), VecDeque::new());
        Self { run, split, waiting, part: None, next: MediaTime(0), recent }
    }

    /// Writes what waits for nothing any more. Returns whether there may be more to come.
    pub fn write(&mut self, parts: &mut Parts, tell: &impl Fn(News), ending: bool) -> Result<bool, FileError> {
        let ended = loop {
            match self.run.packets.try_recv() {
                Ok(packet) => drop(self.waiting.insert(packet.time, packet)),
                Err(TryRecvError::Empty) => break ending,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        let now = clock::now();
        let mut begins_page = true;
        while let Some(first) = self.waiting.first_entry()
            && (ended || now - first.get().at >= HOLD || first.get().time == self.next)
        {
            let packet = first.remove();
            self.append(packet, begins_page, parts, tell)?;
            begins_page = false;
        }
        if ended && let Some(mut part) = self.part.take() {
            part.written(|file| file.finish())?;
        }
        Ok(!ended)
    }

    fn append(
        &mut self,
        packet: Packet,
        begins_page: bool,
        parts: &mut Parts,
        tell: &impl Fn(News),
    ) -> Result<(), FileError> {
        let Packet { time, frames, payload, .. } = packet;
        if self.part.is_none() {
            self.next = time;
            self.begin_part(pre_skip(&payload), parts, tell)?;
        }
        let gap = time.frames_since(self.next);
        if gap < 0 {
            return Ok(()); // came when its place had been filled
        }
        self.fill(gap, &payload)?;
        if self.part.as_ref().is_some_and(|part| self.split.is_some_and(|split| part.is_full(split))) {
            self.begin_next_part(parts, tell)?;
        }
        self.add(payload, frames, begins_page)
    }

    /// Packets that ask a decoder to make something up (RFC 7845 section 4.1): in the mode of the one
    /// that follows, as many as fill the gap to less than 2.5 ms.
    fn fill(&mut self, gap: i64, following: &[u8]) -> Result<(), FileError> {
        let begin = self.part.as_ref().map_or(0, |part| part.file.position());
        let table = following.first().copied().unwrap_or_default() & !CODE;
        let mut left = gap as u64;
        for (table, frame) in [(table, frame_frames(table)), (SHORTEST_TABLE, frame_frames(SHORTEST_TABLE))] {
            let mut count = left / u64::from(frame);
            left %= u64::from(frame);
            while count > 0 {
                let together = count.min(u64::from(PACKET_FRAMES_MAX / frame));
                // So many frames of one length, which is none (RFC 6716 section 3.2.5).
                self.add(vec![table | CODE, together as u8], together as u32 * frame, false)?;
                count -= together;
            }
        }
        let Some(part) = self.part.as_mut().filter(|part| part.file.position() > begin) else { return Ok(()) };
        let millis = gap as f64 * 1e3 / f64::from(RATE);
        part.labels.add(seconds(begin), seconds(part.file.position()), format_args!("lost, {millis:.0} ms"))
    }

    fn add(&mut self, payload: Vec<u8>, frames: u32, begins_page: bool) -> Result<(), FileError> {
        self.next = self.next + i64::from(frames);
        self.recent.push_back((payload.clone(), frames));
        let mut recent: u32 = self.recent.iter().map(|(_, frames)| frames).sum();
        while recent - self.recent[0].1 >= PREROLL_FRAMES {
            recent -= self.recent.pop_front().map_or(0, |(_, frames)| frames);
        }
        match &mut self.part {
            Some(part) => part.written(|file| file.append(payload, frames, begins_page)),
            None => Ok(()),
        }
    }

    /// Goes on in another file, which begins with what a decoder needs to know of the sound before.
    fn begin_next_part(&mut self, parts: &mut Parts, tell: &impl Fn(News)) -> Result<(), FileError> {
        if let Some(mut part) = self.part.take() {
            part.written(|file| file.finish())?;
        }
        let recent: u32 = self.recent.iter().map(|(_, frames)| frames).sum();
        self.begin_part(recent, parts, tell)?;
        for (payload, frames) in self.recent.clone() {
            if let Some(part) = &mut self.part {
                part.written(|file| file.append(payload, frames, false))?;
            }
        }
        Ok(())
    }

    fn begin_part(&mut self, pre_skip: u32, parts: &mut Parts, tell: &impl Fn(News)) -> Result<(), FileError> {
        let (path, file) = parts.next()?;
        let failed = |cause| FileError::Write { name: decode::name(&path), cause };
        let file = OggOpusFile::new(file, pre_skip).map_err(failed)?;
        let labels = Labels::create(&path)?;
        tell(News::Began { path: path.clone(), whose: self.run.whose.clone() });
        self.part = Some(Part { path, file, labels });
        Ok(())
    }
}

impl Part {
    fn written(&mut self, write: impl FnOnce(&mut OggOpusFile) -> std::io::Result<()>) -> Result<(), FileError> {
        write(&mut self.file).map_err(|cause| FileError::Write { name: decode::name(&self.path), cause })
    }

    fn is_full(&self, split: Split) -> bool {
        match split {
            Split::Time(time) => seconds(self.file.position()) >= time.as_secs_f64(),
            Split::Bytes(bytes) => self.file.bytes() + PACKET_BYTES > bytes,
        }
    }
}

fn seconds(frames: i64) -> f64 {
    frames as f64 / f64::from(RATE)
}

/// What the encoder has put before the sound: its look-ahead, which RTP does not tell. Of libopus it is
/// 6.5 ms, and 2.5 ms for low delay, which codes by CELT only.
fn pre_skip(packet: &[u8]) -> u32 {
    match packet.first() {
        Some(table) if table >> 3 >= CELT => 120,
        _ => 312,
    }
}

/// How long a frame is in the mode that a table of contents names (RFC 6716 section 3.1).
fn frame_frames(table: u8) -> u32 {
    let config = table >> 3;
    match config {
        CELT.. => 120 << (config & 3),
        12..CELT => 480 << (config & 1),
        _ => [480, 960, 1_920, 2_880][usize::from(config & 3)],
    }
}

/// The first mode that is CELT only.
const CELT: u8 = 16;
/// CELT, the whole band, 2.5 ms, stereo.
const SHORTEST_TABLE: u8 = 28 << 3 | 1 << 2;
/// In a table of contents: any number of frames.
const CODE: u8 = 3;
/// The longest packet, in frames of sound.
const PACKET_FRAMES_MAX: u32 = 5_760;
/// The longest packet that is likely, with its page.
const PACKET_BYTES: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_their_lengths() {
        // Of tables 3 and 4 in RFC 6716.
        for (config, frames) in [(0, 480), (3, 2_880), (12, 480), (15, 960), (16, 120), (19, 960), (28, 120), (31, 960)]
        {
            assert_eq!(frame_frames(config << 3), frames, "{config}");
        }
    }
}
