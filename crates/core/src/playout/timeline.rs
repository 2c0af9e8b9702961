//! Units to continuous samples of the sender's clock: order, decode, conceal, join.

use std::time::Duration;

use super::buffer::{Buffer, Inserted};
use super::copies::{self, COPIES_MAX, Copies};
use super::gain::Gain;
use super::join::Join;
use super::splice::Splicer;
use super::{Origin, Stats, UNITS_MAX, Unit};
use crate::codec::{Decoder, PAYLOAD_MILLIS_MAX};
use crate::copies::are_possible;
use crate::{Codec, Error, Format, Instant, MediaTime, codec::opus, duration_of, frames_in};

/// A concealment is heard this long at the most; beyond, it is silence.
const CONCEAL: Duration = Duration::from_millis(60);

/// A concealment goes on in pieces, so that a unit that arrives meanwhile is met soon.
const CONCEAL_PIECE: Duration = Duration::from_micros(2_500);

/// A codec with a memory is itself again so long after a loss.
const RECOVERY: Duration = Duration::from_millis(30);

/// A splice leaves out, or says again, no less than this and no more.
const SPLICE_MIN: Duration = Duration::from_micros(2_500);
const SPLICE_MAX: Duration = Duration::from_millis(50);

/// A unit that is older than what was played by no more than this is a copy, or was overtaken; one
/// that is older still is of another timeline.
const PAST: Duration = Duration::from_secs(10);

/// The sender's sound, one frame after the other, whatever is lost. What was played is never
/// played again; what was only concealed may be, if it still comes.
pub(super) struct Timeline {
    format: Format,
    buffer: Buffer,
    decoder: Decoder,
    /// Where the format can have them.
    copies: Option<Box<Copies>>,
    /// Whether what was heard last, or made up from, is a copy.
    copying: bool,
    /// Frames during which a copy is better than a decoder that has missed something.
    recovering: i64,
    /// Of what the decoder gives.
    channels: usize,
    /// Decoded, interleaved: what was read last, as far as it may be said again, then what was not
    /// read yet.
    decoded: Vec<f32>,
    /// How much of it was read, in frames.
    read_frames: usize,
    splicer: Splicer,
    /// Media time of the next frame to decode.
    next: MediaTime,
    /// The end of the last unit that was decoded.
    played: MediaTime,
    gain: Gain,
    join: Join,
    /// Whether what is decoded next does not follow what was decoded last.
    broken: bool,
    /// Frames made up since the last decoded unit.
    missing_frames: u64,
    /// The newest unit that came too late to be heard; its decoder may still learn from it.
    late: Option<Unit>,
    /// Where a late unit is decoded to.
    unheard: Vec<f32>,
    spent: Vec<Vec<u8>>,
    finishing: bool,
}

/// How well a splice must fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// How long both sounds are heard.
    pub fade: Duration,
    /// Normalised correlation.
    pub likeness: f32,
    /// Frames that are read at a time.
    pub block: usize,
}

impl Timeline {
    /// With room for reading `frames_max` frames at once.
    pub fn new(format: Format, frames_max: usize) -> Result<Self, Error> {
        let channels = Self::channels_of(format);
        let longest = frames_in(SPLICE_MAX, format.rate) as usize;
        let unit_max = format.rate as usize * PAYLOAD_MILLIS_MAX / 1000;
        Ok(Self {
            format,
            buffer: Buffer::new(UNITS_MAX),
            decoder: Decoder::new(format)?,
            copies: are_possible(format).then(|| Copies::new(channels).map(Box::new)).transpose()?,
            copying: false,
            recovering: 0,
            channels,
            decoded: Vec::with_capacity((frames_max + unit_max + 4 * longest) * channels),
            read_frames: 0,
            splicer: Splicer::new(channels, frames_max + unit_max + 3 * longest),
            next: MediaTime(0),
            played: MediaTime(i64::MIN),
            gain: Gain::new(format.rate),
            join: Join::new(format.rate, channels),
            broken: true,
            missing_frames: 0,
            late: None,
            unheard: Vec::with_capacity(unit_max * channels),
            spent: Vec::with_capacity(UNITS_MAX + COPIES_MAX + 4),
            finishing: false,
        })
    }

    /// Channels that a stream of `format` is read in.
    pub fn channels_of(format: Format) -> usize {
        match format.codec {
            Codec::Opus => opus::Decoder::CHANNELS,
            Codec::Pcm(_) => format.channels.into(),
        }
    }

    /// Channels of what is read.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Takes a unit, early or late, in any order, again and again.
    pub fn insert(&mut self, unit: Unit, stats: &mut Stats) {
        if self.is_past(&unit) {
            stats.units_late += 1;
            return self.spend(unit);
        }
        let buffer = match (unit.origin, &mut self.copies) {
            (Origin::Copy, Some(copies)) => copies.insert(unit),
            _ => self.buffer.insert(unit),
        };
        match buffer {
            Inserted::Kept => {}
            Inserted::Duplicate(unit) => {
                stats.units_duplicate += 1;
                self.spend(unit);
            }
            Inserted::Overflowed(unit) => {
                stats.units_overflowed += 1;
                self.spend(unit);
            }
        }
    }

    /// Takes back a unit that is not to be played.
    pub fn spend(&mut self, unit: Unit) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(unit.payload);
        } else {
            debug_assert!(false, "the caller reclaims after each insert and fill");
        }
    }

    /// A payload whose memory is no longer needed.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }

    /// No more units come.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether a unit is a copy, or was overtaken by what was played meanwhile.
    fn is_past(&self, unit: &Unit) -> bool {
        if let (Origin::Copy, Some(copies)) = (unit.origin, &self.copies) {
            return copies.is_past(unit.time);
        }
        let ago = self.played.frames_since(unit.end());
        (0..frames_in(PAST, self.format.rate) as i64).contains(&ago)
    }

    /// Units that wait.
    pub fn units(&self) -> usize {
        let copies = self.copies.as_ref().map_or(0, |copies| copies.units());
        self.buffer.len() + usize::from(self.late.is_some()) + copies
    }

    /// Where the first unit that waits begins.
    pub fn front(&self) -> Option<MediaTime> {
        self.buffer.front().map(|unit| unit.time)
    }

    /// Where the last unit that waits ends.
    pub fn end(&self) -> Option<MediaTime> {
        self.buffer.end()
    }

    /// The media time after the last frame that was read.
    pub fn position(&self) -> MediaTime {
        self.next - self.unread_frames() as i64
    }

    /// Frames between what was read and the end of what has come.
    pub fn waiting_frames(&self) -> i64 {
        let ahead = self.end().map_or(0, |end| end.frames_since(self.next)).max(0);
        ahead.saturating_add(self.unread_frames() as i64)
    }

    /// Frames made up since the last that came.
    pub fn missing_frames(&self) -> u64 {
        self.missing_frames
    }

    /// Whether it has faded to silence.
    pub fn is_silent(&self) -> bool {
        self.gain.is_silent()
    }

    /// Starts at `time`.
    pub fn start(&mut self, time: MediaTime) {
        self.next = time;
        self.decoded.clear();
        self.read_frames = 0;
        self.missing_frames = 0;
        self.broken = true;
        self.copying = false;
    }

    /// Drops what waits: it is of another timeline.
    pub fn clear(&mut self, stats: &mut Stats) {
        let late = self.late.take();
        self.drop_late(late, stats);
        while let Some(unit) = self.buffer.pop_front() {
            self.drop_late(Some(unit), stats);
        }
        while let Some(copy) = self.copies.as_mut().and_then(|copies| copies.pop()) {
            self.drop_late(Some(copy), stats);
        }
        self.played = MediaTime(i64::MIN);
    }

    /// Goes on at another place, forth or back, with a crossfade; what was decoded ahead is still
    /// read first.
    pub fn jump(&mut self, frames: i64) {
        self.next = self.next + frames;
        self.broken = true;
    }

    /// Goes on with the first unit that waits, where that is a long way to go.
    pub fn jump_to_front(&mut self) {
        if let Some(front) = self.front() {
            self.jump(front.frames_since(self.next).max(0));
        }
    }

    /// While the sound of a loss is heard: how far the timeline can go back, `frames` at the most,
    /// to what came late and was not heard.
    pub fn regained_frames(&self, frames: i64) -> i64 {
        match self.front() {
            Some(front) if self.missing_frames > 0 => self.next.frames_since(front.max(self.played)).clamp(0, frames),
            _ => 0,
        }
    }

    /// The next `frames` frames, interleaved; they are the first until they are
    /// [taken](Self::take).
    pub fn read(&mut self, now: Instant, frames: usize, stats: &mut Stats) -> &[f32] {
        while self.unread_frames() < frames {
            self.decode_next(now, stats);
        }
        &self.decoded[self.read_frames * self.channels..][..frames * self.channels]
    }

    /// Takes what was read.
    pub fn take(&mut self, frames: usize) {
        self.read_frames += frames;
        let longest = frames_in(SPLICE_MAX, self.format.rate) as usize;
        if self.read_frames >= 2 * longest {
            // Only now and then: what is left has to be moved.
            let past = self.read_frames - longest;
            self.decoded.drain(..past * self.channels);
            self.read_frames = longest;
        }
    }

    /// Leaves out at most `frames` frames (says again so many, if negative) where the sound goes on
    /// alike enough; returns how many that were, zero where it does not.
    pub fn splice(&mut self, now: Instant, frames: i64, fit: Fit, stats: &mut Stats) -> i64 {
        let fade = frames_in(fit.fade, self.format.rate) as usize;
        let shortest = frames_in(SPLICE_MIN, self.format.rate) as usize;
        let longest = frames_in(SPLICE_MAX, self.format.rate).min(frames.unsigned_abs()) as usize;
        let from = self.read_frames;
        // What follows is compared, and what is to be left out has to be there.
        let compared = if frames > 0 { longest + fade } else { fade };
        if self.decode_ahead(now, compared, fit.block, stats) {
            return 0; // and again at the next block
        }
        let places = if frames > 0 {
            from + shortest..from + longest + 1
        } else {
            from.saturating_sub(longest)..(from + 1).saturating_sub(shortest)
        };
        let found = self.splicer.find(&self.decoded, from, places, fade, fit.likeness);
        let Some(found) = found.filter(|found| found.likeness >= fit.likeness) else { return 0 };
        self.splicer.splice(&mut self.decoded, from, found, fade);
        found.to as i64 - from as i64
    }

    /// Decodes what is there already, until so many frames are ready: one unit more than a block of
    /// `block` frames takes, no more at a time, the card waits. Returns whether more is to come.
    fn decode_ahead(&mut self, now: Instant, frames: usize, block: usize, stats: &mut Stats) -> bool {
        let enough = frames.min(self.unread_frames() + block + 1);
        let ready = |timeline: &Self| timeline.front().is_some_and(|front| front <= timeline.next);
        while self.unread_frames() < enough && ready(self) {
            self.decode_next(now, stats);
        }
        self.unread_frames() < frames && ready(self)
    }

    fn unread_frames(&self) -> usize {
        self.decoded.len() / self.channels - self.read_frames
    }

    /// Appends the next piece of the timeline to `decoded`: a unit, or the sound of a loss.
    fn decode_next(&mut self, now: Instant, stats: &mut Stats) {
        while self.buffer.front().is_some_and(|unit| unit.end() <= self.next) {
            let unit = self.buffer.pop_front().expect("there is a front");
            self.keep_late(unit, stats);
        }
        self.pass_copies(stats);
        let gap = self.front().map_or(i64::MAX, |front| front.frames_since(self.next));
        if gap <= 0 {
            self.decode_unit(now, stats);
        } else if !self.play_copy(gap, stats) && !self.restore(gap, stats) {
            self.conceal(gap);
        }
    }

    /// Lets the copies' decoder learn from those that were not needed.
    fn pass_copies(&mut self, stats: &mut Stats) {
        while let Some(spent) = self.copies.as_mut().and_then(|copies| {
            copies.pass(self.next, |payload| !self.decoder.is_alike(payload)) // has no need of it
        }) {
            self.spend_copy(spent, stats);
        }
    }

    fn spend_copy(&mut self, unit: Option<Unit>, stats: &mut Stats) {
        if let Some(unit) = unit {
            stats.units_played += 1;
            self.spend(unit);
        }
    }

    /// Appends what a copy has of the next `gap` frames; returns whether there is one. Little at a time:
    /// what it stands in for may still come.
    fn play_copy(&mut self, gap: i64, stats: &mut Stats) -> bool {
        let Some(copies) = &mut self.copies else { return false };
        if let Some(unit) = copies.in_place(self.next, gap, |payload| self.decoder.is_alike(payload)) {
            self.decode_copy(unit, stats);
            return true;
        }
        let decoded = copies.turn_to(self.next);
        let sound = copies.sound(self.next);
        let piece = gap.min(frames_in(CONCEAL_PIECE, self.format.rate) as i64) as usize;
        let frames = piece.min(sound.len() / self.channels);
        if frames > 0 {
            if !std::mem::replace(&mut self.copying, true) {
                self.join.begin(|old| {
                    self.decoder.decode(None, old);
                });
                self.decoder.yield_to_other();
            }
            let start = self.decoded.len();
            self.decoded.extend(&sound[..frames * self.channels]);
            if let Some(payload) = copies.hear() {
                stats.copies_heard += 1;
                if self.decoder.joins_losses() {
                    // What it knows of the sound then is older, and so worth less.
                    if self.decoder.learns_from(payload) {
                        self.unheard.resize(copies::FRAMES_MAX * self.channels, 0.0);
                        self.decoder.decode(Some(payload), &mut self.unheard);
                    }
                    self.recovering = frames_in(RECOVERY, self.format.rate) as i64;
                }
            }
            stats.copied_samples += frames as u64;
            self.join.apply(&mut self.decoded[start..]);
            self.decoder.remember(&self.decoded[start..]);
            self.gain.rise(&mut self.decoded[start..], self.channels);
            self.next = self.next + frames as i64;
            self.played = self.next;
            self.broken = true;
            stats.concealed(std::mem::take(&mut self.missing_frames));
        }
        self.spend_copy(decoded, stats);
        frames > 0
    }

    /// Appends a copy as if it were the unit that was lost.
    fn decode_copy(&mut self, unit: Unit, stats: &mut Stats) {
        let start = self.decoded.len();
        self.decoded.resize(start + unit.frames as usize * self.channels, 0.0);
        let count = self.decoder.decode(Some(&unit.payload), &mut self.decoded[start..]);
        self.decoded.truncate(start + count);
        self.join.apply(&mut self.decoded[start..]);
        self.gain.rise(&mut self.decoded[start..], self.channels);
        self.next = unit.end();
        self.played = unit.end();
        stats.concealed(std::mem::take(&mut self.missing_frames));
        stats.copies_heard += 1;
        stats.copied_samples += u64::from(unit.frames);
        self.spend_copy(Some(unit), stats);
    }

    /// Keeps the newest of those that came too late.
    fn keep_late(&mut self, unit: Unit, stats: &mut Stats) {
        let older = self.late.replace(unit);
        self.drop_late(older, stats);
    }

    fn drop_late(&mut self, late: Option<Unit>, stats: &mut Stats) {
        if let Some(unit) = late {
            stats.units_late += 1;
            self.spend(unit);
        }
    }

    fn decode_unit(&mut self, now: Instant, stats: &mut Stats) {
        let unit = self.buffer.pop_front().expect("the caller has seen it");
        if self.recovering > 0 {
            self.recovering -= i64::from(unit.frames);
            if self.copies.as_ref().is_some_and(|copies| self.copying && copies.reach(self.next, unit.end())) {
                return self.decode_unheard(now, unit, stats);
            }
        }
        // The timeline may stand inside the unit: after a start, a jump, or a concealment that met it.
        let skip = self.next.frames_since(unit.time).max(0);
        if std::mem::take(&mut self.broken) {
            self.join_to(&unit, skip, stats);
        }
        let start = self.decoded.len();
        let turn = now + duration_of(self.unread_frames() as u64, self.format.rate);
        self.decoded.resize(start + unit.frames as usize * self.channels, 0.0);
        let count = self.decoder.decode(Some(&unit.payload), &mut self.decoded[start..]);
        self.decoded.truncate(start + count);
        self.decoded.drain(start..start + (skip as usize * self.channels).min(count));
        self.join.apply(&mut self.decoded[start..]);
        self.decoder.remember(&self.decoded[start..]);
        self.gain.rise(&mut self.decoded[start..], self.channels);
        self.next = unit.end();
        self.played = unit.end();
        match std::mem::take(&mut self.missing_frames) {
            _ if unit.origin == Origin::Begin => {}
            missing => stats.concealed(missing),
        }
        stats.units_played += 1;
        stats.emitted(turn - unit.arrived, u64::from(unit.frames));
        self.spend(unit);
    }

    /// Lets the decoder have a unit while the copy of it is heard.
    fn decode_unheard(&mut self, now: Instant, unit: Unit, stats: &mut Stats) {
        let turn = now + duration_of(self.unread_frames() as u64, self.format.rate);
        self.unheard.resize(unit.frames as usize * self.channels, 0.0);
        self.decoder.decode(Some(&unit.payload), &mut self.unheard);
        let (start, frames) = (self.decoded.len(), unit.end().frames_since(self.next));
        self.decoded.resize(start + frames as usize * self.channels, 0.0);
        let copies = self.copies.as_mut().and_then(|copies| copies.go_on(self.next, &mut self.decoded[start..]));
        self.spend_copy(copies, stats);
        self.join.apply(&mut self.decoded[start..]);
        self.gain.rise(&mut self.decoded[start..], self.channels);
        self.next = unit.end();
        self.played = unit.end();
        stats.units_played += 1;
        stats.copied_samples += frames as u64;
        stats.emitted(turn - unit.arrived, u64::from(unit.frames));
        self.spend(unit);
    }

    /// Prepares the way from what was heard last to the start of `unit`.
    fn join_to(&mut self, unit: &Unit, skip: i64, stats: &mut Stats) {
        let late = self.late.take();
        // A codec with a memory starts the next unit better when it knows the one before.
        let lesson = late.as_ref().filter(|late| late.end() == unit.time && self.decoder.joins_losses());
        let joined = self.leave_copy(stats);
        if !joined && (skip > 0 || lesson.is_some() || !self.decoder.joins_losses()) {
            self.join.begin(|old| {
                self.decoder.decode(None, old);
            });
        }
        if let Some(lesson) = lesson {
            self.unheard.resize(lesson.frames as usize * self.channels, 0.0);
            self.decoder.decode(Some(&lesson.payload), &mut self.unheard);
        }
        self.drop_late(late, stats);
    }

    /// Prepares the way from a copy, where one was heard last, to something else; returns whether it was.
    fn leave_copy(&mut self, stats: &mut Stats) -> bool {
        let (true, Some(copies)) = (std::mem::take(&mut self.copying), &mut self.copies) else { return false };
        let mut decoded = None;
        self.join.begin(|old| decoded = copies.go_on(self.next, old));
        self.spend_copy(decoded, stats);
        true
    }

    /// Appends what the unit that ends a loss of `gap` frames tells of it; returns whether it tells
    /// anything. That is how it was, so it does not fade.
    fn restore(&mut self, gap: i64, stats: &mut Stats) -> bool {
        // What it could tell of a pause is what was said before that.
        let Some(unit) = self.buffer.front().filter(|unit| unit.origin != Origin::Begin) else { return false };
        let start = self.decoded.len();
        self.decoded.resize(start + opus::RESTORED_FRAMES_MAX * self.channels, 0.0);
        let frames = self.decoder.restore(&unit.payload, gap as usize, &mut self.decoded[start..]);
        self.decoded.truncate(start + frames * self.channels);
        if frames > 0 {
            self.broken = true;
            self.leave_copy(stats);
            self.join.apply(&mut self.decoded[start..]);
            self.gain.rise(&mut self.decoded[start..], self.channels);
            self.next = self.next + frames as i64;
            self.missing_frames += frames as u64;
            stats.restored_samples += frames as u64;
        }
        frames > 0
    }

    /// Whether what a loss needs may take its time: see [`Decoder::set_deep`].
    pub fn set_deep(&mut self, deep: bool) {
        self.decoder.set_deep(deep);
        if let Some(copies) = &mut self.copies {
            copies.set_deep(deep);
        }
    }

    /// Appends the sound of a loss: up to `frames_max` frames, in the decoder's steps. Where the
    /// unit that ends the loss is there, it may lead the way to it.
    fn conceal(&mut self, frames_max: i64) {
        let step = self.decoder.conceal_step() as i64;
        let led = self.decoder.led_frames_max(self.format.rate) as i64;
        let until_copy = self.copies.as_ref().map_or(i64::MAX, |copies| copies.until_next(self.next));
        let led_to = |_: &&Unit| frames_max <= led.min(until_copy);
        let frames_max = frames_max.min(until_copy);
        let following = self.buffer.front().filter(led_to).map(|unit| unit.payload.as_slice());
        let piece = following.map_or(frames_in(CONCEAL_PIECE, self.format.rate) as i64, |_| led);
        let frames = (frames_max.min(piece) / step).max(1) * step;
        let start = self.decoded.len();
        self.decoded.resize(start + frames as usize * self.channels, 0.0);
        self.broken = match &mut self.copies {
            Some(copies) if self.copying && self.decoder.joins_losses() => {
                copies.conceal(&mut self.decoded[start..]);
                true
            }
            _ => !self.decoder.conceal(&mut self.decoded[start..], following),
        };
        self.copying &= self.decoder.joins_losses();
        match self.decoder.joins_losses() {
            true => self.join.apply(&mut self.decoded[start..]),
            false => self.join.end(),
        }
        self.decoder.remember(&self.decoded[start..]);
        if self.finishing || self.missing_frames > frames_in(CONCEAL, self.format.rate) {
            self.gain.fall(&mut self.decoded[start..], self.channels);
        } else {
            self.gain.rise(&mut self.decoded[start..], self.channels);
        }
        self.next = self.next + frames;
        self.missing_frames += frames as u64;
    }
}
