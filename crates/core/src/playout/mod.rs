//! Units to continuous samples at the card's pace: order, wait, decode, conceal.
//!
//! The surface is NetEq's two calls. [`Playout::insert`] takes what the network brought,
//! [`Playout::fill`] writes what the card asks for, always all of it. Both run in the playback
//! callback: they never allocate, free, lock or wait. Payloads whose memory is no longer needed
//! are handed back by [`Playout::reclaim`] to be freed elsewhere.
//!
//! The delay is fixed: the first unit is heard `latency` after it arrived, and the timeline then
//! runs on with the card. What arrives too late is dropped; if that goes on, or if far more waits
//! than the latency asks for, the timeline is moved.

mod buffer;
mod gain;
mod join;
mod level;
#[cfg_attr(not(test), expect(dead_code, reason = "the level is not kept by splices yet"))]
mod splice;
mod stats;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::channels::map_channels;
use crate::codec::{Decoder, PAYLOAD_MILLIS_MAX, opus, payload_frames};
use crate::resample::Resampler;
use crate::{Codec, Error, Format, Instant, MediaTime, frames_in};
use buffer::{Buffer, Inserted};
use gain::Gain;
use join::Join;
use level::Level;

pub use buffer::UNITS_MAX;
pub use stats::Stats;

/// One payload with its place in media time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Of its first frame.
    pub time: MediaTime,
    /// Its length: what [`payload_frames`] says of the payload.
    pub frames: u32,
    /// When it came off the network.
    pub arrived: Instant,
    /// Its code. The memory comes back by [`Playout::reclaim`].
    pub payload: Vec<u8>,
}

impl Unit {
    /// The time after its last frame.
    pub fn end(&self) -> MediaTime {
        self.time + i64::from(self.frames)
    }
}

/// What a [`Playout`] feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The playout delay: from a unit's arrival to its being asked for.
    pub latency: Duration,
    /// Frames per second of the card.
    pub rate: u32,
    /// Channels of the card.
    pub channels: u16,
    /// The most frames that one [`Playout::fill`] may ask for.
    pub frames_max: usize,
}

/// Longer than this without a unit and the stream pauses: silence, until it fills up again.
const PAUSE: Duration = Duration::from_secs(1);

/// A concealment is heard this long at the most; beyond, it is silence.
const CONCEAL: Duration = Duration::from_millis(60);

/// So many units in a row too late, with none on time after them, and the timeline is put off at
/// once: the path has become longer.
const LATE_MAX: u32 = 3;

/// A unit that is older than what was played by no more than this is a copy, or was overtaken; one
/// that is older still is of another timeline.
const PAST: Duration = Duration::from_secs(10);

/// Where a timeline may be: far enough from the ends of the scale (47,000 years at the highest
/// rate) that no sum of times, delays and lengths meets them.
const TIMES: RangeInclusive<MediaTime> = MediaTime(-(1 << 60))..=MediaTime(1 << 60);

/// Plays one run of units of one format. A new run is a new `Playout`.
pub struct Playout {
    config: Config,
    format: Format,
    state: State,
    buffer: Buffer,
    decoder: Decoder,
    /// Of what the decoder gives.
    channels: usize,
    /// Decoded, not yet played: interleaved, at the format's rate.
    decoded: Vec<f32>,
    resampler: Option<Resampler>,
    /// One block at the card's rate before its channels are mapped.
    block: Vec<f32>,
    /// Media time of the next frame to decode.
    next: MediaTime,
    /// The end of the last unit that was decoded.
    played: MediaTime,
    gain: Gain,
    join: Join,
    /// Whether what is decoded next does not follow what was decoded last.
    broken: bool,
    /// Frames since the last decoded unit.
    missing_frames: u64,
    late_in_a_row: u32,
    level: Level,
    spent: Vec<Vec<u8>>,
    finishing: bool,
    stats: Stats,
}

/// Whether the timeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the first unit to be due.
    Waiting,
    Playing,
    /// All is played; nothing will come.
    Ended,
}

impl Playout {
    /// Makes everything that will ever be needed.
    pub fn new(format: Format, config: Config) -> Result<Self, Error> {
        if !format.is_supported() {
            return Err(Error::UnsupportedFormat(format.to_string()));
        }
        let channels = match format.codec {
            Codec::Opus => opus::Decoder::CHANNELS,
            Codec::Pcm(_) => format.channels.into(),
        };
        let resampler = (format.rate != config.rate)
            .then(|| Resampler::new(format.rate, config.rate, channels, config.frames_max))
            .transpose()?;
        let needed_max = resampler.as_ref().map_or(config.frames_max, Resampler::input_frames_max);
        let unit_max = format.rate as usize * PAYLOAD_MILLIS_MAX / 1000;
        Ok(Self {
            config,
            format,
            state: State::Waiting,
            buffer: Buffer::new(),
            decoder: Decoder::new(format)?,
            channels,
            decoded: Vec::with_capacity((needed_max + unit_max) * channels),
            resampler,
            block: vec![0.0; config.frames_max * channels],
            next: MediaTime(0),
            played: MediaTime(i64::MIN),
            gain: Gain::new(format.rate),
            join: Join::new(format.rate, channels),
            broken: true,
            missing_frames: 0,
            late_in_a_row: 0,
            level: Level::new(format.rate),
            spent: Vec::with_capacity(UNITS_MAX + 1),
            finishing: false,
            stats: Stats::default(),
        })
    }

    /// Takes a unit, early or late, in any order, again and again.
    pub fn insert(&mut self, unit: Unit) {
        self.stats.units_received += 1;
        let true_to_itself = payload_frames(self.format, &unit.payload) == Some(unit.frames as usize);
        if !true_to_itself || !TIMES.contains(&unit.time) {
            self.stats.units_refused += 1;
            return self.spend(unit);
        }
        let over = self.state == State::Ended || self.is_past(&unit);
        let late = self.state == State::Playing && unit.end() <= self.next;
        if self.state == State::Playing && !over && unit.time < self.next {
            self.level.late();
        }
        if over || (late && !self.is_one_too_many()) {
            self.stats.units_late += 1;
            return self.spend(unit);
        }
        if !late {
            self.late_in_a_row = 0;
        }
        match self.buffer.insert(unit) {
            Inserted::Kept => {}
            Inserted::Duplicate(unit) => {
                self.stats.units_duplicate += 1;
                self.spend(unit);
            }
            Inserted::Overflowed(unit) => {
                self.stats.units_overflowed += 1;
                self.spend(unit);
            }
        }
    }

    /// Says that no more units come: what waits is played, then [`is_ended`](Self::is_ended).
    pub fn finish(&mut self) {
        self.finishing = true;
        if self.buffer.is_empty() && self.state == State::Waiting {
            self.state = State::Ended;
        }
    }

    /// Whether everything has been played after [`finish`](Self::finish).
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Writes every sample of `out`: interleaved frames of the card, at most `frames_max`.
    /// `now` is when they are asked for.
    pub fn fill(&mut self, now: Instant, out: &mut [f32]) {
        let channels = usize::from(self.config.channels);
        let frames = out.len() / channels;
        self.keep_level(now, frames);
        let silent = match self.state {
            State::Waiting => self.try_start(now, frames),
            State::Playing => 0,
            State::Ended => frames,
        };
        let (silence, sound) = out.split_at_mut(silent * channels);
        silence.fill(0.0);
        if !sound.is_empty() {
            self.play(now, sound);
        }
        self.stats.total_samples_received += frames as u64;
        self.stats.peak = out.iter().fold(self.stats.peak, |peak, sample| peak.max(sample.abs()));
    }

    /// A payload whose memory is no longer needed.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        self.spent.pop()
    }

    /// What has been counted; the peak is the loudest sample since the last call.
    pub fn take_stats(&mut self) -> Stats {
        let stats = Stats {
            units_waiting: self.buffer.len() as u64,
            buffered: self.duration(self.waiting_frames().max(0)),
            playing: self.state == State::Playing && self.missing_frames == 0,
            ..self.stats
        };
        self.stats.peak = 0.0;
        stats
    }

    /// Starts the timeline when the first unit is due within the next `frames` frames of the
    /// card; returns how many of them are silent before it.
    fn try_start(&mut self, now: Instant, frames: usize) -> usize {
        let (Some(front), Some(end)) = (self.buffer.front(), self.buffer.end()) else { return frames };
        let front = front.time;
        let Some(position) = self.position(now, frames) else { return frames };
        let silent = self.to_card(front.frames_since(position)).clamp(0, frames as i64) as usize;
        let available = end.frames_since(front.max(position));
        let due = silent < frames && (available >= self.to_media(frames - silent) || self.finishing);
        if !due {
            return frames;
        }
        self.state = State::Playing;
        self.next = position.max(front);
        self.decoded.clear();
        self.missing_frames = 0;
        self.level.restart();
        silent
    }

    /// Where the timeline stands `now`, when `frames` are asked for, if its delay is the latency,
    /// counted from the waiting unit that came fastest: a backlog that arrives in one burst is not
    /// played from its start. A block that is not there yet can't be played, whatever the latency.
    fn position(&self, now: Instant, frames: usize) -> Option<MediaTime> {
        let arriving = self.buffer.arriving(now, self.format.rate)?;
        let on_time = arriving - frames_in(self.config.latency, self.format.rate) as i64;
        Some(on_time.min(self.buffer.end()? - self.to_media(frames)))
    }

    /// Writes `out` from the running timeline.
    fn play(&mut self, now: Instant, out: &mut [f32]) {
        let frames = out.len() / usize::from(self.config.channels);
        let needed = self.resampler.as_mut().map_or(frames, |resampler| resampler.input_frames(frames));
        while self.decoded.len() < needed * self.channels {
            self.decode_next(now);
        }
        let input = &self.decoded[..needed * self.channels];
        let block = match &mut self.resampler {
            None => input,
            Some(resampler) => {
                let block = &mut self.block[..frames * self.channels];
                resampler.process(input, block);
                block
            }
        };
        map_channels(block, self.channels, out, self.config.channels.into());
        self.decoded.drain(..needed * self.channels);
    }

    /// Appends the next piece of the timeline to `decoded`: a unit, or the sound of a loss.
    fn decode_next(&mut self, now: Instant) {
        while self.buffer.front().is_some_and(|unit| unit.end() <= self.next) {
            let unit = self.buffer.pop_front().expect("there is a front");
            self.stats.units_late += 1;
            self.spend(unit);
        }
        match self.buffer.front().map(|unit| unit.time) {
            Some(time) if time <= self.next => self.decode_unit(now),
            Some(time) => self.conceal(time.frames_since(self.next)),
            None => self.conceal(i64::MAX),
        }
    }

    fn decode_unit(&mut self, now: Instant) {
        let unit = self.buffer.pop_front().expect("the caller has seen it");
        // The timeline may stand inside the unit: after a start, a move, or a concealment that met it.
        let skip = self.next.frames_since(unit.time).max(0);
        if std::mem::take(&mut self.broken) && (skip > 0 || !self.decoder.joins_losses()) {
            self.join.begin(|old| {
                self.decoder.decode(None, old);
            });
        }
        let start = self.decoded.len();
        let turn = now + self.duration(self.decoded_frames());
        self.level.waited(self.to_frames(turn.seconds_since(unit.arrived)).saturating_sub(skip));
        self.decoded.resize(start + unit.frames as usize * self.channels, 0.0);
        let count = self.decoder.decode(Some(&unit.payload), &mut self.decoded[start..]);
        self.decoded.truncate(start + count);
        self.decoded.drain(start..start + (skip as usize * self.channels).min(count));
        self.join.apply(&mut self.decoded[start..]);
        self.decoder.remember(&self.decoded[start..]);
        self.gain.rise(&mut self.decoded[start..], self.channels);
        self.next = unit.end();
        self.played = unit.end();
        self.stats.concealed(std::mem::take(&mut self.missing_frames));
        self.stats.units_played += 1;
        self.stats.emitted(now - unit.arrived, u64::from(unit.frames));
        self.spend(unit);
    }

    /// Appends the sound of a loss: up to `frames_max` frames, in the decoder's steps.
    fn conceal(&mut self, frames_max: i64) {
        if self.buffer.is_empty() {
            self.rest();
        }
        let step = self.decoder.conceal_step() as i64;
        let led = self.decoder.led_frames_max(self.format.rate) as i64;
        let following = self.buffer.front().filter(|_| frames_max <= led).map(|unit| unit.payload.as_slice());
        let piece = following.map_or(frames_in(CONCEAL_PIECE, self.format.rate) as i64, |_| led);
        let frames = (frames_max.min(piece) / step).max(1) * step;
        let start = self.decoded.len();
        self.decoded.resize(start + frames as usize * self.channels, 0.0);
        self.broken = !self.decoder.conceal(&mut self.decoded[start..], following);
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

    /// Stops the timeline when nothing has been left to play for long enough, and the last of it
    /// has faded.
    fn rest(&mut self) {
        if self.finishing && self.gain.is_silent() {
            self.state = State::Ended;
        } else if !self.finishing && self.missing_frames > frames_in(PAUSE, self.format.rate) {
            self.state = State::Waiting;
        }
    }

    /// Whether a unit is a copy, or was overtaken by what was played meanwhile: the past is never
    /// played again.
    fn is_past(&self, unit: &Unit) -> bool {
        let ago = self.played.frames_since(unit.end());
        (0..frames_in(PAST, self.format.rate) as i64).contains(&ago)
    }

    /// Whether the timeline is to be put off for this late unit, unless one on time follows before
    /// the card asks again: the past that comes in a burst after a stall moves nothing.
    fn is_one_too_many(&mut self) -> bool {
        self.late_in_a_row += 1;
        self.late_in_a_row >= LATE_MAX
    }

    /// Moves the timeline where it is not where the latency wants it.
    fn keep_level(&mut self, now: Instant, frames: usize) {
        if self.state != State::Playing {
            return;
        }
        let offset = if self.late_in_a_row >= LATE_MAX {
            self.late_in_a_row = 0;
            self.position(now, frames).map_or(0, |position| position.frames_since(self.next).min(0))
        } else {
            let target = frames_in(self.config.latency, self.format.rate) as i64;
            self.level.offset(now, self.waiting_frames(), target.max(self.to_media(frames)))
        };
        if offset != 0 {
            self.next = self.next + offset;
            self.broken = true;
            self.level.restart();
            self.stats.moved(offset);
        }
    }

    /// Frames at the format's rate between the timeline, or where it will begin, and the end of
    /// what has arrived.
    fn waiting_frames(&self) -> i64 {
        let (Some(front), Some(end)) = (self.buffer.front(), self.buffer.end()) else {
            return self.decoded_frames();
        };
        match self.state {
            State::Playing => end.frames_since(self.next).saturating_add(self.decoded_frames()),
            State::Waiting | State::Ended => end.frames_since(front.time),
        }
    }

    fn decoded_frames(&self) -> i64 {
        (self.decoded.len() / self.channels) as i64
    }

    fn to_media(&self, card_frames: usize) -> i64 {
        (card_frames as u64 * u64::from(self.format.rate)).div_ceil(self.config.rate.into()) as i64
    }

    fn to_card(&self, media_frames: i64) -> i64 {
        media_frames.saturating_mul(self.config.rate.into()) / i64::from(self.format.rate)
    }

    fn to_frames(&self, seconds: f64) -> i64 {
        (seconds * f64::from(self.format.rate)) as i64
    }

    fn duration(&self, frames: i64) -> Duration {
        crate::duration_of(frames as u64, self.format.rate)
    }

    fn spend(&mut self, unit: Unit) {
        if self.spent.len() < self.spent.capacity() {
            self.spent.push(unit.payload);
        } else {
            debug_assert!(false, "the caller reclaims after each insert and fill");
        }
    }
}

/// A concealment goes on in pieces, so that a unit that arrives meanwhile is met soon.
const CONCEAL_PIECE: Duration = Duration::from_micros(2_500);

#[cfg(test)]
mod tests;
