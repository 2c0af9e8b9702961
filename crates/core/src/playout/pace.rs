//! Where the timeline should stand, and how fast it runs to stay there.

use std::time::Duration;

use super::line::{Line, Seen};
use super::target::Target;
use super::timeline::Fit;
use super::{Latency, Profile, Unit};
use crate::{Instant, MediaTime};

/// Three clocks: the sender's card counts media time, our card counts the frames it asks for, and
/// local time connects them, when units arrive and when the card asks. Two questions are kept
/// apart: how fast the sender's card runs (the lines), and how much delay the network needs (the
/// target).
///
/// *Delay* here is the time from the moment at which a frame would arrive as the last one of its
/// packet on the fastest path to the moment at which the card asks for it.
pub(super) struct Pace {
    latency: Latency,
    profile: Profile,
    rate: f64,
    card_rate: f64,
    /// Where times and media times begin.
    epoch: Option<Instant>,
    now: f64,
    origin: Option<MediaTime>,
    /// Frames of the card that were asked for before the present block.
    asked: u64,
    card: Line,
    sender: Line,
    target: Target,
    /// When the present block was due to be asked for.
    turn: Option<f64>,
    /// Frames that the present block, with the resampler, reads ahead of its first.
    ahead: f64,
    /// Nine of ten units come no later than this after the fastest.
    usual_above: f64,
    /// How long the present block lasts, in seconds.
    block: f64,
    /// Of the last unit.
    unit: f64,
    late_run: Option<LateRun>,
    /// Until then what is late tells how much longer the path has become.
    longer_until: f64,
    /// When a unit last came that had not been asked for.
    last_first: f64,
    /// When the timeline started.
    since: Option<f64>,
    speed: f64,
    /// The delay to begin with, at least.
    first: f64,
}

/// Units one after the other, all late.
struct LateRun {
    latest: f64,
    /// At which they arrived, bursts being one.
    moments: u32,
    /// By how much they were late, all of them.
    least: f64,
}

/// A path may be longer for so long and become as short again; a card that was asked late for so
/// long has lost time. In seconds.
const PATH_PATIENCE: f64 = 2.0;
const CARD_PATIENCE: f64 = 0.5;

/// By how much one unit moves what is usual, in seconds.
const USUAL_STEP: f64 = 20e-6;

/// So many moments in a row, this far apart at the least, in seconds, and the path is longer.
const LATE_MOMENTS: u32 = 5;
const LATE_APART: f64 = 1e-3;

/// By how much, in this time all of its packets tell, which beat with the card's periods: in seconds.
const LONGER_SEEN: f64 = 0.25;

/// After so long in which nothing came but what had been asked for, that is the stream; in seconds.
const ALONE: f64 = 1.0;

/// The delay is brought to its target so fast that the difference shrinks to a third in this time,
/// in seconds, unless that were heard; faster when it is too short.
const CORRECTION: f64 = 0.5;
const CORRECTION_SHORT: f64 = 0.3;

/// Below this difference, in seconds, ever more slowly: what is left is the noise of the clocks, and
/// following that would only be heard.
const QUIET: f64 = 10e-6;

/// The speed changes with this time constant, in seconds: no step in pitch.
const SMOOTH: f64 = 0.1;

/// A splice may fit less well by so much in each second that none was found, down to the least: a
/// delay that is too long is heard, too.
const LESS_FIT: f32 = 0.15;
const FIT_MIN: f32 = 0.3;

/// A stream that has just started finds its place faster.
const SETTLING: f64 = 2.0;
const SETTLING_SPEED: f64 = 5e-3;

impl Pace {
    pub fn new(latency: Latency, profile: Profile, rate: u32, card_rate: u32) -> Self {
        Self {
            latency,
            profile,
            rate: rate.into(),
            card_rate: card_rate.into(),
            epoch: None,
            now: 0.0,
            origin: None,
            asked: 0,
            card: Line::new(card_rate, CARD_PATIENCE),
            sender: Line::new(rate, PATH_PATIENCE),
            target: Target::new(profile),
            turn: None,
            ahead: 0.0,
            usual_above: 0.0,
            block: 0.0,
            unit: 0.0,
            late_run: None,
            longer_until: f64::NEG_INFINITY,
            last_first: 0.0,
            since: None,
            speed: 1.0,
            first: 0.0,
        }
    }

    /// Begins with that delay in seconds, or with more where more is needed.
    pub fn start_from(&mut self, delay: f64) {
        self.first = delay;
    }

    /// Changes what decides the delay, from now on.
    pub fn set(&mut self, latency: Latency, profile: Profile) {
        (self.latency, self.profile) = (latency, profile);
        self.target.set_profile(profile);
    }

    /// Forgets the sender and its path; our card goes on.
    pub fn restart(&mut self) {
        self.sender.restart();
        self.target = Target::new(self.profile);
        self.origin = None;
    }

    /// Whether the lines tell nothing any more: all that comes is later than any delay, for long.
    pub fn is_astray(&self) -> bool {
        self.target.is_astray()
    }

    /// Forgets our card as well.
    pub fn restart_all(&mut self) {
        self.card.restart();
        self.restart();
    }

    /// A timeline starts.
    pub fn start(&mut self) {
        self.since = self.turn;
        self.speed = self.followed();
    }

    /// Takes note of a unit that came off the network and was not there at the last block.
    pub fn observe(&mut self, unit: &Unit) {
        self.last_first = self.time(unit.arrived);
        self.observe_arrival(unit);
    }

    /// Takes note of a unit that came after it had been asked for: as of any other where nothing is known yet,
    /// or nothing else has come for long. Then all are asked for before they can come, because the path has become
    /// longer; they would be late for ever.
    pub fn observe_repair(&mut self, unit: &Unit) {
        if !self.knows_sender() || self.time(unit.arrived) - self.last_first > ALONE {
            self.observe_arrival(unit);
        }
    }

    fn observe_arrival(&mut self, unit: &Unit) {
        let time = self.time(unit.arrived);
        let origin = *self.origin.get_or_insert(unit.time);
        self.unit = f64::from(unit.frames) / self.rate;
        match self.sender.observe(unit.end().frames_since(origin) as f64, time) {
            Seen::Noted => {}
            Seen::OnLine => self.target.settle(),
            Seen::Stepped(longer) => {
                let later = self.card.step_along();
                self.target.step(longer - later);
            }
        }
        if let Some((turn, needed)) = self.needed(unit) {
            let (given, guard) = (self.target(), self.guard(unit, time - turn));
            let needed = needed + guard;
            match self.target.observe(time, needed, given) {
                true => self.watch_late_run(time, needed - given),
                false => self.late_run = None,
            }
        }
    }

    /// Takes note of one that is lost, but would have come at its time of arrival.
    pub fn observe_lost(&mut self, unit: &Unit) {
        let above = self.above(unit);
        if self.origin.is_none() || above < 0.0 {
            return;
        }
        // Where it falls in the card's period can't be known.
        let length = f64::from(unit.frames) / self.rate;
        let needed = above + length + self.ahead() + self.block;
        self.target.observe_lost(self.now, needed, length, self.target());
    }

    /// Takes note of a copy: its time is not the path's alone, but what is lost comes back so.
    pub fn observe_copy(&mut self) {
        self.target.observe_copy(self.now);
    }

    /// Takes note of a unit that had come already, and has now come once more another way: it says nothing of
    /// the sender's clock, and how much delay there must be where only this way is left.
    pub fn observe_other_way(&mut self, unit: &Unit) {
        let (time, given) = (self.time(unit.arrived), self.target());
        if let Some((_, needed)) = self.needed(unit) {
            self.target.observe(time, needed, given);
        }
    }

    /// When the last block was due, and the delay that it should have had for this unit to be there in time.
    fn needed(&self, unit: &Unit) -> Option<(f64, f64)> {
        // Up to here the last block read, at its delay; had the delay been longer, it would have
        // read less.
        let read = unit.time.frames_since(self.origin?) as f64 - self.ahead;
        let turn = self.turn?;
        Some((turn, turn - self.sender.time_of(read)?))
    }

    /// What a unit that came so long after the last block was due would have needed more if it had
    /// been a little late. As long as that makes no difference, no delay is spent on it.
    fn guard(&mut self, unit: &Unit, since_turn: f64) -> f64 {
        let above = self.above(unit);
        // Where the sender's blocks and packets beat, it is usual to come a little after the fastest.
        self.usual_above += if above > self.usual_above { 0.9 } else { -0.1 } * USUAL_STEP;
        let late = above - self.usual_above.clamp(0.0, self.block);
        let guard = self.profile.guard(self.block);
        let later = (guard - late).clamp(0.0, guard);
        let missed = ((since_turn + later) / self.block).floor();
        missed.clamp(0.0, (later / self.block).ceil()) * self.block
    }

    /// A stall ends with a burst at one moment; where unit after unit comes late at its own time,
    /// the path is longer, and each would be a loss until the target has seen enough of them.
    fn watch_late_run(&mut self, time: f64, late: f64) {
        if time < self.longer_until {
            return self.wait_longer(late);
        }
        let run = self.late_run.get_or_insert(LateRun { latest: f64::NEG_INFINITY, moments: 0, least: late });
        run.moments += u32::from(time - run.latest > LATE_APART);
        run.latest = time;
        run.least = run.least.min(late);
        let (moments, least) = (run.moments, run.least);
        if moments >= LATE_MOMENTS {
            self.late_run = None;
            self.longer_until = time + LONGER_SEEN;
            // Where packets fall between the card's periods makes a block of a difference.
            self.wait_longer(least + self.block);
        }
    }

    /// The path has become longer, all of a sudden, by so much.
    fn wait_longer(&mut self, longer: f64) {
        match self.latency {
            Latency::Auto => self.target.raise(self.target.get() + longer),
            Latency::Fixed(_) => {
                self.sender.step(longer);
                self.target.step(longer);
            }
        }
    }

    /// How far a unit is from where its sender's line would have it, in seconds, late ones
    /// positive; zero where nothing is known.
    pub fn above(&self, unit: &Unit) -> f64 {
        let time = unit.arrived.seconds_since(self.epoch.unwrap_or(unit.arrived));
        let origin = self.origin.unwrap_or(unit.time);
        self.sender.above(unit.end().frames_since(origin) as f64, time).unwrap_or(0.0)
    }

    /// The card asks for a block of so many frames, for which `ahead` frames of media are read,
    /// those that the resampler holds back included.
    pub fn ask(&mut self, now: Instant, frames: usize, ahead: f64) {
        let time = self.time(now);
        if let Seen::Stepped(later) = self.card.observe(self.asked as f64, time) {
            // The card has lost time. What was measured since is measured from the wrong moment. Where
            // the sender has lost time as well, as on one machine that stood still, they must not
            // step one after the other: sound would be cut out first and missing then.
            self.target.step(self.sender.step_along() - later);
        }
        self.turn = self.card.time_of(self.asked as f64);
        self.asked += frames as u64;
        self.block = frames as f64 / self.card_rate;
        self.ahead = ahead;
        self.target.update(time);
    }

    /// The delay of the present block if its first frame is `position`; `None` before anything is
    /// known.
    pub fn delay(&self, position: Position) -> Option<f64> {
        let count = position.time.frames_since(self.origin?) as f64 - position.before;
        Some(self.turn? - self.sender.time_of(count)?)
    }

    /// The first frame of the present block if it is to have the delay that is wanted.
    pub fn wanted(&mut self) -> Option<MediaTime> {
        // Until more is known, the timeline is given some room.
        let margin = self.profile.start_margin().max(self.first - self.grid());
        self.target.start_at(self.grid(), margin);
        let count = self.sender.count_at(self.turn? - self.target())?;
        Some(self.origin? + count.round() as i64)
    }

    /// The delay that is wanted, in seconds.
    pub fn target(&self) -> f64 {
        match self.latency {
            Latency::Auto => self.target.get(),
            // What can't be there in time is not asked for.
            Latency::Fixed(latency) => {
                (latency.as_secs_f64() + self.unit).max(self.target.usual().min(self.target.get()))
            }
        }
    }

    /// Whether units have told how the sender's clock runs.
    pub fn knows_sender(&self) -> bool {
        self.origin.is_some()
    }

    /// How much media the present block reads ahead of its first frame, in seconds.
    pub fn ahead(&self) -> f64 {
        self.ahead / self.rate
    }

    /// How long the last unit is, in seconds.
    pub fn frame(&self) -> f64 {
        self.unit
    }

    /// How fast the media is to be read for the next `frames` of the card, relative to the two
    /// cards' nominal rates, while its delay is longer than wanted by `excess` seconds.
    pub fn speed(&mut self, excess: f64, frames: usize) -> f64 {
        let settling = self.turn.zip(self.since).is_some_and(|(turn, since)| turn - since < SETTLING);
        let most = if settling { SETTLING_SPEED } else { self.profile.speed() };
        let correction = if excess < 0.0 { CORRECTION_SHORT } else { CORRECTION };
        let quiet = excess.abs() / (excess.abs() + QUIET);
        let wanted = self.followed() + (excess * quiet / correction).clamp(-most, most);
        let block = frames as f64 / self.card_rate;
        let share = block / (SMOOTH + block);
        self.speed += share * (wanted - self.speed);
        self.speed
    }

    /// How much faster the sender's card runs than ours, in millionths.
    pub fn clock_offset_ppm(&self) -> f64 {
        (self.followed() - 1.0) * 1e6
    }

    fn followed(&self) -> f64 {
        (1.0 + self.card.skew()) / (1.0 + self.sender.skew())
    }

    /// The least delay without any jitter, wherever packets fall between the card's periods.
    fn grid(&self) -> f64 {
        self.unit + self.ahead / self.rate
    }

    /// Never before what was the latest up to now.
    fn time(&mut self, at: Instant) -> f64 {
        self.now = self.now.max(at.seconds_since(*self.epoch.get_or_insert(at)));
        self.now
    }
}

/// A place between two frames: `before` frames before `time`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub time: MediaTime,
    pub before: f64,
}

impl Profile {
    /// How far the speed may be off to change the delay: 1.7 cents at a thousandth.
    fn speed(self) -> f64 {
        match self {
            Profile::Live => 1e-3,
            Profile::Talk => 2e-3,
            Profile::Listen => 5e-4,
            Profile::Hifi => 3e-4,
        }
    }

    /// How well a splice must fit: the less, the longer none was found. Voices bear shorter fades
    /// than music.
    pub(super) fn fit(self, wanted: Duration, block: usize) -> Fit {
        let (fade, likeness) = match self {
            Profile::Talk => (Duration::from_millis(5), 0.9),
            _ => (Duration::from_millis(10), 0.95),
        };
        Fit { fade, likeness: (likeness - wanted.as_secs_f32() * LESS_FIT).max(FIT_MIN), block }
    }

    /// How much later than it came a packet should have been able to come, in seconds. Whoever talks
    /// with short blocks wants little delay: more than most of a block would cost a whole one.
    fn guard(self, block: f64) -> f64 {
        match self {
            Profile::Live => 0.25e-3,
            Profile::Talk => f64::min(2.2e-3, 0.825 * block),
            Profile::Listen => 3e-3,
            Profile::Hifi => 4e-3,
        }
    }

    /// From how much on the delay is changed by a splice rather than by the speed, in seconds.
    pub(super) fn splice_from(self) -> f64 {
        match self {
            Profile::Live | Profile::Talk => 5e-3,
            Profile::Listen => 20e-3,
            Profile::Hifi => 30e-3,
        }
    }
}
