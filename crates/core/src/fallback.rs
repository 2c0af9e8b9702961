//! Lossless where the path carries it, coded where it does not.

use std::time::Duration;

use crate::Instant;

/// After so long in which nothing limits what is coded, lossless is tried once more; each time that this
/// goes wrong soon, after twice as long.
const WAIT: Duration = Duration::from_secs(120);
const WAIT_MAX: Duration = Duration::from_secs(1800);

/// What was carried for so long did not go wrong soon.
const PROVEN: Duration = Duration::from_secs(60);

/// Decides between the two.
#[derive(Clone, Copy, Debug)]
pub struct Fallback {
    lossless: bool,
    since: Instant,
    wait: Duration,
}

impl Fallback {
    /// Begins lossless.
    pub fn new(now: Instant) -> Self {
        Self { lossless: true, since: now, wait: WAIT / 2 }
    }

    /// Takes note of whether the path carries less than is sent, or would be if there were enough to
    /// say; whether what follows is to be lossless.
    pub fn handle(&mut self, now: Instant, limited: bool) -> bool {
        match (self.lossless, limited) {
            (true, true) => {
                self.wait = if now - self.since < PROVEN { (2 * self.wait).min(WAIT_MAX) } else { WAIT };
                (self.lossless, self.since) = (false, now);
            }
            (false, true) => self.since = now,
            (false, false) if now - self.since >= self.wait => (self.lossless, self.since) = (true, now),
            _ => {}
        }
        self.lossless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn lossless_is_tried_again_later_and_later() {
        let mut fallback = Fallback::new(at(0));
        let mut tries = Vec::new();
        let mut was = true;
        for second in 1..1000 {
            // The path carries it at no time, and says so after a second.
            let is = fallback.handle(at(second), was);
            if is && !was {
                tries.push(second);
            }
            was = is;
        }
        assert_eq!(tries, [121, 362, 843]);
    }

    #[test]
    fn what_was_carried_for_long_is_soon_tried_again() {
        let mut fallback = Fallback::new(at(0));
        assert!(fallback.handle(at(100), false));
        assert!(!fallback.handle(at(200), true));
        assert!(!fallback.handle(at(205), true), "as long as there is too little even for the other");
        assert!(!fallback.handle(at(324), false));
        assert!(fallback.handle(at(325), false));
    }
}
