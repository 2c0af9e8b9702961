//! When sound is back after an outage, and whether it is at its place.

use super::align::best_lag;
use super::audio::Audio;

/// How far around the expected delay it is looked for, in seconds.
const REACH: f64 = 5.0;

/// Frames that are looked at together, 5 ms at 48 kHz.
const WINDOW: usize = 240;

/// -40 dB, where noise has -14.
const LOUD: f32 = 1e-4;

/// A long noise and what has become of it, both of one rate; looked at on the first channel.
pub struct Recorded {
    sent: Vec<f32>,
    heard: Vec<f32>,
    rate: f64,
}

impl Recorded {
    pub fn new(sent: &Audio, heard: &Audio) -> Self {
        assert_eq!(sent.rate, heard.rate);
        Self { sent: sent.channel(0), heard: heard.channel(0), rate: f64::from(sent.rate) }
    }

    /// From that moment to the next sound, in seconds.
    pub fn until_sound(&self, from: f64) -> Option<f64> {
        let from = self.frames(from);
        let sound = (from..self.heard.len()).step_by(WINDOW).find(|&frame| self.is_sound(frame))?;
        Some((sound - from) as f64 / self.rate)
    }

    /// How much of that time is silent, in seconds.
    pub fn silence(&self, from: f64, to: f64) -> f64 {
        let frames = (self.frames(from)..self.frames(to).min(self.heard.len())).step_by(WINDOW);
        (frames.filter(|&frame| !self.is_sound(frame)).count() * WINDOW) as f64 / self.rate
    }

    /// By how much what is heard in half a second from `at` lags behind what was sent, where it is
    /// expected to lag by `about`; in seconds.
    pub fn delay_at(&self, at: f64, about: f64) -> f64 {
        let heard = self.frames(at)..self.frames(at + 0.5).min(self.heard.len());
        let earliest = self.frames((at - about - REACH).max(0.0)).min(self.sent.len());
        let reach = self.frames(2.0 * REACH);
        let sent = earliest..(earliest + reach + heard.len()).min(self.sent.len());
        let lag = best_lag(&self.sent[sent], &self.heard[heard.clone()], -(reach as isize)..1);
        (heard.start as isize - earliest as isize + lag) as f64 / self.rate
    }

    fn is_sound(&self, frame: usize) -> bool {
        let window = &self.heard[frame..(frame + WINDOW).min(self.heard.len())];
        window.iter().map(|sample| sample * sample).sum::<f32>() / window.len() as f32 > LOUD
    }

    fn frames(&self, seconds: f64) -> usize {
        (seconds * self.rate) as usize
    }
}
