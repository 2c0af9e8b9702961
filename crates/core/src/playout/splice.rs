//! Leaving out, or saying again, a piece of sound where it hurts least.

use std::ops::Range;

/// Finds two places in the sound that go on alike, and joins them: all channels together, at any
/// distance, so that a voice loses or gains whole pitch periods and music something that fits.
pub(super) struct Splicer {
    channels: usize,
    /// Every `COARSE`th frame of what is compared, averaged.
    coarse: Vec<f32>,
    /// A crossfade before it is put in place.
    joint: Vec<f32>,
}

/// Where to go on instead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    /// In frames.
    pub to: usize,
    /// Of what goes on, by waveform and loudness: 1 is the same, 0 has nothing in common.
    pub likeness: f32,
}

/// A first search looks at so many frames as one: 8 kHz at 48 kHz.
const COARSE: usize = 6;

/// What a place may be less alike for being a coarse frame farther away: 0.05 over 50 ms.
const FARTHER: f32 = 0.05 / 400.0;

/// What lies between two places may be so much stronger than they are (3 dB).
const LOUDER: f32 = 2.0;

/// Below this mean square, sound counts as silence (-66 dBFS): any silence goes on like any other.
const SILENCE: f32 = 2.5e-7;

impl Splicer {
    /// For at most `frames_max` frames to search in.
    pub fn new(channels: usize, frames_max: usize) -> Self {
        Self {
            channels,
            coarse: Vec::with_capacity((frames_max / COARSE + 2) * channels),
            joint: Vec::with_capacity(frames_max * channels),
        }
    }

    /// The place among `places` from which `samples`, interleaved, go on for `fade` frames most
    /// like they do from frame `from` on; `None` where there is no such place. Where there are several that are
    /// alike `enough`, far ones are taken rather than near ones: one splice instead of many.
    pub fn find(
        &mut self,
        samples: &[f32],
        from: usize,
        places: Range<usize>,
        fade: usize,
        enough: f32,
    ) -> Option<Match> {
        let frames = samples.len() / self.channels;
        let places = places.start..places.end.min((frames + 1).saturating_sub(fade));
        if places.is_empty() || fade < COARSE || from + fade > frames {
            return None;
        }
        let near = self.find_coarse(samples, from, places.clone(), fade, enough)?;
        let around = near.saturating_sub(COARSE).max(places.start)..(near + COARSE + 1).min(places.end);
        let found = around.map(|to| Match { to, likeness: self.likeness(samples, from, to, fade) });
        let best = found.max_by(|a, b| a.likeness.total_cmp(&b.likeness))?;
        Some(Match { likeness: best.likeness * self.evenness(samples, from, best.to, fade), ..best })
    }

    /// Goes on from frame `found.to` instead of `from`, over a crossfade of `fade` frames. The
    /// caller has room for what is said again.
    pub fn splice(&mut self, samples: &mut Vec<f32>, from: usize, found: Match, fade: usize) {
        let (channels, Match { to, likeness }) = (self.channels, found);
        self.joint.clear();
        for n in 0..fade {
            let (old_gain, new_gain) = crossfade(n, fade, likeness);
            for channel in 0..channels {
                let (old, new) = (samples[(from + n) * channels + channel], samples[(to + n) * channels + channel]);
                self.joint.push(old * old_gain + new * new_gain);
            }
        }
        let (joint_end, rest) = ((from + fade) * channels, (to + fade) * channels);
        if to > from {
            samples.drain(joint_end..rest);
        } else {
            let end = samples.len();
            samples.resize(end + joint_end - rest, 0.0);
            samples.copy_within(rest..end, joint_end);
        }
        samples[from * channels..joint_end].copy_from_slice(&self.joint);
    }

    /// The best place to about [`COARSE`] frames.
    fn find_coarse(
        &mut self,
        samples: &[f32],
        from: usize,
        places: Range<usize>,
        fade: usize,
        enough: f32,
    ) -> Option<usize> {
        let start = from.min(places.start);
        let end = (from + fade).max(places.end - 1 + fade);
        let mut coarse = std::mem::take(&mut self.coarse);
        coarse.clear();
        for frames in samples[start * self.channels..end * self.channels].chunks_exact(COARSE * self.channels) {
            for channel in 0..self.channels {
                coarse.push(frames.iter().skip(channel).step_by(self.channels).sum::<f32>() / COARSE as f32);
            }
        }
        let (from, fade) = ((from - start) / COARSE, fade / COARSE);
        let places = (places.start - start) / COARSE..=(places.end - 1 - start) / COARSE;
        let within = |to: &usize| (to + fade) * self.channels <= coarse.len();
        let from = from.min((coarse.len() / self.channels).saturating_sub(fade));
        let found = places.filter(within).map(|to| Match { to, likeness: self.likeness(&coarse, from, to, fade) });
        let worth = |found: &Match| match found.likeness >= enough {
            true => 1.0 + found.likeness + FARTHER * found.to.abs_diff(from) as f32,
            false => found.likeness,
        };
        let best = found.max_by(|a, b| worth(a).total_cmp(&worth(b))).map(|found| start + found.to * COARSE);
        self.coarse = coarse;
        best
    }

    fn likeness(&self, samples: &[f32], a: usize, b: usize, frames: usize) -> f32 {
        let length = frames * self.channels;
        let (a, b) = (&samples[a * self.channels..][..length], &samples[b * self.channels..][..length]);
        let (mut both, mut a_energy, mut b_energy) = (0.0f32, 0.0f32, 0.0f32);
        for (a, b) in a.iter().zip(b) {
            both += a * b;
            a_energy += a * a;
            b_energy += b * b;
        }
        if a_energy.max(b_energy) < SILENCE * length as f32 {
            return 1.0;
        }
        2.0 * both / (a_energy + b_energy)
    }

    /// 1 where nothing between two places is much louder than they are, less where a sound begins
    /// and ends in between: that must neither be swallowed nor said twice.
    fn evenness(&self, samples: &[f32], a: usize, b: usize, frames: usize) -> f32 {
        let power = |from: usize, frames: usize| {
            let samples = &samples[from * self.channels..][..frames * self.channels];
            samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
        };
        let all = power(a.min(b), a.abs_diff(b) + frames);
        let places = (power(a, frames) + power(b, frames)) / 2.0;
        if all < SILENCE { 1.0 } else { (LOUDER * places / all).min(1.0) }
    }
}

/// Gains of the old and the new at a place in the crossfade, such that the loudness stays: sounds
/// that are alike add up in amplitude, others in power.
fn crossfade(n: usize, fade: usize, likeness: f32) -> (f32, f32) {
    let new = 0.5 - 0.5 * (std::f32::consts::PI * (n as f32 + 0.5) / fade as f32).cos();
    let old = 1.0 - new;
    let loudness = (old * old + new * new + 2.0 * likeness.clamp(0.0, 1.0) * old * new).sqrt();
    (old / loudness, new / loudness)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FADE: usize = 480;

    fn stereo(frames: usize, sound: impl Fn(f32) -> (f32, f32)) -> Vec<f32> {
        (0..frames).flat_map(|n| <[f32; 2]>::from(sound(n as f32 / 48_000.0))).collect()
    }

    fn sine(hz: f32, time: f32) -> f32 {
        (std::f32::consts::TAU * hz * time).sin()
    }

    fn steepest(samples: &[f32]) -> f32 {
        let steps = samples.windows(4).step_by(2).map(|frames| (frames[2] - frames[0]).abs());
        steps.fold(0.0, f32::max)
    }

    #[test]
    fn a_tone_loses_whole_periods_and_keeps_its_shape() {
        let mut samples = stereo(4000, |time| (0.5 * sine(440.0, time), 0.3 * sine(440.0, time + 0.0003)));
        let before = steepest(&samples);
        let mut splicer = Splicer::new(2, 4000);
        let found = splicer.find(&samples, 200, 320..2600, FADE, 0.9).unwrap();
        assert!(found.likeness > 0.999, "{found:?}");
        let periods = (found.to - 200) as f32 / (48_000.0 / 440.0);
        assert!((periods - periods.round()).abs() < 0.01, "{periods}");
        splicer.splice(&mut samples, 200, found, FADE);
        assert_eq!(samples.len(), (4000 - (found.to - 200)) * 2);
        assert!(steepest(&samples) < before * 1.02);
    }

    #[test]
    fn what_is_said_again_joins_as_well() {
        let original = stereo(4000, |time| (0.5 * sine(220.0, time), 0.5 * sine(330.0, time)));
        let mut samples = original.clone();
        samples.reserve(4000);
        let mut splicer = Splicer::new(2, 4000);
        let found = splicer.find(&samples, 2600, 600..2480, FADE, 0.9).unwrap();
        splicer.splice(&mut samples, 2600, found, FADE);
        let lag = 2600 - found.to;
        assert_eq!(samples.len(), (4000 + lag) * 2);
        assert!(steepest(&samples) < steepest(&original) * 1.02);
        assert_eq!(samples[..2600 * 2], original[..2600 * 2]);
        assert_eq!(samples[(2600 + FADE + lag) * 2..], original[(2600 + FADE) * 2..]);
    }

    #[test]
    fn a_chord_fits_somewhere_and_noise_nowhere() {
        let chord = |time| 0.3 * (sine(220.0, time) + sine(277.2, time) + sine(329.6, time));
        let samples = stereo(4000, |time| (chord(time), chord(time + 0.001)));
        let mut splicer = Splicer::new(2, 4000);
        let best = (0..10).filter_map(|n| splicer.find(&samples, n * 100, n * 100 + 120..n * 100 + 2400, FADE, 0.9));
        assert!(best.map(|found| found.likeness).fold(0.0, f32::max) > 0.95);
        let mut state = 1u32;
        let noise: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / u32::MAX as f32 - 0.5
        })
        .take(8000)
        .collect();
        assert!(splicer.find(&noise, 100, 220..2500, FADE, 0.9).unwrap().likeness < 0.5);
    }

    #[test]
    fn a_sound_between_two_silences_is_not_swallowed() {
        let mut samples = vec![0.0; 4000];
        samples[900..1100].fill(0.5);
        let mut splicer = Splicer::new(1, 4000);
        assert!(splicer.find(&samples, 100, 1500..2500, FADE, 0.9).unwrap().likeness < 0.1);
        assert_eq!(splicer.find(&samples, 100, 300..400, 400, 0.9).unwrap().likeness, 1.0);
    }

    #[test]
    fn silence_fits_anywhere() {
        let mut splicer = Splicer::new(1, 4000);
        assert_eq!(splicer.find(&vec![0.0; 4000], 0, 100..2000, FADE, 0.9).unwrap().likeness, 1.0);
    }

    #[test]
    fn one_far_splice_is_better_than_many_near_ones() {
        // What is said again lies before, and what is left out behind.
        let silence = vec![0.0; 6000];
        let tone = stereo(6000, |time| (0.5 * sine(440.0, time), 0.5 * sine(440.0, time)));
        for (channels, samples) in [(1, silence), (2, tone)] {
            let mut splicer = Splicer::new(channels, 6000);
            let back = splicer.find(&samples, 2600, 200..2480, FADE, 0.9).unwrap();
            assert!(back.to < 320 && back.likeness > 0.99, "{back:?}");
            let forth = splicer.find(&samples, 200, 320..2600, FADE, 0.9).unwrap();
            assert!(forth.to > 2480 && forth.likeness > 0.99, "{forth:?}");
        }
    }

    #[test]
    fn where_there_is_too_little_there_is_no_place() {
        let mut splicer = Splicer::new(2, 4000);
        for frames in 0..1000 {
            let samples = vec![0.5; frames * 2];
            if let Some(found) = splicer.find(&samples, 10, 130..600, FADE, 0.9) {
                assert!((130..600).contains(&found.to) && found.to + FADE <= frames);
            }
        }
        assert_eq!(splicer.find(&[0.5; 2000], 0, 600..600, FADE, 0.9), None);
    }
}
