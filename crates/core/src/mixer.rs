//! Several streams into one card: everything that runs in the playback callback.
//!
//! **The creed of the callback: [`Mixer::fill`] never allocates, frees, locks, logs or waits.**
//! What follows from it:
//! - Memory is sized when an object is made, elsewhere. A [`Voice`] arrives whole, in a box.
//! - Everything comes and goes through bounded lock-free rings; a full ring drops or waits for the
//!   next time, never blocks.
//! - What must be freed travels back: payloads through the voice's ring, ended voices through the
//!   mixer's.
//! - A block larger than expected is filled in pieces; nothing is ever resized.

use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::playout::{self, Latency, Playout, Profile, Unit};
use crate::{Fader, Instant, Limiter, duration_of, limiter};

/// Units on the way to one voice: as many as it can hold. A stalled connection gives out all that
/// it held back between two callbacks, and the newest of it must not be what finds no room.
const UNITS: usize = playout::UNITS_MAX;

/// Statistics on the way back, 3.2 s of them: a reader who looks every second, as a status line
/// does, never finds the ring full and the newest missing.
const SNAPSHOTS: usize = 64;

/// Changes on their way to one voice; what finds no room waits, and only the last of it counts.
const CHANGES: usize = 4;

/// What the beginning of a loss costs, on a usual machine, where speech is concealed by a neural
/// network (measured: 0.4 to 0.6 ms). In blocks of 128 frames there is time for two voices at once.
const DEEP_COST: Duration = Duration::from_micros(600);

/// How often statistics are sent back.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(50);

/// One stream as the callback holds it: a playout with the rings that feed it.
pub struct Voice {
    playout: Playout,
    fader: Fader,
    units: Consumer<Unit>,
    changes: Consumer<Change>,
    spent: Producer<Vec<u8>>,
    stats: Producer<playout::Stats>,
}

/// What can be changed while a voice plays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The playout delay.
    pub latency: Latency,
    /// What delay and sound are worth to the listener.
    pub profile: Profile,
    /// How loud, as a factor; 0 is silence.
    pub gain: f32,
}

/// The other end of a [`Voice`]. Dropping it ends the voice once all is played.
pub struct VoiceHandle {
    /// `None` once it is finished.
    units: Option<Producer<Unit>>,
    changes: Producer<Change>,
    /// A change that has found no room yet.
    unsent: Option<Change>,
    spent: Consumer<Vec<u8>>,
    stats: Consumer<playout::Stats>,
    latest: playout::Stats,
}

impl Voice {
    /// Puts rings around a playout, which is heard with `gain`, a factor. Give the voice to
    /// [`MixerHandle::add`].
    pub fn new(playout: Playout, gain: f32) -> (VoiceHandle, Box<Voice>) {
        let (units_in, units) = RingBuffer::new(UNITS);
        let (changes_in, changes) = RingBuffer::new(CHANGES);
        // As many payloads can be on their way back as a playout and its ring can hold.
        let (spent, spent_out) = RingBuffer::new(playout::UNITS_MAX + playout::COPIES_MAX + UNITS);
        let (stats, stats_out) = RingBuffer::new(SNAPSHOTS);
        let handle = VoiceHandle {
            units: Some(units_in),
            changes: changes_in,
            unsent: None,
            spent: spent_out,
            stats: stats_out,
            latest: playout::Stats::default(),
        };
        let fader = Fader::new(gain, playout.config().rate);
        (handle, Box::new(Voice { playout, fader, units, changes, spent, stats }))
    }

    fn fill(&mut self, now: Instant, out: &mut [f32]) {
        // Asked before the ring is emptied: what was sent before the end is then not missed.
        let ending = self.units.is_abandoned();
        while let Ok(Change { latency, profile, gain }) = self.changes.pop() {
            self.playout.set(latency, profile);
            self.fader.set(gain);
        }
        // While nothing can go back nothing is taken: the playout has room for what it holds.
        while !self.spent.is_full()
            && let Ok(unit) = self.units.pop()
        {
            self.playout.insert(unit);
            self.give_back();
        }
        if ending {
            self.playout.finish();
        }
        self.playout.fill(now, out);
        self.fader.apply(out, self.playout.config().channels.into());
        self.give_back();
    }

    fn give_back(&mut self) {
        while !self.spent.is_full()
            && let Some(payload) = self.playout.reclaim()
        {
            let _ = self.spent.push(payload); // there is room
        }
    }

    fn send_stats(&mut self) {
        if !self.stats.is_full() {
            let _ = self.stats.push(self.playout.take_stats()); // there is room
        }
    }
}

impl VoiceHandle {
    /// Sends a unit to the callback. When the ring is full (the card has stopped asking) the
    /// unit comes back, as it does once the voice is finished.
    pub fn send(&mut self, unit: Unit) -> Result<(), Unit> {
        match &mut self.units {
            Some(units) => units.push(unit).map_err(|rtrb::PushError::Full(unit)| unit),
            None => Err(unit),
        }
    }

    /// Changes the delay or the gain of what plays, without a break. It takes effect with the next
    /// block of the card.
    pub fn change(&mut self, change: Change) {
        self.unsent = Some(change);
        self.send_unsent();
    }

    fn send_unsent(&mut self) {
        if let Some(change) = self.unsent.take()
            && self.changes.push(change).is_err()
        {
            self.unsent = Some(change); // the card has stopped asking
        }
    }

    /// Says that no more units come: the voice plays what it has and ends.
    pub fn finish(&mut self) {
        self.units = None;
    }

    /// Whether the voice is gone: it has ended and was freed, or the card was closed.
    pub fn is_ended(&self) -> bool {
        self.stats.is_abandoned()
    }

    /// A payload whose memory is no longer needed.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        self.spent.pop().ok()
    }

    /// The latest statistics that have come back; the peak is over all since the last call. They
    /// are old when that was more than 3 s ago.
    pub fn stats(&mut self) -> playout::Stats {
        self.send_unsent();
        let mut peak: Option<f32> = None;
        while let Ok(stats) = self.stats.pop() {
            peak = Some(peak.unwrap_or_default().max(stats.peak));
            self.latest = stats;
        }
        // Asked again before the callback has said anything new: it is as it was.
        self.latest.peak = peak.unwrap_or(self.latest.peak);
        self.latest
    }
}

/// Fills a card's blocks from all voices.
pub struct Mixer {
    rate: u32,
    channels: usize,
    frames_max: usize,
    #[expect(clippy::vec_box, reason = "a voice is freed in its box, elsewhere")]
    voices: Vec<Box<Voice>>,
    arriving: Consumer<Box<Voice>>,
    retired: Producer<Box<Voice>>,
    levels: Producer<Levels>,
    level: Levels,
    limiter: Limiter,
    next_snapshot: Instant,
    block: Vec<f32>,
}

/// What the mixer saw since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The loudest sample of the sum, before it is limited; full scale 1.0.
    pub peak: f32,
    /// Samples that were beyond full scale before they were limited, counted from the start.
    pub clipped_samples: u64,
    /// The lowest gain to which the [`Limiter`] had to go; 1.0 where nothing was too loud.
    pub limiter_gain: f32,
    /// How long after it is asked for the card plays a block's first frame, at the most: playouts
    /// count their delay from the moment at which the card asks for a frame at the earliest.
    pub output_delay: Duration,
}

impl Default for Levels {
    fn default() -> Self {
        Self { peak: 0.0, clipped_samples: 0, limiter_gain: 1.0, output_delay: Duration::ZERO }
    }
}

/// The other end of a [`Mixer`].
pub struct MixerHandle {
    arriving: Producer<Box<Voice>>,
    retired: Consumer<Box<Voice>>,
    levels: Consumer<Levels>,
    latest: Levels,
    /// Voices that are there or on their way.
    voices: usize,
    voices_max: usize,
}

impl Mixer {
    /// A mixer for a card of `rate` frames per second and `channels` channels, with room for
    /// `voices_max` voices. Their playouts must be made for the same card and for blocks of
    /// `frames_max` frames; larger blocks are filled in pieces.
    pub fn new(rate: u32, channels: u16, frames_max: usize, voices_max: usize) -> (MixerHandle, Mixer) {
        let (arriving_in, arriving) = RingBuffer::new(voices_max);
        let (retired, retired_out) = RingBuffer::new(voices_max);
        let (levels, levels_out) = RingBuffer::new(SNAPSHOTS);
        let channels = usize::from(channels);
        let mixer = Mixer {
            rate,
            channels,
            frames_max,
            voices: Vec::with_capacity(voices_max),
            arriving,
            retired,
            levels,
            level: Levels::default(),
            limiter: Limiter::new(rate),
            next_snapshot: Instant::default(),
            block: vec![0.0; frames_max * channels],
        };
        let latest = Levels::default();
        let handle = MixerHandle {
            arriving: arriving_in,
            retired: retired_out,
            levels: levels_out,
            latest,
            voices: 0,
            voices_max,
        };
        (handle, mixer)
    }

    /// Writes every sample of `out`, interleaved: the sum of all voices, limited to full scale.
    /// `output_delay` is how long from `now` the card plays the first frame.
    pub fn fill(&mut self, now: Instant, output_delay: Duration, out: &mut [f32]) {
        self.level.output_delay = self.level.output_delay.max(output_delay);
        self.adopt();
        let mut at = now;
        for piece in out.chunks_mut(self.frames_max * self.channels) {
            self.mix(at, piece);
            at += duration_of((piece.len() / self.channels) as u64, self.rate);
        }
        self.retire();
        self.send_levels(now);
    }

    /// Whether some of the last block stands for what did not come.
    pub fn makes_up(&self) -> bool {
        self.voices.iter().any(|voice| voice.playout.makes_up())
    }

    fn adopt(&mut self) {
        while self.voices.len() < self.voices.capacity()
            && let Ok(voice) = self.arriving.pop()
        {
            self.voices.push(voice);
        }
    }

    fn mix(&mut self, now: Instant, out: &mut [f32]) {
        out.fill(0.0);
        // All of them may begin a loss in the same block.
        let worst = DEEP_COST * self.voices.len() as u32;
        let deep = worst <= duration_of((out.len() / self.channels) as u64, self.rate) / 2;
        for voice in &mut self.voices {
            voice.playout.set_deep(deep);
            let block = &mut self.block[..out.len()];
            voice.fill(now, block);
            out.iter_mut().zip(&*block).for_each(|(sum, sample)| *sum += sample);
        }
        let peak = limiter::peak(out);
        self.level.peak = self.level.peak.max(peak);
        if peak > 1.0 {
            self.level.clipped_samples += out.iter().filter(|sample| sample.abs() > 1.0).count() as u64;
        }
        let gain = self.limiter.apply(out, self.channels);
        self.level.limiter_gain = self.level.limiter_gain.min(gain);
    }

    fn retire(&mut self) {
        while !self.retired.is_full()
            && let Some(index) = self.voices.iter().position(|voice| voice.playout.is_ended())
        {
            let mut voice = self.voices.swap_remove(index);
            voice.send_stats();
            let _ = self.retired.push(voice); // there is room
        }
    }

    fn send_levels(&mut self, now: Instant) {
        if now < self.next_snapshot {
            return;
        }
        self.next_snapshot = now + SNAPSHOT_INTERVAL;
        self.voices.iter_mut().for_each(|voice| voice.send_stats());
        if !self.levels.is_full() {
            let _ = self.levels.push(self.level); // there is room
            (self.level.peak, self.level.limiter_gain) = (0.0, 1.0);
            self.level.output_delay = Duration::ZERO;
        }
    }
}

impl MixerHandle {
    /// Adds a voice; when there is no room it comes back. One that has ended makes room when it is
    /// [freed](Self::free_retired).
    pub fn add(&mut self, voice: Box<Voice>) -> Result<(), Box<Voice>> {
        if self.voices == self.voices_max {
            return Err(voice);
        }
        self.arriving.push(voice).map_err(|rtrb::PushError::Full(voice)| voice)?;
        self.voices += 1;
        Ok(())
    }

    /// Frees the voices that have ended; returns how many. Call it now and then.
    pub fn free_retired(&mut self) -> usize {
        let freed = std::iter::from_fn(|| self.retired.pop().ok()).count();
        self.voices -= freed;
        freed
    }

    /// The latest levels that have come back; the extremes are over all since the last call. They are
    /// old when that was more than 3 s ago.
    pub fn levels(&mut self) -> Levels {
        let news = std::iter::from_fn(|| self.levels.pop().ok());
        let worse = |before: Levels, now: Levels| Levels {
            peak: before.peak.max(now.peak),
            limiter_gain: before.limiter_gain.min(now.limiter_gain),
            ..now
        };
        self.latest = news.reduce(worse).unwrap_or(self.latest);
        self.latest
    }

    /// Whether the callback is gone for good: the card was closed.
    pub fn is_abandoned(&self) -> bool {
        self.arriving.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::Config;
    use crate::{Format, MediaTime};

    const RATE: u32 = 48_000;
    const BLOCK: usize = 480;

    /// What is heard, block by block, of a loud constant that a voice plays, while it is changed.
    fn peaks(seconds: usize, mut change: impl FnMut(usize, &mut VoiceHandle)) -> (Vec<f32>, playout::Stats) {
        let config = Config {
            latency: Latency::Fixed(Duration::from_millis(20)),
            profile: Profile::Hifi,
            rate: RATE,
            channels: 1,
            frames_max: BLOCK,
        };
        let (mut handle, mut mixer) = Mixer::new(RATE, 1, BLOCK, 1);
        let playout = Playout::new(Format::l16(RATE, 1), config).unwrap();
        let (mut voice_handle, voice) = Voice::new(playout, 1.0);
        assert!(handle.add(voice).is_ok());
        let half = 0x4000u16.to_be_bytes().repeat(BLOCK);
        let peaks = (0..seconds * 100).map(|n| {
            let now = Instant::from_nanos(n as u64 * 10_000_000);
            let time = MediaTime((n * BLOCK) as i64);
            assert!(
                voice_handle
                    .send(Unit {
                        time,
                        frames: BLOCK as u32,
                        arrived: now,
                        origin: Default::default(),
                        payload: half.clone()
                    })
                    .is_ok()
            );
            change(n, &mut voice_handle);
            let mut block = [0.0; BLOCK];
            mixer.fill(now, Duration::ZERO, &mut block);
            while voice_handle.reclaim().is_some() {}
            block.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()))
        });
        (peaks.collect(), voice_handle.stats())
    }

    fn change(latency: u64, gain: f32) -> Change {
        Change { latency: Latency::Fixed(Duration::from_millis(latency)), profile: Profile::Live, gain }
    }

    #[test]
    fn a_voice_is_muted_and_heard_again() {
        let (peaks, _) = peaks(4, |n, voice| match n {
            100 => voice.change(change(20, 0.0)),
            200 => voice.change(change(20, 1.5)),
            _ => {}
        });
        let near = |range: std::ops::Range<usize>, level: f32| {
            assert!(peaks[range].iter().all(|peak| (peak - level).abs() < 0.02), "{level}");
        };
        near(50..100, 0.5);
        near(103..200, 0.0);
        near(203..400, 0.75);
    }

    #[test]
    fn a_delay_is_changed_without_a_break() {
        let (peaks, stats) = peaks(20, |n, voice| {
            voice.stats();
            if n == 500 {
                voice.change(change(30, 1.0));
            }
        });
        // Beside the length of a packet.
        assert!((stats.target_delay.as_secs_f64() - 0.04).abs() < 0.005, "{stats:?}");
        assert!((stats.delay.as_secs_f64() - 0.04).abs() < 0.002, "{stats:?}");
        assert!(peaks[50..].iter().all(|peak| *peak > 0.45), "no hole");
        assert_eq!(stats.concealed_samples, 0);
    }

    #[test]
    fn a_change_that_finds_no_room_is_not_lost() {
        let (peaks, _) = peaks(2, |n, voice| match n {
            100 => (0..=CHANGES).for_each(|n| voice.change(change(20, n as f32 / 10.0))),
            101 => drop(voice.stats()),
            _ => {}
        });
        assert!((peaks[199] - 0.5 * CHANGES as f32 / 10.0).abs() < 0.01, "{}", peaks[199]);
    }
}
