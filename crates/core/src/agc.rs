//! What makes a quiet voice loud enough, and a loud one quieter: automatic gain.

use std::time::Duration;

use crate::frames_in;

/// Brings a voice to about the same loudness, wherever it speaks from: up by 3 dB a second at the most,
/// down by 12, and nothing while nobody speaks. It adds no delay: what becomes loud suddenly is as loud as
/// it comes for a moment, and a [`Limiter`](crate::Limiter) behind it keeps that within full scale.
#[derive(Clone, Debug)]
pub struct Agc {
    /// Of the samples that pass, as a factor.
    gain: f32,
    /// What it is brought to.
    wanted: f32,
    /// Mean square of what is spoken.
    level: f32,
    /// Of the window that is being measured.
    squares: f32,
    frames: usize,
    window: usize,
    /// The factors of one frame.
    up: f32,
    down: f32,
}

/// Loudness is measured over so long.
const WINDOW: Duration = Duration::from_millis(10);

/// The root mean square to which a voice is brought, -20 dBFS: its peaks are 12 to 18 dB above.
const TARGET: f32 = 0.1;

/// Below, nobody speaks: -50 dBFS.
const SPOKEN: f32 = 0.003_16;

/// So much of what is new is in the level of speech after each window: half after 0.3 s, a tenth of it
/// where it becomes louder.
const FALL: f32 = 0.023;
const RISE: f32 = 0.2;

/// 24 dB: a voice from the other side of a room, before its noise is as loud as it.
const GAIN_MAX: f32 = 15.8;
/// -12 dB.
const GAIN_MIN: f32 = 0.25;

const UP_DB_A_SECOND: f32 = 3.0;
const DOWN_DB_A_SECOND: f32 = 12.0;

impl Agc {
    /// For sound of `rate` frames per second.
    pub fn new(rate: u32) -> Self {
        let a_frame = |decibels: f32| 10.0f32.powf(decibels / 20.0 / rate.max(1) as f32);
        Self {
            gain: 1.0,
            wanted: 1.0,
            level: TARGET * TARGET,
            squares: 0.0,
            frames: 0,
            window: (frames_in(WINDOW, rate) as usize).max(1),
            up: a_frame(UP_DB_A_SECOND),
            down: a_frame(DOWN_DB_A_SECOND).recip(),
        }
    }

    /// Makes interleaved `samples` louder or quieter, all channels alike; returns the gain that they end
    /// with, as a factor.
    pub fn apply(&mut self, samples: &mut [f32], channels: usize) -> f32 {
        for frame in samples.chunks_exact_mut(channels.max(1)) {
            let square = frame.iter().map(|sample| sample * sample).sum::<f32>() / channels.max(1) as f32;
            self.measure(square);
            self.gain = match self.gain < self.wanted {
                true => (self.gain * self.up).min(self.wanted),
                false => (self.gain * self.down).max(self.wanted),
            };
            frame.iter_mut().for_each(|sample| *sample *= self.gain);
        }
        self.gain
    }

    fn measure(&mut self, square: f32) {
        self.squares += if square.is_finite() { square.min(1.0) } else { 0.0 };
        self.frames += 1;
        if self.frames < self.window {
            return;
        }
        let mean = std::mem::take(&mut self.squares) / self.window as f32;
        self.frames = 0;
        if mean < SPOKEN * SPOKEN {
            self.wanted = self.gain; // it stays as it is until somebody speaks again
            return;
        }
        let part = if mean > self.level { RISE } else { FALL };
        self.level += part * (mean - self.level);
        self.wanted = (TARGET / self.level.sqrt()).clamp(GAIN_MIN, GAIN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    const RATE: usize = 48_000;

    /// Seconds of a voice that is so loud at its loudest: a tone that comes and goes four times a second.
    fn voice(seconds: usize, peak: f32) -> Vec<f32> {
        let at = |n: usize| n as f32 / RATE as f32;
        (0..seconds * RATE).map(|n| peak * (TAU * 200.0 * at(n)).sin() * (TAU * 2.0 * at(n)).sin().powi(2)).collect()
    }

    fn decibels(samples: &[f32]) -> f32 {
        10.0 * (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).log10()
    }

    #[test]
    fn quiet_and_loud_voices_become_equally_loud() {
        for peak in [0.02, 0.1, 0.9] {
            let mut samples = voice(20, peak);
            Agc::new(RATE as u32).apply(&mut samples, 1);
            let level = decibels(&samples[15 * RATE..]);
            assert!((level + 20.0).abs() < 4.0, "a voice with peaks of {peak} comes out at {level} dBFS");
        }
    }

    #[test]
    fn silence_stays_silence_and_does_not_move_the_gain() {
        let mut agc = Agc::new(RATE as u32);
        let gain = agc.apply(&mut voice(10, 0.05), 1);
        let mut noise: Vec<f32> = (0..30 * RATE).map(|n| if n % 2 == 0 { 0.001 } else { -0.001 }).collect();
        assert_eq!(agc.apply(&mut noise, 1), gain, "the noise of the room is not brought up");
        assert!(gain > 2.0 && noise.iter().all(|sample| sample.abs() < 0.001 * GAIN_MAX));
    }

    #[test]
    fn nothing_is_delayed() {
        let mut samples = vec![0.0; 1_000];
        samples[500..503].copy_from_slice(&[0.1, -0.2, 0.1]);
        let before = samples.clone();
        Agc::new(RATE as u32).apply(&mut samples, 1);
        let likeness = |shift: usize| -> f32 { before.iter().zip(&samples[shift..]).map(|(a, b)| a * b).sum() };
        assert!((1..20).all(|shift| likeness(0) > likeness(shift)));
    }

    #[test]
    fn nonsense_does_not_silence_the_rest() {
        let mut agc = Agc::new(RATE as u32);
        agc.apply(&mut [f32::NAN, f32::INFINITY, 1e30, -1e30], 2);
        let mut samples = voice(10, 0.1);
        agc.apply(&mut samples, 1);
        assert!(samples.iter().all(|sample| sample.is_finite()) && decibels(&samples[8 * RATE..]) > -30.0);
    }
}
