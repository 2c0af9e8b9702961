//! Something like music: plucked chords with harmonics, another part in each channel.

use super::wave::{chance, sine};

/// A note is plucked every so many seconds, and rings for so long.
const BEAT: f64 = 0.25;
const RING: f64 = 1.5;

/// The chords, in half tones over A at 110 Hz; each lasts eight beats.
const CHORDS: [[f64; 4]; 4] =
    [[0.0, 4.0, 7.0, 12.0], [5.0, 9.0, 12.0, 17.0], [-2.0, 3.0, 7.0, 10.0], [-5.0, 2.0, 7.0, 11.0]];
const HARMONICS: i32 = 6;

/// The signal in a channel at a moment, in seconds.
pub fn sample(seconds: f64, channel: usize) -> f64 {
    let newest = (seconds / BEAT).floor() as i64;
    let oldest = (newest - (RING / BEAT) as i64).max(0);
    (oldest..=newest).map(|beat| note(beat as u64, channel, seconds - beat as f64 * BEAT)).sum()
}

fn note(beat: u64, channel: usize, since: f64) -> f64 {
    if since >= RING {
        return 0.0;
    }
    let part = channel as u64;
    let chord = CHORDS[(beat / 8 % 4) as usize];
    let half_tones = chord[(chance(beat, 10 + part) * 4.0) as usize] + 12.0 * part as f64;
    // Each string is a little out of tune, and hears its own force.
    let hz = 110.0 * power_of_two(half_tones / 12.0) * (1.0 + 0.002 * (chance(beat, 20 + part) - 0.5));
    let loud = 0.05 + 0.09 * chance(beat, 30 + part);
    let attack = (since / 0.004).min(1.0);
    let left = 1.0 - since / RING;
    let (mut sum, mut decay) = (0.0, left * left);
    for harmonic in 1..=HARMONICS {
        let harmonic = f64::from(harmonic);
        sum += decay / harmonic * sine(hz * harmonic * (1.0 + 0.0003 * harmonic * harmonic) * since);
        decay *= left * left;
    }
    loud * attack * sum
}

/// The same on every machine for multiples of a twelfth: one half tone after the other.
fn power_of_two(octaves: f64) -> f64 {
    const HALF_TONE: f64 = 1.059_463_094_359_295_3;
    let half_tones = (octaves * 12.0).round() as i32;
    let factor = if half_tones < 0 { 1.0 / HALF_TONE } else { HALF_TONE };
    (0..half_tones.abs()).fold(1.0, |power, _| power * factor)
}
