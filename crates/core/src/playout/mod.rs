//! Units to continuous samples at the card's pace: order, wait, decode, conceal, follow the clock.
//!
//! The surface is NetEq's two calls. [`Playout::insert`] takes what the network brought,
//! [`Playout::fill`] writes what the card asks for, always all of it. Both run in the playback
//! callback: they never allocate, free, lock or wait. Payloads whose memory is no longer needed
//! are handed back by [`Playout::reclaim`] to be freed elsewhere.
//!
//! Inside, the `timeline` makes continuous sound of the sender's clock, whatever is lost; the
//! `pace` says where in it the card should read, by what the network needs (the `target`) and how
//! both clocks run (a `line` each); a resampler reads there, between the frames if need be. What
//! it can't correct in time without being heard is corrected by a splice, or where sound is
//! missing anyway.

mod buffer;
mod copies;
mod gain;
mod join;
mod line;
mod needs;
mod pace;
mod splice;
mod stats;
mod target;
mod timeline;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::channels::map_channels;
use crate::codec::payload_frames;
use crate::copies::are_possible;
use crate::resample::Resampler;
use crate::{Error, Format, Instant, MediaTime, duration_of, frames_in, limiter};
use pace::{Pace, Position};
use timeline::Timeline;

pub use buffer::UNITS_MAX;
pub use copies::COPIES_MAX;
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
    /// How it came to be here.
    pub origin: Origin,
    /// Its code. The memory comes back by [`Playout::reclaim`].
    pub payload: Vec<u8>,
}

/// How a unit came to be here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// As it was first sent: when it arrived tells something of the path.
    #[default]
    First,
    /// The same, and before it nothing was sent: what is missing there is a pause and no loss.
    Begin,
    /// It was lost and sent once more when that was asked for.
    Repair,
    /// It is none, but word of one that was lost, and would have come at that time if it had been waited for:
    /// sent once more, or as a copy. Its payload is empty.
    Lost,
    /// It is coded once more, by Opus in fewer bits, in case the packets with the same sound are lost. Its
    /// time and length are its own, its time that of its decoded sound.
    Copy,
    /// It has come already, and now once more another way: when it arrived tells how much delay that way
    /// needs, in case the first copies come that way.
    OtherWay,
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
    /// The playout delay.
    pub latency: Latency,
    /// What delay and sound are worth to the listener.
    pub profile: Profile,
    /// Frames per second of the card.
    pub rate: u32,
    /// Channels of the card.
    pub channels: u16,
    /// The most frames that one [`Playout::fill`] may ask for.
    pub frames_max: usize,
}

/// How the playout delay is chosen: from a unit's arrival to its being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// As short as the network allows, by the profile's judgement; it follows the network.
    #[default]
    Auto,
    /// This long, or as long as it takes until 19 of 20 packets, and a block of the card, are there.
    Fixed(Duration),
}

/// What the listener would rather have: less delay, or fewer events that can be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Playing music together: every millisecond counts.
    Live,
    /// Talking to each other. What is too much is taken out by the pitch period, as voices bear.
    #[default]
    Talk,
    /// Listening to what somebody else does now.
    Listen,
    /// Listening to music: nothing must be heard but the music.
    Hifi,
}

/// As it is written on a command line.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::Live => "live",
            Profile::Talk => "talk",
            Profile::Listen => "listen",
            Profile::Hifi => "hifi",
        })
    }
}

/// Longer than this without a unit and the stream pauses: silence, until it fills up again.
const PAUSE: Duration = Duration::from_secs(1);

/// After the end, it takes so long until all is faded and the resampler has given out the last.
const EMPTYING: Duration = Duration::from_millis(5);

/// A delay that is longer than wanted by more than this is cut at once, in seconds: it is the past.
const EXCESS_MAX: f64 = 0.25;

/// Late by more than this, in seconds, while sound is missing: what came late is played after all.
/// One frame, no more: as long as the delay is short of its target by less than a packet lasts, each
/// packet may come just too late.
const SHORTAGE_MIN: f64 = 20e-6;

/// Between two splices passes at least so much time.
const SPLICE_AGAIN: Duration = Duration::from_millis(100);

/// A unit so far from where its sender's clock puts it, in seconds, is of another timeline; so many
/// in a row, and that is the timeline.
const FOREIGN: f64 = 5.0;
const FOREIGN_UNITS: u32 = 10;

/// Where a timeline may be: far enough from the ends of the scale (47,000 years at the highest
/// rate) that no sum of times, delays and lengths meets them.
const TIMES: RangeInclusive<MediaTime> = MediaTime(-(1 << 60))..=MediaTime(1 << 60);

/// Plays one run of units of one format. A new run is a new `Playout`.
pub struct Playout {
    config: Config,
    format: Format,
    state: State,
    timeline: Timeline,
    pace: Pace,
    resampler: Resampler,
    /// One block at the card's rate before its channels are mapped.
    block: Vec<f32>,
    /// Of the last block.
    now: Option<Instant>,
    foreign_in_a_row: u32,
    /// How long the delay has been too far off.
    splice_wanted: Duration,
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
        let channels = Timeline::channels_of(format);
        let resampler = Resampler::new(format.rate, config.rate, channels, config.frames_max)?;
        Ok(Self {
            config,
            format,
            state: State::Waiting,
            timeline: Timeline::new(format, resampler.input_frames_max())?,
            pace: Pace::new(config.latency, config.profile, format.rate, config.rate),
            resampler,
            block: vec![0.0; config.frames_max * channels],
            now: None,
            foreign_in_a_row: 0,
            splice_wanted: Duration::ZERO,
            finishing: false,
            stats: Stats::default(),
        })
    }

    /// What it was made with, and [set](Self::set) to since.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes what decides the delay, from now on, without a break.
    pub fn set(&mut self, latency: Latency, profile: Profile) {
        (self.config.latency, self.config.profile) = (latency, profile);
        self.pace.set(latency, profile);
    }

    /// Whether concealing a loss may take the time of the best way, as it may where nothing else was
    /// said: see [`opus::Decoder::set_deep`](crate::codec::opus::Decoder::set_deep).
    pub fn set_deep(&mut self, deep: bool) {
        self.timeline.set_deep(deep);
    }

    /// Begins with that delay, or with more where more is needed: that of the run before, so that this one
    /// goes on where that one ends.
    pub fn start_from(&mut self, delay: Duration) {
        self.pace.start_from(delay.as_secs_f64());
    }

    /// Takes a unit, early or late, in any order, again and again.
    pub fn insert(&mut self, unit: Unit) {
        self.stats.units_received += 1;
        if unit.origin == Origin::Lost {
            self.stats.units_lost += 1;
            if TIMES.contains(&unit.time) {
                self.pace.observe_lost(&unit);
            }
            return self.timeline.spend(unit);
        }
        if !self.is_sane(&unit) || self.is_foreign(&unit) {
            self.stats.units_refused += 1;
            return self.timeline.spend(unit);
        }
        if self.state == State::Ended {
            self.stats.units_late += 1;
            return self.timeline.spend(unit);
        }
        if self.pace.is_astray() {
            self.begin_anew();
            self.pace.restart_all();
        }
        match unit.origin {
            Origin::First | Origin::Begin => self.pace.observe(&unit),
            Origin::Repair => self.pace.observe_repair(&unit),
            Origin::Copy => self.pace.observe_copy(),
            Origin::Lost => {} // told above
            Origin::OtherWay => {
                self.pace.observe_other_way(&unit);
                self.stats.units_duplicate += 1;
                return self.timeline.spend(unit);
            }
        }
        self.timeline.insert(unit, &mut self.stats);
    }

    /// Says that no more units come: what waits is played, then [`is_ended`](Self::is_ended).
    pub fn finish(&mut self) {
        self.finishing = true;
        self.timeline.finish();
        if self.timeline.front().is_none() && self.state == State::Waiting {
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
        self.now = Some(now);
        self.pace.ask(now, frames, self.to_media(frames as f64) + self.resampler.lookahead());
        let silent = match self.state {
            State::Waiting => self.try_start(frames),
            State::Playing => 0,
            State::Ended => frames,
        };
        let (silence, sound) = out.split_at_mut(silent * channels);
        silence.fill(0.0);
        if !sound.is_empty() {
            self.play(now, sound);
        }
        self.stats.total_samples_received += frames as u64;
        self.stats.peak = self.stats.peak.max(limiter::peak(out));
    }

    /// Whether what is heard at the moment stands for what did not come.
    pub fn makes_up(&self) -> bool {
        self.state == State::Playing && self.timeline.missing_frames() > 0 && !self.finishing
    }

    /// A payload whose memory is no longer needed.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        self.timeline.reclaim()
    }

    /// What has been counted; the peak is the loudest sample since the last call.
    pub fn take_stats(&mut self) -> Stats {
        let playing = self.state == State::Playing;
        let stats = Stats {
            units_waiting: self.timeline.units() as u64,
            buffered: duration_of(self.buffered_frames().max(0) as u64, self.format.rate),
            playing: playing && self.timeline.missing_frames() == 0,
            clock_offset_ppm: self.pace.clock_offset_ppm(),
            frame: Duration::from_secs_f64(self.pace.frame()),
            room: self.room(),
            // Negative where a frame of a very slow card lies beyond what is read.
            resampling: Duration::try_from_secs_f64(self.resampler.behind() / f64::from(self.format.rate))
                .unwrap_or_default(),
            ..self.stats
        };
        self.stats.peak = 0.0;
        stats
    }

    /// How much later than the fastest a unit may come to be played, as long as the delay stays.
    fn room(&self) -> Duration {
        self.stats.delay.saturating_sub(Duration::from_secs_f64(self.pace.frame() + self.pace.ahead()))
    }

    /// Whether a unit is what it says, and its times can be reckoned with.
    fn is_sane(&self, unit: &Unit) -> bool {
        let frames = match unit.origin {
            Origin::Copy if !are_possible(self.format) => None,
            Origin::Copy => payload_frames(Format::OPUS, &unit.payload).filter(|&frames| frames <= copies::FRAMES_MAX),
            _ => payload_frames(self.format, &unit.payload),
        };
        frames == Some(unit.frames as usize)
            && TIMES.contains(&unit.time)
            && self.now.is_none_or(|now| unit.arrived.seconds_since(now) < FOREIGN)
    }

    /// Whether a unit does not belong to what plays. When that goes on, it is what plays.
    fn is_foreign(&mut self, unit: &Unit) -> bool {
        if self.pace.above(unit).abs() < FOREIGN {
            self.foreign_in_a_row = 0;
            return false;
        }
        self.foreign_in_a_row += 1;
        if self.foreign_in_a_row < FOREIGN_UNITS {
            return true;
        }
        self.foreign_in_a_row = 0;
        self.begin_anew();
        self.pace.restart();
        false
    }

    /// Lets go of all that waits, and of what has been played.
    fn begin_anew(&mut self) {
        self.timeline.clear(&mut self.stats);
        self.state = State::Waiting;
    }

    /// Starts the timeline when the first unit is due within the next `frames` frames of the
    /// card; returns how many of them are silent before it.
    fn try_start(&mut self, frames: usize) -> usize {
        let (Some(front), Some(end)) = (self.timeline.front(), self.timeline.end()) else { return frames };
        let Some(wanted) = self.pace.wanted() else { return frames };
        // The resampler is still empty: what it holds back is silent. And a block that is not there
        // yet can't be played, whatever the delay.
        let on_time = (wanted + self.resampler.lookahead() as i64).min(end - self.needed(frames));
        // Nothing more comes to wait for.
        let first = if self.finishing { on_time.max(front) } else { on_time };
        let silent = self.to_card(front.frames_since(first)).clamp(0, frames as i64) as usize;
        let available = end.frames_since(front.max(first));
        let due = silent < frames && (available >= self.needed(frames - silent) || self.finishing);
        if !due {
            return frames;
        }
        self.state = State::Playing;
        self.resampler.reset();
        self.timeline.start(first.max(front));
        self.pace.start();
        silent
    }

    /// Writes `out` from the running timeline.
    fn play(&mut self, now: Instant, out: &mut [f32]) {
        let frames = out.len() / usize::from(self.config.channels);
        let excess = self.keep_delay(now, frames);
        self.resampler.set_speed(self.pace.speed(excess, frames));
        let needed = self.resampler.input_frames(frames);
        let channels = self.timeline.channels();
        let block = &mut self.block[..frames * channels];
        self.resampler.process(self.timeline.read(now, needed, &mut self.stats), block);
        self.timeline.take(needed);
        map_channels(block, channels, out, self.config.channels.into());
        self.rest();
    }

    /// By how much the delay is longer than wanted, in seconds, after the timeline was moved where
    /// it can be moved without being heard, or must be.
    fn keep_delay(&mut self, now: Instant, frames: usize) -> f64 {
        let behind = self.resampler.behind();
        let Some(delay) = self.pace.delay(Position { time: self.timeline.position(), before: behind }) else {
            return 0.0;
        };
        let excess = delay - self.pace.target();
        self.stats.delays(delay, self.pace.target());
        let jumped = self.jump(excess);
        let moved = if jumped != 0 { jumped } else { self.splice(now, excess, frames) };
        if moved != 0 {
            self.stats.moved(moved);
        }
        excess - moved as f64 / f64::from(self.format.rate)
    }

    /// Moves the timeline at once: forth where it plays the past, back where sound is missing that
    /// has come meanwhile.
    fn jump(&mut self, excess: f64) -> i64 {
        let frames = if excess > EXCESS_MAX {
            self.to_frames(excess)
        } else if excess < -SHORTAGE_MIN {
            -self.timeline.regained_frames(self.to_frames(-excess))
        } else {
            0
        };
        if frames != 0 {
            self.timeline.jump(frames);
        }
        frames
    }

    /// Changes the delay by a splice where it is too far off for the speed, and the sound allows.
    fn splice(&mut self, now: Instant, excess: f64, frames: usize) -> i64 {
        if excess.abs() < self.config.profile.splice_from() {
            self.splice_wanted = Duration::ZERO;
            return 0;
        }
        self.splice_wanted += duration_of(frames as u64, self.config.rate);
        if self.splice_wanted < SPLICE_AGAIN || self.timeline.missing_frames() > 0 {
            return 0;
        }
        let fit = self.config.profile.fit(self.splice_wanted, self.needed(frames) as usize);
        let spliced = self.timeline.splice(now, self.to_frames(excess), fit, &mut self.stats);
        if spliced != 0 {
            self.splice_wanted = Duration::ZERO;
        }
        spliced
    }

    /// Stops the timeline when nothing has been left to play for long enough, and the last of it
    /// has faded.
    fn rest(&mut self) {
        let emptied = self.timeline.missing_frames() > frames_in(EMPTYING, self.format.rate);
        let over = self.finishing && emptied && self.timeline.is_silent();
        if self.timeline.front().is_some() {
            if over {
                self.timeline.jump_to_front();
            }
            return;
        }
        if over {
            self.state = State::Ended;
            self.timeline.clear(&mut self.stats);
        } else if !self.finishing && self.timeline.missing_frames() > frames_in(PAUSE, self.format.rate) {
            self.state = State::Waiting;
        }
    }

    /// Frames at the format's rate between what was read, or what will be read first, and the end
    /// of what has arrived.
    fn buffered_frames(&self) -> i64 {
        match (self.state, self.timeline.front(), self.timeline.end()) {
            (State::Playing, ..) => self.timeline.waiting_frames(),
            (_, Some(front), Some(end)) => end.frames_since(front),
            _ => 0,
        }
    }

    /// Frames of media that the first block reads if it has so many frames of the card.
    fn needed(&self, frames: usize) -> i64 {
        self.to_media(frames as f64).ceil() as i64 + 1
    }

    fn to_media(&self, card_frames: f64) -> f64 {
        card_frames * f64::from(self.format.rate) / f64::from(self.config.rate)
    }

    fn to_card(&self, media_frames: i64) -> i64 {
        media_frames.saturating_mul(self.config.rate.into()) / i64::from(self.format.rate)
    }

    fn to_frames(&self, seconds: f64) -> i64 {
        (seconds * f64::from(self.format.rate)) as i64
    }
}

#[cfg(test)]
mod tests;
