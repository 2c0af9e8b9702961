//! What would have been heard of a [trace](crate::trace) with another profile or delay: the real
//! [`Playout`], given what arrived when it did, and asked when the card did.
//!
//! A trace has no sound, so one is made up that is like a voice: what the playout does to the sound where
//! it has a choice (a splice is put where it fits) may differ from what it did to the real one.

use std::fmt;
use std::time::Duration;

use crate::codec::{Encoder, opus};
use crate::playout::{self, Latency, Playout, Profile, Stats, Unit};
use crate::trace::{Decisions, Line, Record};
use crate::{Format, Instant, MediaTime, duration_of};

/// How a stream is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The playout delay.
    pub latency: Latency,
    /// What it is for.
    pub profile: Profile,
}

/// What came of one run of a stream.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// As the trace calls it.
    pub stream: u64,
    /// What arrived.
    pub format: Format,
    /// From its first unit to its last.
    pub duration: Duration,
    /// Units that arrived.
    pub units: u64,
    /// As it was, by what the trace says of the playout.
    pub was: Outcome,
    /// As it would have been: one for each choice.
    pub would_be: Vec<Outcome>,
}

/// What was heard.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it was played.
    pub choice: Choice,
    /// Sound made up for what did not come in time.
    pub concealed: Duration,
    /// How many times that began.
    pub events: u64,
    /// Units that came too late.
    pub late: u64,
    /// How many times the timeline was moved at once.
    pub moves: u64,
    delays: Delays,
}

/// How often each delay was seen, in steps.
#[derive(Clone, Default)]
struct Delays(Vec<u32>);

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} looks", self.0.iter().sum::<u32>())
    }
}

impl Outcome {
    fn new(choice: Choice) -> Self {
        Self { choice, concealed: Duration::ZERO, events: 0, late: 0, moves: 0, delays: Delays::default() }
    }

    /// The playout delay that was not exceeded for that part of the time; `None` where nothing was played.
    pub fn delay(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.delays.0.iter().map(|count| u64::from(*count)).sum();
        let mut below = (part.clamp(0.0, 1.0) * all.saturating_sub(1) as f64) as u64;
        let step = self.delays.0.iter().position(|&count| {
            let found = below < u64::from(count);
            below = below.saturating_sub(count.into());
            found
        })?;
        Some(DELAY_STEP * step as u32)
    }

    fn observe(&mut self, delay: Duration) {
        let step = ((delay.as_nanos() / DELAY_STEP.as_nanos()) as usize).min(DELAY_STEPS);
        let Delays(counts) = &mut self.delays;
        if counts.len() <= step {
            counts.resize(step + 1, 0);
        }
        counts[step] = counts[step].saturating_add(1);
    }

    /// The last word of a playout.
    fn add(&mut self, decisions: &Decisions, rate: u32) {
        self.concealed = self.concealed.saturating_add(duration_of(decisions.concealed, rate));
        self.events = self.events.saturating_add(decisions.events);
        self.late = self.late.saturating_add(decisions.late);
        self.moves = self.moves.saturating_add(decisions.moves);
    }
}

/// Delays are told so exactly, up to 5 s.
const DELAY_STEP: Duration = Duration::from_micros(100);
const DELAY_STEPS: usize = 50_000;

/// What is looked at so often.
const LOOK: Duration = Duration::from_millis(50);

/// Frames that are filled at once, as in the mixer.
const FRAMES_MAX: usize = 1024;

/// Runs that play at the same time; a server plays fewer.
const RUNS_MAX: usize = 256;

/// Replays a trace, line by line.
pub struct Replay {
    choices: Vec<Choice>,
    card: Option<(u32, u16)>,
    now: Instant,
    next_look: Instant,
    runs: Vec<Run>,
    ended: Vec<Replayed>,
}

struct Run {
    replayed: Replayed,
    sound: Sound,
    /// One for each choice, on the present card.
    playouts: Vec<Playout>,
    /// As the trace last said.
    was: Decisions,
    times: Option<(Instant, Instant)>,
    finished: bool,
}

impl Replay {
    /// For each of these choices.
    pub fn new(choices: Vec<Choice>) -> Self {
        let (now, next_look) = (Instant::default(), Instant::default());
        Self { choices, card: None, now, next_look, runs: Vec::new(), ended: Vec::new() }
    }

    /// Takes the next line: any. Time does not go back.
    pub fn handle(&mut self, line: &Line) {
        self.now = self.now.max(line.at);
        match line.record {
            Record::Card { rate, channels } => {
                self.card = Some((rate, channels));
                self.runs.iter_mut().for_each(|run| run.open((rate, channels)));
            }
            Record::Asked { frames } => self.fill(frames as usize),
            Record::Start { stream, format, latency, profile } => {
                self.finish(stream);
                if self.runs.len() < RUNS_MAX {
                    let mut run = Run::new(stream, format, Choice { latency, profile }, &self.choices);
                    self.card.into_iter().for_each(|card| run.open(card));
                    self.runs.push(run);
                }
            }
            Record::Unit { stream, time, frames, bytes, origin } => {
                if let Some(run) = self.playing(stream) {
                    run.insert(Unit { time, frames, arrived: line.at, origin, payload: Vec::new() }, bytes);
                }
            }
            Record::Played { stream, decisions } => {
                if let Some(run) = self.playing(stream) {
                    run.was(decisions);
                }
            }
            Record::End { stream } => self.finish(stream),
            Record::Missing { .. } => {}
        }
    }

    /// All runs, in the order in which they ended.
    pub fn finish_all(mut self) -> Vec<Replayed> {
        self.ended.extend(self.runs.drain(..).map(Run::end));
        self.ended
    }

    fn playing(&mut self, stream: u64) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.replayed.stream == stream && !run.finished)
    }

    /// No more will come; what has come is still played.
    fn finish(&mut self, stream: u64) {
        if let Some(run) = self.playing(stream) {
            run.finished = true;
            run.playouts.iter_mut().for_each(Playout::finish);
        }
    }

    fn fill(&mut self, frames: usize) {
        let Some((rate, channels)) = self.card else { return };
        let looks = self.now >= self.next_look;
        if looks {
            self.next_look = self.now + LOOK;
        }
        let mut block = [0.0; FRAMES_MAX * crate::CHANNELS_MAX as usize];
        for run in &mut self.runs {
            for from in (0..frames).step_by(FRAMES_MAX) {
                let piece = (frames - from).min(FRAMES_MAX) * usize::from(channels);
                run.fill(self.now + duration_of(from as u64, rate), &mut block[..piece]);
            }
            if looks {
                run.look();
            }
        }
        let over = |run: &mut Run| run.finished && run.playouts.iter().all(Playout::is_ended);
        self.ended.extend(self.runs.extract_if(.., over).map(Run::end));
    }
}

impl Run {
    fn new(stream: u64, format: Format, was: Choice, choices: &[Choice]) -> Self {
        let would_be = choices.iter().copied().map(Outcome::new).collect();
        let (duration, was) = (Duration::ZERO, Outcome::new(was));
        let replayed = Replayed { stream, format, duration, units: 0, was, would_be };
        let (playouts, was) = (Vec::new(), Decisions::default());
        Self { replayed, sound: Sound::new(format), playouts, was, times: None, finished: false }
    }

    /// Goes on on another card.
    fn open(&mut self, (rate, channels): (u32, u16)) {
        self.close();
        let format = self.replayed.format;
        let playout = |outcome: &Outcome| {
            let Choice { latency, profile } = outcome.choice;
            Playout::new(format, playout::Config { latency, profile, rate, channels, frames_max: FRAMES_MAX })
        };
        self.playouts = self.replayed.would_be.iter().map_while(|outcome| playout(outcome).ok()).collect();
    }

    fn insert(&mut self, mut unit: Unit, bytes: u32) {
        self.replayed.units += 1;
        let (first, last) = self.times.get_or_insert((unit.arrived, unit.arrived));
        *last = unit.arrived.max(*last);
        self.replayed.duration = *last - *first;
        self.sound.make(unit.time, unit.frames, bytes, &mut unit.payload);
        for playout in &mut self.playouts {
            playout.insert(unit.clone());
            while playout.reclaim().is_some() {}
        }
    }

    fn fill(&mut self, now: Instant, block: &mut [f32]) {
        for playout in &mut self.playouts {
            playout.fill(now, block);
            while playout.reclaim().is_some() {}
        }
    }

    fn look(&mut self) {
        for (outcome, playout) in self.replayed.would_be.iter_mut().zip(&mut self.playouts) {
            let stats = playout.take_stats();
            if stats.playing {
                outcome.observe(stats.delay);
            }
        }
    }

    /// Counts run on while the run does; on another card they begin anew.
    fn was(&mut self, decisions: Decisions) {
        if decisions.concealed < self.was.concealed || decisions.events < self.was.events {
            self.replayed.was.add(&self.was, self.replayed.format.rate);
        }
        self.replayed.was.observe(decisions.delay);
        self.was = decisions;
    }

    /// Adds up what the present playouts have counted.
    fn close(&mut self) {
        for (outcome, playout) in self.replayed.would_be.iter_mut().zip(&mut self.playouts) {
            let stats: Stats = playout.take_stats();
            outcome.add(&Decisions::from(&stats), self.replayed.format.rate);
        }
        self.playouts.clear();
    }

    fn end(mut self) -> Replayed {
        self.close();
        self.replayed.was.add(&self.was, self.replayed.format.rate);
        self.replayed
    }
}

/// The sound that is made up, coded as the stream is.
struct Sound {
    format: Format,
    /// Made for the first unit, which tells the rate of an Opus stream.
    encoder: Option<Encoder>,
    samples: Vec<f32>,
}

impl Sound {
    fn new(format: Format) -> Self {
        Self { format, encoder: None, samples: Vec::new() }
    }

    /// A payload of so many frames; of Opus, of about so many bytes. One that can't be made stays empty,
    /// and is no unit.
    fn make(&mut self, time: MediaTime, frames: u32, bytes: u32, payload: &mut Vec<u8>) {
        let Format { rate, channels, .. } = self.format;
        if frames == 0 || frames > rate {
            return;
        }
        self.samples.clear();
        for frame in 0..frames {
            let sample = voice((time + i64::from(frame)).0 as f64 / f64::from(rate));
            self.samples.extend(std::iter::repeat_n(sample, channels.into()));
        }
        if self.encoder.is_none() {
            let bitrate = u64::from(bytes) * 8 * u64::from(rate) / u64::from(frames);
            let bitrate_bps = bitrate.clamp(6_000, 510_000) as u32;
            self.encoder =
                Encoder::new(self.format, channels, opus::Settings { bitrate_bps, ..Default::default() }).ok();
        }
        if self.encoder.as_mut().is_none_or(|encoder| encoder.encode(&self.samples, payload).is_err()) {
            payload.clear();
        }
    }
}

/// Three harmonics whose pitch and loudness go up and down as in speech.
fn voice(seconds: f64) -> f32 {
    let turn = std::f64::consts::TAU;
    let phase = turn * (PITCH_HZ * seconds + 4.0 * (turn * 0.7 * seconds).sin() / turn);
    let loudness = 0.15 * (1.0 + (turn * SYLLABLES_HZ * seconds).sin());
    (loudness * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.25 * (3.0 * phase).sin())) as f32
}

const PITCH_HZ: f64 = 120.0;
const SYLLABLES_HZ: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::Origin;

    /// Two seconds of L16 that come regularly, but for one packet in fifty, which comes 30 ms later; the
    /// card is opened again in the middle.
    fn trace() -> Vec<Line> {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let (stream, latency, profile) = (1, Latency::Auto, Profile::Talk);
        let start = Record::Start { stream, format: Format::l16(48_000, 1), latency, profile };
        let mut lines = vec![Line { at: at(0), record: Record::Card { rate: 48_000, channels: 2 } }];
        lines.push(Line { at: at(0), record: start });
        for n in 0..400 {
            let late = if n % 50 == 40 { 30 } else { 0 };
            let time = MediaTime(n as i64 * 240);
            let record = Record::Unit { stream, time, frames: 240, bytes: 480, origin: Origin::First };
            lines.push(Line { at: at(n * 5 + late), record });
            let frames = if n < 200 { 240 } else { 480 };
            if n == 200 {
                lines.push(Line { at: at(n * 5), record: Record::Card { rate: 96_000, channels: 1 } });
            }
            lines.push(Line { at: at(n * 5), record: Record::Asked { frames } });
        }
        lines.sort_by_key(|line| line.at);
        lines
    }

    #[test]
    fn a_safer_profile_waits_for_what_a_faster_one_makes_up() {
        let fixed = |millis| Choice { latency: Latency::Fixed(Duration::from_millis(millis)), profile: Profile::Live };
        let mut replay = Replay::new(vec![fixed(5), fixed(60)]);
        trace().iter().for_each(|line| replay.handle(line));
        let runs = replay.finish_all();
        let [Replayed { units: 400, would_be, .. }] = &runs[..] else { panic!("{runs:?}") };
        let [short, long] = &would_be[..] else { panic!("{runs:?}") };
        assert!(short.events > 3 && short.concealed > Duration::from_millis(30), "{short:?}");
        assert_eq!((long.events, long.late), (0, 0), "{long:?}");
        let delay = long.delay(0.5).unwrap();
        assert!(delay > Duration::from_millis(60) && delay < Duration::from_millis(70), "beside the packet: {delay:?}");
    }
}
