//! Copies of the sound that wait, and their decoder: what is heard where nothing better has come.

use super::Unit;
use super::buffer::{Buffer, Inserted};
use crate::channels::map_channels;
use crate::codec::opus::Decoder;
use crate::codec::pcm;
use crate::{Error, MediaTime};

/// The most copies that wait: 0.64 s of the shortest that we send, more than a packet can say.
pub const COPIES_MAX: usize = 64;

/// Frames that a copy may have: 60 ms.
pub(super) const FRAMES_MAX: usize = 2880;

/// A decoder that has been left behind by more than this need not know what was between.
const GAP_MAX: i64 = 960;

/// Copies that may be decoded only for what the decoder learns, at a time.
const LESSONS_MAX: usize = 4;

/// A second timeline beside the first, of lower quality, that is decoded all along: a decoder that knows
/// what came before is worth more than the work that it takes.
pub(super) struct Copies {
    buffer: Buffer,
    decoder: Decoder,
    channels: usize,
    /// What was decoded last, of `channels` channels.
    sound: Vec<f32>,
    start: MediaTime,
    /// Of which it is the sound.
    unit: Option<Unit>,
    /// As it comes from the decoder.
    stereo: Vec<f32>,
    /// Whether it was heard.
    heard: bool,
}

impl Copies {
    pub fn new(channels: usize) -> Result<Self, Error> {
        Ok(Self {
            buffer: Buffer::new(COPIES_MAX),
            decoder: Decoder::new()?,
            channels,
            sound: Vec::with_capacity(FRAMES_MAX * channels),
            start: MediaTime(i64::MIN),
            unit: None,
            stereo: vec![0.0; FRAMES_MAX * Decoder::CHANNELS],
            heard: false,
        })
    }

    /// Whether one that begins at `time` comes too late even to learn from.
    pub fn is_past(&self, time: MediaTime) -> bool {
        time <= self.start
    }

    /// Takes a copy, in any order.
    pub fn insert(&mut self, unit: Unit) -> Inserted {
        self.buffer.insert(unit)
    }

    /// See [`Decoder::set_deep`].
    pub fn set_deep(&mut self, deep: bool) {
        self.decoder.set_deep(deep);
    }

    /// Copies that are here.
    pub fn units(&self) -> usize {
        self.buffer.len() + usize::from(self.unit.is_some())
    }

    /// Where the decoder stands: what is before that has been decoded.
    pub fn end(&self) -> MediaTime {
        self.start + (self.sound.len() / self.channels) as i64
    }

    /// Takes one that is not needed any more at `time`, for the decoder to learn from where that is not
    /// too much; `None` where there is none, else what is spent by it.
    pub fn pass(&mut self, time: MediaTime, learns: impl Fn(&[u8]) -> bool) -> Option<Option<Unit>> {
        let unit = self.buffer.pop_front_if(|unit| unit.end() <= time)?;
        match self.buffer.passed(time) < LESSONS_MAX && learns(&unit.payload) {
            true => Some(self.decode(unit)),
            false => Some(Some(unit)),
        }
    }

    /// Takes the one that fits exactly at the start of a gap of `gap` frames at `time`, where it is
    /// `alike` what was lost.
    pub fn in_place(&mut self, time: MediaTime, gap: i64, alike: impl Fn(&[u8]) -> bool) -> Option<Unit> {
        self.buffer.pop_front_if(|unit| unit.time == time && i64::from(unit.frames) <= gap && alike(&unit.payload))
    }

    /// Makes ready what is to be heard at `time`; returns what is spent by it.
    pub fn turn_to(&mut self, time: MediaTime) -> Option<Unit> {
        if self.covers(time) {
            return None;
        }
        let unit = self.buffer.pop_front_if(|unit| unit.time <= time && time < unit.end())?;
        self.decode(unit)
    }

    /// Whether the sound of `time` is ready.
    pub fn covers(&self, time: MediaTime) -> bool {
        self.start <= time && time < self.end()
    }

    /// The sound that is ready, from `time` on; empty where it isn't.
    pub fn sound(&self, time: MediaTime) -> &[f32] {
        match self.covers(time) {
            true => &self.sound[time.frames_since(self.start) as usize * self.channels..],
            false => &[],
        }
    }

    /// Whether what sounds between these times is there, ready or waiting.
    pub fn reach(&self, from: MediaTime, to: MediaTime) -> bool {
        let ready = if self.covers(from) { self.end() } else { from };
        self.buffer.front().filter(|unit| unit.time <= ready).map_or(ready, Unit::end) >= to
    }

    /// What sounds from `time` on, and beyond what is there; returns what is spent by it.
    pub fn go_on(&mut self, time: MediaTime, out: &mut [f32]) -> Option<Unit> {
        let mut unit = None;
        let mut done = 0;
        for _ in 0..2 {
            let more = self.sound(time + (done / self.channels) as i64);
            let more = &more[..more.len().min(out.len() - done)];
            out[done..done + more.len()].copy_from_slice(more);
            done += more.len();
            if done == out.len() {
                return unit;
            }
            unit = unit.or_else(|| self.turn_to(time + (done / self.channels) as i64));
        }
        self.conceal(&mut out[done..]);
        unit
    }

    /// Frames until the next copy that waits begins.
    pub fn until_next(&self, time: MediaTime) -> i64 {
        self.buffer.front().map_or(i64::MAX, |unit| unit.time.frames_since(time).max(1))
    }

    /// Goes on for as long as `out`, as it sounds without anything more to decode.
    pub fn conceal(&mut self, out: &mut [f32]) {
        let frames = out.len() / self.channels;
        let mut done = 0;
        while done < frames {
            let piece = (frames - done).min(FRAMES_MAX);
            self.make(None, piece.next_multiple_of(self.decoder.conceal_step()));
            let made = &self.stereo[..piece * Decoder::CHANNELS];
            map_channels(
                made,
                Decoder::CHANNELS,
                &mut out[done * self.channels..][..piece * self.channels],
                self.channels,
            );
            done += piece;
        }
    }

    /// Returns the unit that was decoded before.
    fn decode(&mut self, unit: Unit) -> Option<Unit> {
        let gap = unit.time.frames_since(self.end());
        if (1..=GAP_MAX).contains(&gap) && !self.sound.is_empty() {
            self.make(None, (gap as usize).next_multiple_of(self.decoder.conceal_step()));
        }
        let frames = unit.frames as usize;
        self.make(Some(&unit.payload), frames);
        self.sound.resize(frames * self.channels, 0.0);
        map_channels(&self.stereo[..frames * Decoder::CHANNELS], Decoder::CHANNELS, &mut self.sound, self.channels);
        self.start = unit.time;
        self.heard = false;
        self.unit.replace(unit)
    }

    /// Decodes, or conceals, so many frames into `stereo`.
    fn make(&mut self, payload: Option<&[u8]>, frames: usize) {
        let made = &mut self.stereo[..frames * Decoder::CHANNELS];
        if self.decoder.decode(payload, made).is_err() && self.decoder.decode(None, made).is_err() {
            made.fill(0.0);
        }
        made.iter_mut().for_each(|sample| *sample = pcm::sane(*sample));
    }

    /// The code of what is ready, where it is heard now for the first time.
    pub fn hear(&mut self) -> Option<&[u8]> {
        let first = !std::mem::replace(&mut self.heard, true);
        self.unit.as_ref().filter(|_| first).map(|unit| unit.payload.as_slice())
    }

    /// Forgets what waits: it is of another timeline.
    pub fn pop(&mut self) -> Option<Unit> {
        self.sound.clear();
        self.start = MediaTime(i64::MIN);
        self.unit.take().or_else(|| self.buffer.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::codec::opus::{Encoder, Settings};
    use crate::playout::Origin;

    #[test]
    fn copies_that_follow_each_other_reach_on_and_not_over_a_gap() {
        let mut copies = Copies::new(2).unwrap();
        let mut encoder = Encoder::new(2, Settings::default()).unwrap();
        for time in [0, 480, 1440] {
            let mut payload = Vec::new();
            encoder.encode(&[0.0; 480 * 2], &mut payload).unwrap();
            let unit =
                Unit { time: MediaTime(time), frames: 480, arrived: Instant::default(), origin: Origin::Copy, payload };
            assert!(matches!(copies.insert(unit), Inserted::Kept));
        }
        copies.turn_to(MediaTime(0));
        let reach = |from, to| copies.reach(MediaTime(from), MediaTime(to));
        assert!(reach(0, 480) && reach(100, 580));
        assert!(reach(480, 960), "the next one begins where the last has ended");
        assert!(!reach(480, 961) && !reach(960, 1440));
    }
}
