//! When sound is back after an outage, and whether it is at its place.

use super::align::best_match;
use super::audio::Audio;

/// How far around the expected delay it is looked for, in seconds.
const REACH: f64 = 5.0;

/// Half a second is looked at in so many places, for so long each, in seconds: where a playout changes its delay
/// by 2 ms a second, half a second of noise has no one place, and any other looks as good.
const PIECES: u32 = 5;
const PIECE: f64 = 0.05;

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
    /// expected to lag by `about`; in seconds. Told by the piece that is most alike.
    pub fn delay_at(&self, at: f64, about: f64) -> f64 {
        let pieces = (0..PIECES).map(|n| self.delay_of_piece(at + 0.5 * f64::from(n) / f64::from(PIECES), about));
        pieces.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there are pieces").0
    }

    /// The delay of one piece, and how alike it is to what was sent: 1 where it is the same.
    fn delay_of_piece(&self, at: f64, about: f64) -> (f64, f32) {
        let heard = self.frames(at)..self.frames(at + PIECE).min(self.heard.len());
        let earliest = self.frames((at - about - REACH).max(0.0)).min(self.sent.len());
        let reach = self.frames(2.0 * REACH);
        let sent = earliest..(earliest + reach + heard.len()).min(self.sent.len());
        let piece = &self.heard[heard.clone()];
        let (lag, product) = best_match(&self.sent[sent], piece, -(reach as isize)..1);
        let energy: f32 = piece.iter().map(|sample| sample * sample).sum();
        ((heard.start as isize - earliest as isize + lag) as f64 / self.rate, product / energy.max(LOUD))
    }

    fn is_sound(&self, frame: usize) -> bool {
        let window = &self.heard[frame..(frame + WINDOW).min(self.heard.len())];
        window.iter().map(|sample| sample * sample).sum::<f32>() / window.len() as f32 > LOUD
    }

    fn frames(&self, seconds: f64) -> usize {
        (seconds * self.rate) as usize
    }
}
