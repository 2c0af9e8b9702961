//! One source and several receivers, each behind a path of its own: those that can take the same are sent
//! the same, coded once.
//!
//! A rung is one way of coding. All receivers stand on the first of them until the path of one carries less
//! than those of others: that one goes on alone, from a copy of the rung, so that it misses nothing and nothing
//! comes twice. It comes back when its path carries everything again.

use crate::coding::Coding;
use crate::packetizer::Config;
use crate::{Error, Fallback, Instant, Packetizer};

/// Each has its encoder. When there are as many, those that share one are coded for the narrowest of them.
const RUNGS_MAX: usize = 8;

/// One way of coding, and who receives it.
#[derive(Clone)]
pub struct Rung {
    /// What codes it.
    pub packetizer: Packetizer,
    /// As it was asked for.
    pub wish: Config,
    /// Where it may be coded rather than lossless.
    pub fallback: Option<Fallback>,
    receivers: Vec<usize>,
}

impl Rung {
    /// Whether that one receives it.
    pub fn has(&self, receiver: usize) -> bool {
        self.receivers.contains(&receiver)
    }

    /// Whether one can go on where the other stands.
    fn is_in_step_with(&self, other: &Self) -> bool {
        self.wish == other.wish && self.packetizer.is_in_step_with(&other.packetizer)
    }
}

/// What the path of a receiver carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Less than all.
    pub limited: bool,
    /// So much; `None` where that can't be chosen.
    pub coding: Option<Coding>,
}

impl Reach {
    fn width(&self) -> (bool, u32) {
        (!self.limited, self.coding.map_or(0, |coding| coding.bitrate_bps))
    }
}

/// All rungs of a source; there is always one.
pub struct Rungs {
    rungs: Vec<Rung>,
}

impl Rungs {
    /// The first rung, as the user wants it.
    ///
    /// # Errors
    ///
    /// As with [`Packetizer::new`].
    pub fn new(wish: Config, fallback: Option<Fallback>) -> Result<Self, Error> {
        let packetizer = Packetizer::new(wish)?;
        Ok(Self { rungs: vec![Rung { packetizer, wish, fallback, receivers: Vec::new() }] })
    }

    /// The rung that the most can take, where those without limits stand.
    pub fn first(&self) -> &Rung {
        &self.rungs[0]
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Rung> {
        self.rungs.iter_mut()
    }

    /// A receiver has come; its number is the caller's.
    pub fn add(&mut self, receiver: usize) {
        self.rungs[0].receivers.push(receiver);
    }

    /// One has gone.
    pub fn remove(&mut self, receiver: usize) {
        self.rungs.iter_mut().for_each(|rung| rung.receivers.retain(|known| *known != receiver));
        self.tidy();
    }

    /// Gives each receiver a rung that its path carries; `reach` says what that is for one that stands on this
    /// rung. To be called between frames.
    pub fn arrange(&mut self, reach: impl Fn(usize, &Rung) -> Reach) {
        self.part(&reach);
        self.join(&reach);
        self.tidy();
    }

    /// Takes captured samples; see [`Packetizer::push`].
    pub fn push(&mut self, captured: Instant, samples: &[f32]) {
        self.rungs.iter_mut().for_each(|rung| rung.packetizer.push(captured, samples));
    }

    /// See [`Packetizer::skip`].
    pub fn skip(&mut self, frames: u64) {
        self.rungs.iter_mut().for_each(|rung| rung.packetizer.skip(frames));
    }

    /// See [`Packetizer::pause`].
    pub fn pause(&mut self, frames: u64) {
        self.rungs.iter_mut().for_each(|rung| rung.packetizer.pause(frames));
    }

    /// See [`Packetizer::finish`].
    pub fn finish(&mut self) {
        self.rungs.iter_mut().for_each(|rung| rung.packetizer.finish());
    }

    /// The loudest sample since the last call, full scale 1.0.
    pub fn take_peak(&mut self) -> f32 {
        self.rungs.iter_mut().map(|rung| rung.packetizer.take_peak()).fold(0.0, f32::max)
    }

    /// Who can't take what others on the same rung can, leaves it.
    fn part(&mut self, reach: &impl Fn(usize, &Rung) -> Reach) {
        for index in 0..self.rungs.len() {
            let rung = &self.rungs[index];
            let all: Vec<(usize, Reach)> = rung.receivers.iter().map(|&number| (number, reach(number, rung))).collect();
            let Some(&(_, widest)) = all.iter().max_by_key(|(_, reach)| reach.width()) else { continue };
            let narrower = all.into_iter().filter(|(_, reach)| *reach != widest);
            for (receiver, _) in narrower.take(RUNGS_MAX.saturating_sub(self.rungs.len())) {
                self.rungs[index].receivers.retain(|known| *known != receiver);
                self.rungs.push(Rung { receivers: vec![receiver], ..self.rungs[index].clone() });
            }
        }
    }

    /// Whose path carries everything goes where others are of whom that is true, once both are in step.
    fn join(&mut self, reach: &impl Fn(usize, &Rung) -> Reach) {
        let is_free = |rung: &Rung| rung.receivers.iter().all(|&receiver| !reach(receiver, rung).limited);
        for index in (1..self.rungs.len()).rev() {
            let (before, rest) = self.rungs.split_at_mut(index);
            let rung = &mut rest[0];
            let other = before.iter_mut().find(|other| is_free(other) && rung.is_in_step_with(other));
            if let (true, Some(other)) = (is_free(rung), other) {
                other.receivers.append(&mut rung.receivers);
            }
        }
    }

    fn tidy(&mut self) {
        match self.rungs.iter().all(|rung| rung.receivers.is_empty()) {
            true => self.rungs.truncate(1),
            false => self.rungs.retain(|rung| !rung.receivers.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::opus;
    use crate::{Format, MediaTime, duration_of};

    const FULL: Coding = Coding { bitrate_bps: 96_000, frames: 240 };
    const NARROW: Coding = Coding { bitrate_bps: 24_000, frames: 960 };

    /// Receivers with what their paths carry, and what each has received.
    struct House {
        rungs: Rungs,
        reach: Vec<Coding>,
        received: Vec<Vec<(MediaTime, usize, usize)>>,
        captured: u64,
    }

    impl House {
        fn with(receivers: usize) -> Self {
            let wish = Config {
                rate: 48_000,
                channels: 2,
                format: Format::OPUS,
                frames: 240,
                opus: opus::Settings::default(),
            };
            let mut rungs = Rungs::new(wish, None).unwrap();
            (0..receivers).for_each(|receiver| rungs.add(receiver));
            Self { rungs, reach: vec![FULL; receivers], received: vec![Vec::new(); receivers], captured: 0 }
        }

        /// Sends that many blocks of 100 frames, after everybody has found a place.
        fn send(&mut self, blocks: u64) {
            for _ in 0..blocks {
                let reach = |receiver: usize| Reach {
                    limited: self.reach[receiver] != FULL,
                    coding: Some(self.reach[receiver]),
                };
                self.rungs.arrange(|receiver, _| reach(receiver));
                let captured = Instant::default() + duration_of(self.captured, 48_000);
                self.rungs.push(captured, &[0.1; 200]);
                self.captured += 100;
                for rung in self.rungs.iter_mut() {
                    let codings = rung.receivers.iter().map(|&receiver| self.reach[receiver]);
                    let narrowest = codings.min_by_key(|coding| coding.bitrate_bps).unwrap_or(FULL);
                    rung.packetizer.set_coding(narrowest).unwrap();
                    while let Some(frame) = rung.packetizer.poll().unwrap() {
                        let what = (frame.time, frame.frames, frame.payload.len());
                        rung.receivers.iter().for_each(|&receiver| self.received[receiver].push(what));
                    }
                }
            }
        }

        fn assert_nothing_missing_or_twice(&self) {
            for (receiver, frames) in self.received.iter().enumerate() {
                let mut next = MediaTime(0);
                for &(time, length, _) in frames {
                    assert_eq!(time, next, "receiver {receiver}");
                    next = next + length as i64;
                }
                assert!(next.0 > self.captured as i64 - 960, "receiver {receiver}: {next:?}");
            }
        }
    }

    #[test]
    fn one_with_a_narrow_path_leaves_the_others_as_they_are_and_comes_back() {
        let mut house = House::with(3);
        house.send(100);
        house.reach[1] = NARROW;
        house.send(200);
        assert_eq!(house.rungs.rungs.len(), 2);
        let last = |house: &House, receiver: usize| *house.received[receiver].last().unwrap();
        assert_eq!(last(&house, 1).1, 960);
        assert!(last(&house, 0).1 == 240 && last(&house, 2) == last(&house, 0));
        house.reach[1] = FULL;
        house.send(100);
        assert_eq!(house.rungs.rungs.len(), 1, "all are coded once again");
        house.assert_nothing_missing_or_twice();
    }

    #[test]
    fn what_all_can_take_less_of_is_coded_once() {
        let mut house = House::with(2);
        house.send(10);
        house.reach = vec![NARROW; 2];
        house.send(100);
        assert_eq!(house.rungs.rungs.len(), 1);
        house.assert_nothing_missing_or_twice();
    }

    #[test]
    fn rungs_are_bounded_and_everybody_hears() {
        let mut house = House::with(20);
        for receiver in 1..20 {
            house.reach[receiver] = Coding { bitrate_bps: 24_000 + 1_000 * receiver as u32, frames: 480 };
        }
        house.send(100);
        assert_eq!(house.rungs.rungs.len(), RUNGS_MAX);
        house.assert_nothing_missing_or_twice();
    }

    #[test]
    fn whoever_stays_is_served_when_the_first_has_gone() {
        let mut house = House::with(2);
        house.reach[1] = NARROW;
        house.send(50);
        house.rungs.remove(0);
        assert!(house.rungs.first().has(1));
        house.rungs.remove(1);
        house.rungs.add(1);
        assert!(house.rungs.first().has(1));
    }
}
