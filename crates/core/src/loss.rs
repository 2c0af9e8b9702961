//! What a receiver's feedback tells of the path: how much is lost, and in bursts of what length.

use std::time::Duration;

use crate::Instant;
use crate::feedback::{Missing, WINDOW};

/// What is known of a path, in packets where it says nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The share that is lost, 0 to 1.
    pub loss: f64,
    /// The mean length of a burst.
    pub burst: f64,
    /// Nineteen of twenty bursts are no longer.
    pub burst_95: f64,
    /// By how much more likely the next one is lost after one that was, than otherwise: of a chain of
    /// two states the second eigenvalue. `k` packets after a lost one, `loss + (1 - loss) * rho^k`
    /// are.
    pub rho: f64,
    /// How long nothing was lost; `None` where nothing ever was.
    pub clean: Option<Duration>,
}

impl Estimate {
    /// The share of those `packets` after a lost one that are lost, too.
    pub fn lost_after(&self, packets: f64) -> f64 {
        self.loss + (1.0 - self.loss) * self.rho.powf(packets.max(0.0))
    }
}

/// Learns from feedback. What was seen counts half after [`HALF_LIFE`].
pub(crate) struct Estimator {
    /// The last packet that was judged, by its extended sequence number.
    judged: Option<i64>,
    /// Lost ones in a row, up to that.
    run: usize,
    /// Weights of packets, lost ones and bursts.
    packets: f64,
    lost: f64,
    bursts: f64,
    /// Of bursts by their length.
    lengths: [f64; LENGTHS],
    aged: Option<Instant>,
    /// When something was told first.
    since: Option<Instant>,
    last_loss: Option<Instant>,
}

const HALF_LIFE: f64 = 10.0;

/// Longer bursts count as so long: 320 ms at 5 ms a packet, and no delay covers that.
const LENGTHS: usize = 64;

/// The newest packets are not judged: they may have been overtaken.
const OVERTAKEN: i64 = 3;

/// A share is taken of so much at least, in seconds: the first loss is no 100 %.
const LEAST: f64 = 2.0;

impl Estimator {
    /// One that knows nothing.
    pub fn new() -> Self {
        Self {
            judged: None,
            run: 0,
            packets: 0.0,
            lost: 0.0,
            bursts: 0.0,
            lengths: [0.0; LENGTHS],
            aged: None,
            since: None,
            last_loss: None,
        }
    }

    /// Takes what was said of the packets up to `highest`, an extended sequence number.
    pub fn handle(&mut self, now: Instant, highest: i64, missing: &Missing) {
        self.age(now);
        self.since.get_or_insert(now);
        let last = highest - OVERTAKEN;
        // What is further back than can be said was told before, or came.
        let first = self.judged.map_or(last, |judged| judged + 1);
        for number in first..=last {
            let ago = (highest - number) as usize;
            self.judge(now, ago < WINDOW && missing.is_set(ago));
        }
        self.judged = Some(self.judged.map_or(last, |judged| judged.max(last)));
    }

    fn judge(&mut self, now: Instant, lost: bool) {
        self.packets += 1.0;
        match lost {
            true => {
                self.lost += 1.0;
                self.bursts += if self.run == 0 { 1.0 } else { 0.0 };
                self.run += 1;
                self.last_loss = Some(now);
            }
            false if self.run > 0 => {
                self.lengths[self.run.min(LENGTHS) - 1] += 1.0;
                self.run = 0;
            }
            false => {}
        }
    }

    fn age(&mut self, now: Instant) {
        let span = now.seconds_since(self.aged.unwrap_or(now)).max(0.0);
        self.aged = Some(now);
        let left = (-span / HALF_LIFE).exp2();
        [&mut self.packets, &mut self.lost, &mut self.bursts].into_iter().for_each(|weight| *weight *= left);
        self.lengths.iter_mut().for_each(|weight| *weight *= left);
    }

    /// What is known now, where packets last so long.
    pub fn estimate(&self, now: Instant, packet: Duration) -> Estimate {
        let clean = self.last_loss.map(|last| now - last);
        if self.lost <= 0.0 {
            return Estimate { clean, ..Estimate::default() };
        }
        let least = LEAST / packet.as_secs_f64().max(1e-3);
        let loss = (self.lost / self.packets.max(least)).min(1.0);
        // Half a burst of one packet is known from the beginning: one burst says little.
        let ends = ((self.bursts + 0.5) / (self.lost + 0.5)).min(1.0);
        let begins = (self.bursts / (self.packets.max(least) - self.lost).max(1.0)).min(1.0);
        Estimate {
            loss,
            burst: 1.0 / ends,
            burst_95: self.burst_of(0.95),
            rho: (1.0 - ends - begins).clamp(0.0, 0.99),
            clean,
        }
    }

    /// What to be prepared for: what is known, and while that is nothing, a path that loses something. By when the
    /// first loss has been told of, a burst has been heard.
    pub fn expect(&self, now: Instant, packet: Duration) -> Estimate {
        let known = self.estimate(now, packet);
        match self.since {
            Some(since) if known.clean.is_none() && now - since < STRANGE => strange(packet),
            _ => known,
        }
    }

    /// The length that so many of the bursts don't exceed.
    fn burst_of(&self, share: f64) -> f64 {
        let mut left = share * self.lengths.iter().sum::<f64>();
        let longer = self.lengths.iter().take_while(|&&weight| {
            left -= weight;
            left > 0.0
        });
        (longer.count() + 1).max(self.run).min(LENGTHS) as f64
    }
}

/// A path is strange for so long.
const STRANGE: Duration = Duration::from_secs(2);

/// 2 % lost in bursts of 15 ms: neither the best nor the worst of the internet.
fn strange(packet: Duration) -> Estimate {
    let burst = (15e-3 / packet.as_secs_f64().max(1e-3)).max(1.0);
    Estimate { loss: 0.02, burst, burst_95: 3.0 * burst, rho: 1.0 - 1.0 / burst, clean: Some(Duration::ZERO) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Duration = Duration::from_millis(5);

    /// Feeds what becomes of each packet, 20 of them at a time; returns the moment of the last.
    fn feed(estimator: &mut Estimator, first: i64, count: i64, lost: impl Fn(i64) -> bool) -> Instant {
        let at = |number: i64| Instant::from_nanos(number as u64 * 5_000_000);
        for highest in (first..first + count).step_by(20) {
            let mut missing = Missing::default();
            (0..WINDOW).filter(|&ago| lost(highest - ago as i64)).for_each(|ago| missing.set(ago));
            estimator.handle(at(highest), highest, &missing);
        }
        at(first + count)
    }

    #[test]
    fn loss_and_bursts_are_found() {
        let mut estimator = Estimator::new();
        let now = feed(&mut estimator, 1000, 4000, |n| n % 60 < 3);
        let estimate = estimator.estimate(now, PACKET);
        assert!((estimate.loss - 0.05).abs() < 0.003, "{estimate:?}");
        assert!((estimate.burst - 3.0).abs() < 0.1, "{estimate:?}");
        assert!((estimate.rho - 0.65).abs() < 0.03, "{estimate:?}");
        assert_eq!(estimate.burst_95, 3.0);
    }

    #[test]
    fn single_losses_are_not_correlated() {
        let mut estimator = Estimator::new();
        let now = feed(&mut estimator, 1000, 4000, |n| n % 50 == 0);
        let estimate = estimator.estimate(now, PACKET);
        assert!((estimate.loss - 0.02).abs() < 0.002 && estimate.rho < 0.01, "{estimate:?}");
    }

    #[test]
    fn the_first_loss_counts_at_once_and_a_clean_path_forgets() {
        let mut estimator = Estimator::new();
        let now = feed(&mut estimator, 1000, 100, |n| (1040..1043).contains(&n));
        let first = estimator.estimate(now, PACKET);
        assert!(first.loss > 0.005, "{first:?}");
        let now = feed(&mut estimator, 1100, 12_000, |n| (1040..1043).contains(&n));
        let later = estimator.estimate(now, PACKET);
        assert!(later.loss < 0.0001 && later.clean > Some(Duration::from_secs(59)), "{later:?}");
    }

    #[test]
    fn a_path_without_loss_has_none() {
        let mut estimator = Estimator::new();
        let now = feed(&mut estimator, 0, 1000, |_| false);
        assert_eq!(estimator.estimate(now, PACKET), Estimate::default());
    }

    #[test]
    fn any_numbers_may_come() {
        let mut estimator = Estimator::new();
        for highest in [5, -70_000, i64::from(u32::MAX), 0] {
            estimator.handle(Instant::default(), highest.min(100_000), &Missing::default());
        }
    }
}
