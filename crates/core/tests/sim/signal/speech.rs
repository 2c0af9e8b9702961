//! Something like speech: pulses of a gliding pitch through the formants of one vowel after the
//! other, hisses before some, pauses between words.

use super::wave::{chance, sine};

/// A syllable every so many seconds.
const SYLLABLE: f64 = 0.24;

/// Formants of vowels, in Hz: a, e, i, o, u.
const VOWELS: [[f64; 4]; 5] = [
    [730.0, 1_090.0, 2_440.0, 3_400.0],
    [530.0, 1_840.0, 2_480.0, 3_500.0],
    [270.0, 2_290.0, 3_010.0, 3_600.0],
    [570.0, 840.0, 2_410.0, 3_300.0],
    [300.0, 870.0, 2_240.0, 3_300.0],
];
const LOUDNESS: [f64; 4] = [0.30, 0.20, 0.08, 0.04];

/// How long a pulse rings, in seconds.
const RING: f64 = 0.012;

/// A hiss takes the first part of a syllable, in seconds, and changes so many times a second.
const HISS: f64 = 0.06;
const HISS_RATE: f64 = 14_000.0;

/// The signal at a moment, in seconds.
pub fn sample(seconds: f64) -> f64 {
    let number = (seconds / SYLLABLE).floor();
    let into = seconds - number * SYLLABLE;
    // What the syllable before lets ring reaches into this one.
    let before = if into < RING { Syllable::new(number as i64 - 1).sample(into + SYLLABLE) } else { 0.0 };
    before + Syllable::new(number as i64).sample(into)
}

struct Syllable {
    number: u64,
    spoken: bool,
    hisses: bool,
    /// Its pitch at first, in Hz, and how that moves, in Hz per second.
    pitch: f64,
    glide: f64,
    from: [f64; 4],
    to: [f64; 4],
}

impl Syllable {
    fn new(number: i64) -> Self {
        let number = number.max(0) as u64;
        // One in five is left out, and a breath is taken after every eleven.
        let spoken = chance(number, 1) > 0.2 && number % 12 < 11;
        Self {
            number,
            spoken,
            hisses: chance(number, 2) < 0.4,
            pitch: 105.0 + 60.0 * chance(number, 3),
            glide: -80.0 + 140.0 * chance(number, 4),
            from: vowel(number),
            to: vowel(number + 1),
        }
    }

    fn sample(&self, into: f64) -> f64 {
        if !self.spoken {
            return 0.0;
        }
        let hiss = if self.hisses && into < HISS { self.hiss(into) } else { 0.0 };
        let mut sum = hiss;
        let mut pulse = self.pulses_until(into.min(SYLLABLE)).floor();
        while pulse >= 1.0 {
            let began = self.pulse_at(pulse);
            if into - began >= RING {
                break;
            }
            sum += self.ring(began, into - began);
            pulse -= 1.0;
        }
        sum
    }

    fn pulses_until(&self, into: f64) -> f64 {
        into * (self.pitch + into * self.glide / 2.0)
    }

    fn pulse_at(&self, pulse: f64) -> f64 {
        2.0 * pulse / (self.pitch + (self.pitch * self.pitch + 2.0 * self.glide * pulse).max(0.0).sqrt())
    }

    /// What a pulse sounds like after a while: each formant rings down.
    fn ring(&self, began: f64, since: f64) -> f64 {
        let loud = (began / 0.03).min((SYLLABLE - began) / 0.06).clamp(0.0, 1.0);
        let way = began / SYLLABLE;
        let left = 1.0 - since / RING;
        let decay = left * left * left * (since / 0.0003).min(1.0);
        let formant = |n: usize| {
            let hz = self.from[n] + (self.to[n] - self.from[n]) * way;
            LOUDNESS[n] * sine(hz * since)
        };
        loud * decay * (0..4).map(formant).sum::<f64>()
    }

    fn hiss(&self, into: f64) -> f64 {
        let place = into * HISS_RATE;
        let at = |n: f64| chance(self.number, 1_000 + n as u64) - 0.5;
        let (n, u) = (place.floor(), place - place.floor());
        let shape = (into / 0.01).min((HISS - into) / 0.02).clamp(0.0, 1.0);
        0.1 * shape * (at(n) * (1.0 - u) + at(n + 1.0) * u)
    }
}

fn vowel(number: u64) -> [f64; 4] {
    VOWELS[(chance(number, 5) * VOWELS.len() as f64) as usize]
}
