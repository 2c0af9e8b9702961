//! What waits for a connection to take it, and is dropped there when nobody waits for it any more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;

/// A packet may wait so long, at least: a listener whose delay is shorter hears it late, and learns from that.
pub const PATIENCE_MIN: Duration = Duration::from_millis(60);

/// More packets than any stream makes in a second; what is beyond is dropped, oldest first.
const PACKETS_MAX: usize = 1024;

/// Packets in the order in which they were made. Sound that was held up is worth less the older it is,
/// so the oldest go first, and what follows a stall is the present.
#[derive(Debug)]
pub struct Outbox {
    packets: VecDeque<(Instant, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    patience: Duration,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { packets: VecDeque::new(), spare: Vec::new(), patience: PATIENCE_MIN }
    }
}

impl Outbox {
    /// Adds a packet. Whether an older one was dropped, because it has waited for too long.
    pub fn push(&mut self, now: Instant, packet: &[u8]) -> bool {
        let dropped = self.drop_old(now);
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend(packet);
        self.packets.push_back((now, bytes));
        dropped
    }

    /// Replaces `packet` by the next that is still worth sending; false when there is none.
    pub fn poll(&mut self, now: Instant, packet: &mut Vec<u8>) -> bool {
        self.drop_old(now);
        let Some((_, next)) = self.packets.pop_front() else { return false };
        self.recycle(std::mem::replace(packet, next));
        true
    }

    /// From now on packets may wait so long, but [`PATIENCE_MIN`] at least: as long as the listener can
    /// make use of them.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience.max(PATIENCE_MIN);
    }

    /// How long the oldest has waited.
    pub fn waits(&self, now: Instant) -> Duration {
        self.packets.front().map_or(Duration::ZERO, |(made, _)| now - *made)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    fn drop_old(&mut self, now: Instant) -> bool {
        let before = self.packets.len();
        while let Some((made, _)) = self.packets.front()
            && (now - *made > self.patience || self.packets.len() >= PACKETS_MAX)
        {
            let old = self.packets.pop_front();
            old.into_iter().for_each(|(_, bytes)| self.recycle(bytes));
        }
        self.packets.len() < before
    }

    fn recycle(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(bytes);
        }
    }
}

/// What waits as a rule, in packets.
const SPARE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn rest(outbox: &mut Outbox, millis: u64) -> Vec<u8> {
        let mut packet = Vec::new();
        let mut all = Vec::new();
        while outbox.poll(at(millis), &mut packet) {
            all.extend(&packet);
        }
        all
    }

    #[test]
    fn packets_come_out_as_they_went_in() {
        let mut outbox = Outbox::default();
        (0..10).for_each(|n| assert!(!outbox.push(at(n * 5), &[n as u8])));
        assert_eq!(outbox.waits(at(50)), Duration::from_millis(50));
        assert_eq!(rest(&mut outbox, 50), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_has_waited_for_too_long_goes_and_the_newest_stay() {
        let mut outbox = Outbox::default();
        let dropped = (0..100u64).filter(|n| outbox.push(at(n * 5), &[*n as u8])).count();
        assert_eq!(dropped, 99 - 12);
        assert_eq!(rest(&mut outbox, 500), (88..100).collect::<Vec<u8>>());
    }

    #[test]
    fn a_listener_who_waits_longer_gets_more() {
        let mut outbox = Outbox::default();
        outbox.set_patience(Duration::from_millis(200));
        (0..100u64).for_each(|n| _ = outbox.push(at(n * 5), &[n as u8]));
        assert_eq!(rest(&mut outbox, 500).len(), 40);
        outbox.set_patience(Duration::ZERO);
        (100..200u64).for_each(|n| _ = outbox.push(at(n * 5), &[n as u8]));
        assert_eq!(rest(&mut outbox, 1000).len(), 12);
    }
}
