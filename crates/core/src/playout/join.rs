//! How sound goes on where the timeline breaks, without a click.

use super::gain::RAMP;
use crate::frames_in;

/// A crossfade of [`RAMP`] from what would have gone on to what really comes.
///
/// It may last longer than one unit, and over another loss.
pub(super) struct Join {
    channels: usize,
    /// What would have gone on, interleaved.
    old: Vec<f32>,
    /// Where the next one's is written while this one may still last.
    next: Vec<f32>,
    /// Frames that are already joined.
    done: usize,
}

impl Join {
    /// One that is over.
    pub fn new(rate: u32, channels: usize) -> Self {
        let frames = frames_in(RAMP, rate).max(1) as usize;
        Self { channels, old: vec![0.0; frames * channels], next: vec![0.0; frames * channels], done: frames }
    }

    /// Begins anew, with what `conceal` writes as that which would have gone on.
    pub fn begin(&mut self, conceal: impl FnOnce(&mut [f32])) {
        let mut next = std::mem::take(&mut self.next);
        conceal(&mut next);
        self.apply(&mut next);
        self.next = std::mem::replace(&mut self.old, next);
        self.done = 0;
    }

    /// Ends at once: what comes next goes on from what was played.
    pub fn end(&mut self) {
        self.done = self.old.len() / self.channels;
    }

    /// Joins the next `samples`, interleaved, where they come before its end.
    pub fn apply(&mut self, samples: &mut [f32]) {
        let frames = self.old.len() / self.channels;
        let rest = self.old.chunks_exact(self.channels).skip(self.done);
        let pairs = samples.chunks_exact_mut(self.channels).zip(rest);
        for (step, (new, old)) in pairs.enumerate() {
            let weight = ((self.done + step) as f32 + 0.5) / frames as f32;
            new.iter_mut().zip(old).for_each(|(new, old)| *new = *new * weight + *old * (1.0 - weight));
        }
        self.done = (self.done + samples.len() / self.channels).min(frames);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_from_the_old_to_the_new_over_units_of_any_length() {
        for unit in [7, 64, 120, 240] {
            let mut join = Join::new(48_000, 1);
            join.begin(|old| old.fill(1.0));
            let mut samples = [0.0; 240];
            samples.chunks_mut(unit).for_each(|unit| join.apply(unit));
            assert!(samples[0] > 0.99 && samples[119] < 0.01);
            assert_eq!(samples[120..], [0.0; 120]);
            assert!(samples.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.009));
        }
    }

    #[test]
    fn it_may_begin_anew_before_its_end() {
        let mut join = Join::new(48_000, 2);
        join.begin(|old| old.fill(1.0));
        let mut first = [0.0; 2 * 60];
        join.apply(&mut first);
        join.begin(|old| old.fill(0.0));
        let mut second = [0.0; 2 * 240];
        join.apply(&mut second);
        let all: Vec<f32> = first.into_iter().chain(second).step_by(2).collect();
        assert!(all.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.02), "{all:?}");
    }
}
