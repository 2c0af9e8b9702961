//! What was sent of late: to be sent once more when it is asked for, and to be found again in the
//! receiver's reports.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Instant;

/// What is older than this nobody waits for any more.
const KEPT: Duration = Duration::from_secs(1);

/// More than any stream sends in that time.
const PACKETS_MAX: usize = 2048;

/// The same packet is sent again this often, and not sooner after the last time than this.
const RESENT_MAX: u32 = 6;
const RESENT_APART: Duration = Duration::from_millis(4);

/// Of all packets sent, so many may be repairs, and so many in a row. More than that is asked for
/// where nothing gets through anyway, or by somebody who wants to make us send.
const SHARE_MAX: f64 = 0.5;
const BURST_MAX: f64 = 64.0;

/// One packet.
pub(crate) struct Sent {
    pub sequence: i64,
    pub at: Instant,
    /// As it was sent.
    pub bytes: Vec<u8>,
    resent: u32,
    resent_at: Instant,
}

/// The packets of the last second.
pub(crate) struct History {
    packets: VecDeque<Sent>,
    spare: Vec<Vec<u8>>,
    /// Those to be sent once more.
    queue: VecDeque<i64>,
    allowance: f64,
    resent: u64,
}

impl History {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        Self { packets: VecDeque::new(), spare: Vec::new(), queue: VecDeque::new(), allowance: BURST_MAX, resent: 0 }
    }

    /// Keeps a packet that follows the last.
    pub fn push(&mut self, now: Instant, sequence: i64, packet: &[u8]) {
        let old = |sent: &Sent| now - sent.at > KEPT;
        while self.packets.front().is_some_and(old) || self.packets.len() >= PACKETS_MAX {
            self.spare.extend(self.packets.pop_front().map(|sent| sent.bytes));
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        self.spare.truncate(8);
        bytes.clear();
        bytes.extend(packet);
        self.packets.push_back(Sent { sequence, at: now, bytes, resent: 0, resent_at: now });
        self.allowance = (self.allowance + SHARE_MAX).min(BURST_MAX);
    }

    /// The packet of that number, extended; `None` where it is forgotten.
    pub fn find(&self, sequence: i64) -> Option<&Sent> {
        let first = self.packets.front()?.sequence;
        self.packets.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// The extended number of a packet that was sent lately, from the 16 bits on the wire.
    pub fn extend(&self, sequence: u16) -> Option<i64> {
        let last = self.packets.back()?.sequence;
        Some(last - i64::from((last as u16).wrapping_sub(sequence)))
    }

    /// Somebody asks for a packet once more.
    pub fn handle_asked(&mut self, now: Instant, sequence: u16) {
        let Some(sequence) = self.extend(sequence) else { return };
        let Some(first) = self.packets.front().map(|sent| sent.sequence) else { return };
        let index = usize::try_from(sequence - first).unwrap_or(usize::MAX);
        let Some(sent) = self.packets.get_mut(index) else { return };
        let soon = sent.resent > 0 && now - sent.resent_at < RESENT_APART;
        if soon || sent.resent >= RESENT_MAX || self.allowance < 1.0 || self.queue.len() >= BURST_MAX as usize {
            return;
        }
        self.allowance -= 1.0;
        sent.resent += 1;
        sent.resent_at = now;
        self.queue.push_back(sequence);
    }

    /// Replaces `packet` by the next that is to be sent once more.
    pub fn poll_repair(&mut self, packet: &mut Vec<u8>) -> bool {
        while let Some(sequence) = self.queue.pop_front() {
            if let Some(sent) = self.find(sequence) {
                packet.clear();
                packet.extend(&sent.bytes);
                self.resent += 1;
                return true;
            }
        }
        false
    }

    /// Packets that were sent once more.
    pub fn resent(&self) -> u64 {
        self.resent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn history(packets: u64) -> History {
        let mut history = History::new();
        (0..packets).for_each(|n| history.push(at(n * 5), 65_530 + n as i64, &n.to_be_bytes()));
        history
    }

    fn repairs(history: &mut History) -> Vec<u64> {
        let mut packet = Vec::new();
        let mut repairs = Vec::new();
        while history.poll_repair(&mut packet) {
            repairs.push(u64::from_be_bytes(packet.as_slice().try_into().unwrap()));
        }
        repairs
    }

    #[test]
    fn what_is_asked_for_is_sent_as_it_was_over_the_wrap() {
        let mut history = history(20);
        history.handle_asked(at(100), 65_533);
        history.handle_asked(at(100), 4);
        assert_eq!(repairs(&mut history), [3, 10]);
    }

    #[test]
    fn what_is_old_or_was_never_sent_is_not() {
        let mut history = history(400);
        for sequence in [65_530, 65_535, 400, 20_000] {
            history.handle_asked(at(2000), sequence);
        }
        assert!(repairs(&mut history).is_empty());
        assert!(history.packets.len() <= 202);
    }

    #[test]
    fn nobody_makes_us_send_much_more_than_we_would() {
        let mut history = history(100);
        for n in 0..10_000 {
            history.handle_asked(at(500 + n), 65_530u16.wrapping_add(n as u16 % 100));
            history.poll_repair(&mut Vec::new());
        }
        assert!(history.resent() <= BURST_MAX as u64, "{}", history.resent());
    }
}
