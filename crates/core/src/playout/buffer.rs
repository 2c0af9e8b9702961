//! Units in the order of their media time, waiting to be decoded.

use std::collections::VecDeque;

use super::Unit;
use crate::MediaTime;

/// The most units that wait. At 1.3 ms a packet (64 frames, the shortest that we send) they are
/// 2.7 s, at 5 ms 10 s; the playout keeps far less than that.
pub const UNITS_MAX: usize = 2048;

/// A jitter buffer: puts units in order, knows duplicates, never grows.
pub(super) struct Buffer {
    units: VecDeque<Unit>,
    max: usize,
}

/// What became of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    Kept,
    /// One of the same time was there already: here it is again.
    Duplicate(Unit),
    /// No room: the oldest had to go, here it is.
    Overflowed(Unit),
}

impl Buffer {
    /// With room for so many.
    pub fn new(max: usize) -> Self {
        Self { units: VecDeque::with_capacity(max + 1), max }
    }

    /// Puts `unit` where it belongs: at the end, or where reordering left its place.
    pub fn insert(&mut self, unit: Unit) -> Inserted {
        let place = self.units.iter().rposition(|other| other.time <= unit.time);
        if place.is_some_and(|index| self.units[index].time == unit.time) {
            return Inserted::Duplicate(unit);
        }
        self.units.insert(place.map_or(0, |index| index + 1), unit);
        match self.units.len() > self.max {
            true => Inserted::Overflowed(self.units.pop_front().expect("not empty")),
            false => Inserted::Kept,
        }
    }

    pub fn front(&self) -> Option<&Unit> {
        self.units.front()
    }

    pub fn pop_front_if(&mut self, wanted: impl FnOnce(&Unit) -> bool) -> Option<Unit> {
        self.front().is_some_and(wanted).then(|| self.units.pop_front()).flatten()
    }

    /// How many of those that wait are over at `time`.
    pub fn passed(&self, time: MediaTime) -> usize {
        self.units.iter().take_while(|unit| unit.end() <= time).count()
    }

    pub fn pop_front(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Where the last unit ends.
    pub fn end(&self) -> Option<MediaTime> {
        self.units.back().map(Unit::end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::playout::Origin;

    fn unit(time: i64) -> Unit {
        Unit {
            time: MediaTime(time),
            frames: 10,
            arrived: Instant::default(),
            origin: Origin::First,
            payload: Vec::new(),
        }
    }

    #[test]
    fn any_order_in_comes_out_in_order_and_once() {
        let mut buffer = Buffer::new(UNITS_MAX);
        for time in [30, 10, 20, 0] {
            assert_eq!(buffer.insert(unit(time)), Inserted::Kept);
        }
        assert_eq!(buffer.insert(unit(20)), Inserted::Duplicate(unit(20)));
        assert_eq!(buffer.end(), Some(MediaTime(40)));
        let times: Vec<i64> = std::iter::from_fn(|| buffer.pop_front()).map(|unit| unit.time.0).collect();
        assert_eq!(times, [0, 10, 20, 30]);
    }

    #[test]
    fn a_full_buffer_lets_the_oldest_go() {
        let mut buffer = Buffer::new(UNITS_MAX);
        for n in 0..UNITS_MAX as i64 {
            buffer.insert(unit(n * 10));
        }
        let capacity = buffer.units.capacity();
        assert_eq!(buffer.insert(unit(99_999_990)), Inserted::Overflowed(unit(0)));
        assert_eq!(buffer.units.capacity(), capacity);
    }
}
