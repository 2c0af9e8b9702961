//! Sounds to send. All are the same on every run: a seed says which.

use std::f64::consts::TAU;

use super::audio::Audio;

/// White noise at -14 dB of full scale, of `bits` bits. No two places in it are alike, so a single
/// sample that is lost or repeated shows.
pub fn noise(seed: u64, seconds: f64, rate: u32, channels: usize, bits: u16) -> Audio {
    let mut random = Random::new(seed);
    let count = (seconds * f64::from(rate)).round() as usize * channels;
    let samples = (0..count).map(|_| (random.between(-0.34, 0.34)) as f32).collect();
    Audio { rate, channels, samples }.quantised(bits)
}

/// Random notes with overtones below 4 kHz, never silent, other ones on each channel. A codec
/// keeps its waveform, and as no second repeats, it tells its place in time. It is the same sound
/// at every rate.
pub fn melody(seed: u64, seconds: f64, rate: u32, channels: usize) -> Audio {
    let lines: Vec<Vec<Note>> = (0..channels).map(|channel| notes(seed * 31 + channel as u64, seconds)).collect();
    synthesise(&lines, seconds, rate)
}

/// Syllables of a changing pitch, with formants and pauses between them.
pub fn speech(seed: u64, seconds: f64, rate: u32) -> Audio {
    synthesise(&[syllables(seed, seconds)], seconds, rate)
}

/// A sine at -6 dB of full scale on every channel.
pub fn sine(hertz: f64, seconds: f64, rate: u32, channels: usize) -> Audio {
    let frames = (seconds * f64::from(rate)).round() as usize;
    let samples = (0..frames).map(|frame| (0.5 * (TAU * hertz * frame as f64 / f64::from(rate)).sin()) as f32);
    Audio { rate, channels: 1, samples: samples.collect() }.on_channels(channels)
}

/// A harmonic sound with a beginning and an end.
struct Note {
    start: f64,
    seconds: f64,
    hertz: f64,
    /// How much the pitch moves until the end, as a part of it.
    bend: f64,
    /// Level and phase of each harmonic.
    harmonics: Vec<(f64, f64)>,
}

/// Two notes sound at any moment; each begins in the middle of the one before.
fn notes(seed: u64, seconds: f64) -> Vec<Note> {
    const NOTE: f64 = 0.14;
    let mut random = Random::new(seed);
    let count = (seconds / NOTE * 2.0) as i32 + 2;
    let note = |index: i32| {
        let hertz = 130.0 * 2f64.powf(random.between(0.0, 2.6));
        let harmonics = (1..=4).map(|n| (0.22 / f64::from(n), random.between(0.0, TAU))).collect();
        Note { start: NOTE * 0.5 * f64::from(index - 1), seconds: NOTE, hertz, bend: 0.0, harmonics }
    };
    (0..count).map(note).collect()
}

fn syllables(seed: u64, seconds: f64) -> Vec<Note> {
    let mut random = Random::new(seed);
    let mut notes = Vec::new();
    let mut start = 0.0;
    while start < seconds {
        let long = random.between(0.12, 0.25);
        let hertz = random.between(100.0, 180.0);
        let formants = [random.between(300.0, 800.0), random.between(900.0, 2200.0), 2800.0];
        let level = |f: f64| 0.15 * formants.iter().map(|&at| (-((f - at) / 180.0).powi(2)).exp()).sum::<f64>();
        let harmonics = (1..=25).map(|n| (level(hertz * f64::from(n)), random.between(0.0, TAU))).collect();
        notes.push(Note { start, seconds: long, hertz, bend: random.between(-0.1, 0.1), harmonics });
        start += long + if notes.len().is_multiple_of(5) { 0.2 } else { 0.03 };
    }
    notes
}

fn synthesise(lines: &[Vec<Note>], seconds: f64, rate: u32) -> Audio {
    let mut audio = Audio::silence(seconds, rate, lines.len());
    for (channel, line) in lines.iter().enumerate() {
        line.iter().for_each(|note| sound(note, channel, &mut audio));
    }
    audio
}

fn sound(note: &Note, channel: usize, audio: &mut Audio) {
    let rate = f64::from(audio.rate);
    let first = (note.start * rate).ceil().max(0.0) as usize;
    let end = ((note.start + note.seconds) * rate).ceil().max(0.0) as usize;
    for frame in first..end.min(audio.frames()) {
        let time = frame as f64 / rate - note.start;
        let envelope = 0.5 - 0.5 * (TAU * time / note.seconds).cos();
        let turns = note.hertz * (time + 0.5 * note.bend * time * time / note.seconds);
        let wave = note
            .harmonics
            .iter()
            .zip(1..)
            .map(|(&(level, phase), n)| level * (TAU * turns * f64::from(n) + phase).sin());
        audio.samples[frame * audio.channels + channel] += (envelope * wave.sum::<f64>()) as f32;
    }
}

/// SplitMix64: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}
