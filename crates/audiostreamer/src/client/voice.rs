//! A voice is cleaned before it is sent: of what the loudspeaker plays, and of noise.
//!
//! The playing callback leaves a copy of every block, with the moment at which it will be heard, in a
//! ring ([`Played`]); the send thread does the rest ([`Cleaner`]). Both cards' blocks carry local time,
//! so that neither their sizes nor their buffers nor the difference of their clocks matter: to a block
//! of the microphone belongs what was played at its time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audiostreamer_core::{Instant, duration_of, frames_in};
use sonora::config::{EchoCanceller, MaxProcessingRate, NoiseSuppression, NoiseSuppressionLevel, Pipeline};
use sonora::{AudioProcessing, StreamConfig};

use crate::capture::{self, Captured, Tap};
use crate::device::{Shape, Xruns};

/// How a voice is cleaned; not at all by default.
#[derive(Clone, Debug, Default)]
pub struct Cleaning {
    /// Of noise that goes on: a fan, traffic, hiss.
    pub noise: bool,
    /// Of what the loudspeaker plays: the other end's voice, and what else there is.
    pub echo_of: Option<Played>,
}

impl Cleaning {
    /// Whether there is something to do.
    pub fn is_wanted(&self) -> bool {
        self.noise || self.echo_of.is_some()
    }

    /// By how much it delays what it lets through.
    fn delay(&self) -> Duration {
        if self.noise { BANDS + NOISE } else { BANDS }
    }
}

/// What is played, on its way to who listens for its echo. One for each pair of cards.
#[derive(Clone, Default)]
pub struct Played(Arc<Mutex<Option<Captured>>>);

impl Played {
    /// The playing callback's end, for a card that was opened (again).
    pub(crate) fn tap(&self, shape: Shape) -> Tap {
        // Nobody is woken: it is looked at when something was captured.
        let (tap, played) = capture::tap(shape, Xruns::default(), std::thread::current(), usize::MAX);
        if let Ok(mut kept) = self.0.lock() {
            *kept = Some(played);
        }
        tap
    }

    fn take(&self) -> Option<Captured> {
        self.0.lock().ok()?.take()
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Played")
    }
}

/// The algorithms work on this much at a time.
const BLOCK: Duration = Duration::from_millis(10);

/// What they take: the filters that split the sound into three bands and join it again, and for noise the
/// overlap of the spectra (96 frames at 16 kHz).
const BANDS: Duration = Duration::from_micros(8_960);
const NOISE: Duration = Duration::from_millis(6);

/// What is played is told to the algorithm so much earlier than it is heard: an echo that came before
/// its sound, because a card says its time inexactly, could not be found.
const EARLY: Duration = Duration::from_millis(10);

/// What was played longer ago than this has left no echo any more.
const OLD: Duration = Duration::from_millis(500);

/// Takes blocks of a microphone, and gives them back in blocks of 10 ms, cleaned: the same on all
/// channels, as there is one voice.
pub(super) struct Cleaner {
    cleaning: Cleaning,
    microphone: Side,
    /// The card that plays, as it is now.
    loudspeaker: Option<(Captured, Side)>,
    processing: AudioProcessing,
    clean: Vec<f32>,
    block: Vec<f32>,
}

impl Cleaner {
    /// For a microphone of that shape.
    pub fn new(shape: Shape, cleaning: Cleaning) -> Self {
        Self {
            processing: processing(&cleaning, shape.rate, shape.rate),
            cleaning,
            microphone: Side::new(shape),
            loudspeaker: None,
            clean: Vec::new(),
            block: Vec::new(),
        }
    }

    /// Takes what was captured; `captured` is when its first sample was heard.
    pub fn push(&mut self, captured: Instant, samples: &[f32]) {
        self.microphone.push(captured, samples);
    }

    /// The next block, interleaved, and when its first sample was heard.
    pub fn poll(&mut self) -> Option<(Instant, &[f32])> {
        let captured = self.microphone.next(None)?;
        self.tell_what_is_played_until(captured + BLOCK + EARLY);
        self.clean.resize(self.microphone.block.len(), 0.0);
        let done = self.processing.process_capture_f32(&[&self.microphone.block], &mut [&mut self.clean]);
        if done.is_err() {
            self.clean.copy_from_slice(&self.microphone.block); // as it is, rather than not at all
        }
        let channels = usize::from(self.microphone.shape.channels);
        self.block.clear();
        self.block.extend(self.clean.iter().flat_map(|&sample| std::iter::repeat_n(sample, channels)));
        Some((captured - self.cleaning.delay(), &self.block))
    }

    fn tell_what_is_played_until(&mut self, time: Instant) {
        if let Some(played) = self.cleaning.echo_of.as_ref().and_then(Played::take) {
            self.processing = processing(&self.cleaning, self.microphone.shape.rate, played.shape.rate);
            let side = Side::new(played.shape);
            self.loudspeaker = Some((played, side));
        }
        let Some((played, side)) = &mut self.loudspeaker else { return };
        while let Some((block, samples)) = played.next_block() {
            side.push(block.captured, samples);
        }
        side.forget_before(time - OLD);
        while side.next(Some(time)).is_some() {
            self.clean.resize(side.block.len(), 0.0); // it comes back as it is
            let _ = self.processing.process_render_f32(&[&side.block], &mut [&mut self.clean]);
        }
    }
}

fn processing(cleaning: &Cleaning, microphone_rate: u32, loudspeaker_rate: u32) -> AudioProcessing {
    let noise = NoiseSuppression { level: NoiseSuppressionLevel::High, ..NoiseSuppression::default() };
    let whole_band = Pipeline { maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz, ..Pipeline::default() };
    let config = sonora::Config {
        pipeline: whole_band,
        echo_canceller: cleaning.echo_of.is_some().then(EchoCanceller::default),
        noise_suppression: cleaning.noise.then_some(noise),
        ..sonora::Config::default()
    };
    AudioProcessing::builder()
        .config(config)
        .capture_config(StreamConfig::new(microphone_rate, 1))
        .render_config(StreamConfig::new(loudspeaker_rate, 1))
        .build()
}

/// One card's sound, mixed down to one channel and cut into blocks of 10 ms.
struct Side {
    shape: Shape,
    waiting: VecDeque<f32>,
    /// When the last sample that waits has been heard.
    until: Instant,
    block: Vec<f32>,
}

impl Side {
    fn new(shape: Shape) -> Self {
        Self { shape, waiting: VecDeque::new(), until: Instant::default(), block: Vec::new() }
    }

    fn push(&mut self, heard: Instant, samples: &[f32]) {
        let channels = usize::from(self.shape.channels);
        let mixed = samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32);
        self.waiting.extend(mixed);
        self.until = heard + duration_of((samples.len() / channels) as u64, self.shape.rate);
    }

    /// Makes `block` the next one, if there is a whole one that ends before `until`; when it begins.
    fn next(&mut self, until: Option<Instant>) -> Option<Instant> {
        let frames = frames_in(BLOCK, self.shape.rate) as usize;
        let start = self.start();
        if self.waiting.len() < frames || until.is_some_and(|until| start + BLOCK > until) {
            return None;
        }
        self.block.clear();
        self.block.extend(self.waiting.drain(..frames));
        Some(start)
    }

    fn forget_before(&mut self, time: Instant) {
        let old = frames_in(time - self.start(), self.shape.rate) as usize;
        self.waiting.drain(..old.min(self.waiting.len()));
    }

    fn start(&self) -> Instant {
        self.until - duration_of(self.waiting.len() as u64, self.shape.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;
    const SECONDS: usize = 5;

    fn shape(channels: u16, period: usize) -> Shape {
        Shape { rate: RATE, channels, period }
    }

    /// White, between -1 and 1; the same for the same seed.
    fn noise(seed: u64) -> impl Iterator<Item = f32> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .take(SECONDS * RATE as usize)
    }

    /// Syllables of noise, as from somebody who speaks.
    fn voice(seed: u64, syllables_per_second: f64) -> Vec<f32> {
        let mut low = 0.0;
        let loudness = |frame: usize| {
            let phase = frame as f64 / f64::from(RATE) * syllables_per_second * std::f64::consts::TAU;
            phase.sin().max(0.0) as f32
        };
        noise(seed)
            .enumerate()
            .map(|(frame, noise)| {
                low += 0.2 * (noise - low);
                low * 0.8 * loudness(frame)
            })
            .collect()
    }

    /// What a room makes of it: 50 reflections that fade, the first `delay` frames later.
    fn echo(of: &[f32], delay: usize) -> Vec<f32> {
        let mut heard = vec![0.0; of.len()];
        for reflection in 0..50 {
            let sign = if reflection % 3 == 1 { -1.0 } else { 1.0 };
            let (at, gain) = (delay + reflection * 53, 0.1 * sign * (-(reflection as f32) / 10.0).exp());
            heard[at..].iter_mut().zip(of).for_each(|(heard, sample)| *heard += gain * sample);
        }
        heard
    }

    /// Runs both cards: the loudspeaker in blocks of 256 frames that are heard 40 ms after its callback, the
    /// microphone in blocks of 128 that were heard 5 ms before. What is sent, one channel of it.
    fn cleaned(far: &[f32], microphone: &[f32], noise: bool) -> Vec<f32> {
        let played = Played::default();
        let mut tap = played.tap(shape(2, 256));
        let mut cleaner = Cleaner::new(shape(1, 128), Cleaning { noise, echo_of: Some(played) });
        let at = |frame: usize| Instant::from_nanos(1_000_000_000) + duration_of(frame as u64, RATE);
        let buffered = frames_in(Duration::from_millis(40), RATE) as usize;
        let (mut rendered, mut sent) = (0, Vec::new());
        for (index, block) in microphone.chunks_exact(128).enumerate() {
            while rendered + 256 <= far.len() && rendered <= index * 128 + buffered {
                let stereo: Vec<f32> = far[rendered..rendered + 256].iter().flat_map(|&s| [s, s]).collect();
                tap.handle(at(rendered), &stereo);
                rendered += 256;
            }
            cleaner.push(at(index * 128), block);
            while let Some((_, clean)) = cleaner.poll() {
                sent.extend_from_slice(clean);
            }
        }
        sent
    }

    fn decibels(sound: &[f32]) -> f64 {
        let power: f64 = sound.iter().map(|&sample| f64::from(sample).powi(2)).sum();
        10.0 * (power / sound.len() as f64).max(1e-12).log10()
    }

    /// In dB.
    fn taken_in_the_last_second(heard: &[f32], sent: &[f32]) -> f64 {
        let last_second = 4 * RATE as usize..sent.len();
        decibels(&heard[last_second.clone()]) - decibels(&sent[last_second])
    }

    #[test]
    fn an_echo_is_taken_out_however_late_it_is() {
        let far = voice(88_172_645_463_325_252, 2.0);
        for delay in [96, 2_400, 9_600] {
            let microphone = echo(&far, delay);
            let sent = cleaned(&far, &microphone, false);
            let taken = taken_in_the_last_second(&microphone, &sent);
            println!("echo after {delay} frames: return loss enhancement {taken:.1} dB");
            assert!(taken > 25.0, "{taken:.1} dB of an echo after {delay} frames");
        }
    }

    #[test]
    fn noise_is_taken_out_where_nobody_speaks() {
        let hiss: Vec<f32> = noise(5).map(|sample| 0.01 * sample).collect();
        let sent = cleaned(&vec![0.0; hiss.len()], &hiss, true);
        let taken = taken_in_the_last_second(&hiss, &sent);
        println!("hiss: {taken:.1} dB");
        assert!(taken > 12.0, "{taken:.1} dB");
    }

    #[test]
    fn a_voice_passes_with_the_delay_that_is_said() {
        let near = voice(123_456_789, 2.5);
        for noise in [false, true] {
            let sent = cleaned(&vec![0.0; near.len()], &near, noise);
            let part = 2 * RATE as usize..2 * RATE as usize + 9_600;
            let alike = |lag: usize| -> f64 {
                part.clone().map(|frame| f64::from(near[frame]) * f64::from(sent[frame + lag])).sum()
            };
            let lag = (200..1_000).max_by(|a, b| alike(*a).total_cmp(&alike(*b))).unwrap();
            let said = frames_in(Cleaning { noise, echo_of: None }.delay(), RATE) as usize;
            let lost = decibels(&near[part.clone()]) - decibels(&sent[part.start + lag..part.end + lag]);
            println!("a voice alone: {lag} frames late, {lost:.1} dB quieter; noise taken out: {noise}");
            assert!(lag.abs_diff(said) < 48, "{lag} frames, and {said} are said");
            assert!(lost.abs() < 3.0, "{lost:.1} dB");
        }
    }
}
