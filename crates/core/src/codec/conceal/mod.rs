//! How PCM goes on through a loss: as its past says, and towards what follows where that is known.

mod bands;
mod burg;
mod predictor;

use std::time::Duration;

use crate::codec::pcm::LOUDEST;
use crate::{Format, frames_in};
use bands::{Bands, RATE_MAX, Shape, Workshop};
use predictor::Predictor;

/// The sound of a loss, made of what was played before it.
///
/// Allocates when it is made and never again.
pub struct Concealment {
    rate: u32,
    channels: usize,
    shape: Shape,
    /// Interleaved, the newest sample last; always of the same length.
    played: Vec<f32>,
    /// Frames since the loss began.
    lost_frames: u64,
    /// Whether the last sound was that of a loss.
    made_up: bool,
    /// Of each channel, what was decoded lately: losses that follow each other must not make each
    /// other louder.
    loudest: Vec<f32>,
    bands: Vec<Bands>,
    /// For each channel, how loud it may become.
    limits: Vec<f32>,
    workshop: Workshop,
    /// One channel of what is worked on.
    mono: Vec<f32>,
    /// Continues backwards what the bands got wrong of what follows.
    correction: Predictor,
    /// Decoded: the beginning of what follows, interleaved.
    following: Vec<f32>,
    /// What the bands got wrong of it, interleaved.
    errors: Vec<f32>,
}

/// A longer loss fades from here on: less and less of what sounded will still be sounding.
const FADE_FROM: Duration = Duration::from_millis(20);

/// And here it is silent.
const SILENT_FROM: Duration = Duration::from_millis(60);

/// So much of what follows is looked at. More tells little more about the end of a gap.
const FOLLOWING: Duration = Duration::from_millis(5);

/// A gap is led towards what follows over so much at the most: further away, the past knows better.
pub(super) const LED: Duration = Duration::from_millis(20);

/// A shorter rest of a loss is not led: what was concealed so far may be far away from what follows.
const LED_MIN: Duration = Duration::from_millis(1);

/// A correction has little to be learned from, and more of it tells little more.
const ORDER_CORRECTION: usize = 64;

/// A correction is told down to 40 dB below: where it is large, another sound has begun, and little
/// of it is known.
const NOISE: f64 = 1e-4;

/// Nothing becomes louder than this times the loudest on either side.
const OVERSHOOT: f32 = 1.25;

/// What is quieter everywhere is silence: less than a step of 24 bits.
const INAUDIBLE: f32 = 1e-7;

impl Concealment {
    pub(super) fn new(format: Format) -> Self {
        let (rate, channels) = (format.rate, usize::from(format.channels));
        let shape = Shape::new(rate);
        let following = frames_in(FOLLOWING, rate.min(RATE_MAX)) as usize;
        Self {
            rate,
            channels,
            shape,
            played: vec![0.0; shape.past * channels],
            lost_frames: 0,
            made_up: false,
            loudest: vec![0.0; channels],
            bands: (0..channels).map(|_| Bands::new(shape)).collect(),
            limits: vec![0.0; channels],
            workshop: Workshop::new(shape),
            mono: Vec::with_capacity(shape.past),
            correction: Predictor::new(1, ORDER_CORRECTION, 0),
            following: vec![0.0; following * channels],
            errors: Vec::with_capacity(following * channels),
        }
    }

    /// Takes note of what was played, be it decoded or made up.
    pub(super) fn remember(&mut self, samples: &[f32]) {
        if !self.made_up {
            self.measure(samples);
        }
        let keep = self.played.len();
        if samples.len() >= keep {
            self.played.copy_from_slice(&samples[samples.len() - keep..]);
        } else {
            self.played.copy_within(samples.len().., 0);
            self.played[keep - samples.len()..].copy_from_slice(samples);
        }
    }

    /// The loss is over.
    pub(super) fn end(&mut self) {
        self.lost_frames = 0;
        self.made_up = false;
    }

    fn measure(&mut self, decoded: &[f32]) {
        let frames = decoded.len() / self.channels;
        let share = (frames as f32 / self.shape.past as f32).min(1.0);
        for (channel, loudest) in self.loudest.iter_mut().enumerate() {
            let heard = peak(decoded.iter().skip(channel).step_by(self.channels));
            *loudest = heard.max(*loudest * (1.0 - share));
        }
    }

    /// Writes the sound of a loss over `samples`, going on where the last call ended.
    pub(super) fn go_on(&mut self, samples: &mut [f32]) {
        if self.lost_frames == 0 {
            self.begin();
        }
        self.made_up = true;
        self.predict(samples);
    }

    /// As [`go_on`](Self::go_on), and the loss ends so that what `decode` writes follows without a
    /// break. Returns whether it does: not where too little is left to lead it there.
    pub(super) fn lead(&mut self, samples: &mut [f32], decode: impl FnOnce(&mut [f32]) -> usize) -> bool {
        self.go_on(samples);
        if samples.len() < frames_in(LED_MIN, self.rate) as usize * self.channels {
            return false;
        }
        let mut following = std::mem::take(&mut self.following);
        let count = decode(&mut following);
        self.correct(samples, &following[..count]);
        self.following = following;
        self.lost_frames = 0;
        true
    }

    /// Learns from what was played.
    fn begin(&mut self) {
        for (channel, bands) in self.bands.iter_mut().enumerate() {
            self.mono.clear();
            self.mono.extend(self.played.iter().skip(channel).step_by(self.channels));
            let silent = peak(self.mono.iter()) < INAUDIBLE;
            self.limits[channel] = if silent { 0.0 } else { (OVERSHOOT * self.loudest[channel]).min(LOUDEST) };
            if self.limits[channel] > 0.0 {
                bands.begin(&self.mono, &mut self.workshop);
            }
        }
    }

    fn predict(&mut self, samples: &mut [f32]) {
        for frame in samples.chunks_exact_mut(self.channels) {
            let gain = self.gain();
            for (sample, (bands, limit)) in frame.iter_mut().zip(self.bands.iter_mut().zip(&self.limits)) {
                let sounds = gain * limit > 0.0;
                *sample = if sounds { bands.next().clamp(-limit, *limit) * gain } else { 0.0 };
            }
            self.lost_frames = self.lost_frames.saturating_add(1);
        }
    }

    /// The fade of a long loss.
    fn gain(&self) -> f32 {
        let (from, to) = (frames_in(FADE_FROM, self.rate), frames_in(SILENT_FROM, self.rate));
        match self.lost_frames {
            lost if lost <= from => 1.0,
            lost if lost >= to => 0.0,
            lost => falling((lost - from) as f32 / (to - from) as f32),
        }
    }

    /// What the prediction would get wrong of `following`, continued backwards into the gap and
    /// fading towards its begin, is what it gets wrong there.
    ///
    /// A prediction backwards of what follows itself would need as much of it as of the past. The
    /// error is smaller and simpler: one packet tells it.
    fn correct(&mut self, samples: &mut [f32], following: &[f32]) {
        let mut errors = std::mem::take(&mut self.errors);
        errors.resize(following.len(), 0.0);
        self.predict(&mut errors);
        errors.iter_mut().zip(following).for_each(|(error, sample)| *error = sample - *error);
        for channel in 0..self.channels {
            let heard = following.iter().skip(channel).step_by(self.channels);
            let limit = self.limits[channel].max((OVERSHOOT * peak(heard)).min(LOUDEST));
            self.mono.clear();
            self.mono.extend(errors.iter().skip(channel).step_by(self.channels).rev());
            self.correction.begin(&self.mono, self.shape.damping, NOISE, &mut self.workshop.burg);
            self.correct_channel(samples.iter_mut().skip(channel).step_by(self.channels), limit);
        }
        self.errors = errors;
    }

    fn correct_channel<'a>(
        &mut self,
        samples: impl DoubleEndedIterator<Item = &'a mut f32> + ExactSizeIterator,
        limit: f32,
    ) {
        let frames = samples.len().min(frames_in(LED, self.rate) as usize);
        for (index, sample) in samples.rev().take(frames).enumerate() {
            let weight = falling((index as f32 + 0.5) / frames as f32);
            *sample = (*sample + weight * self.correction.next()).clamp(-limit, limit);
        }
    }
}

/// From one to zero, both gently: a raised cosine. `progress` from 0 to 1.
fn falling(progress: f32) -> f32 {
    0.5 + 0.5 * (progress * std::f32::consts::PI).cos()
}

fn peak<'a>(samples: impl Iterator<Item = &'a f32>) -> f32 {
    samples.fold(0.0, |peak, sample| peak.max(sample.abs()))
}

#[cfg(test)]
mod tests;
