//! What the network does to packets, as a function of *time*.
//!
//! Loss, stalls and outages step in slots of 5 ms and jitter in ticks of 1 ms, whether packets
//! pass or not: a system that sends 400 packets a second meets the same outages, in milliseconds,
//! as one that sends 50. (netem steps per packet, which makes bursts eight times shorter for the
//! first.) One seed is one weather.

use std::time::Duration;

/// The named links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Ideal: no delay, no loss.
    N0,
    /// Wired LAN.
    N1,
    /// Good home Wi-Fi.
    N2,
    /// Bad Wi-Fi.
    N3,
    /// Metropolitan area.
    N4,
    /// LTE.
    N5,
    /// Continental, random loss of 2 %.
    N6,
    /// WAN, loss of 5 % in bursts.
    N7,
    /// WAN, loss of 5 % in long bursts.
    N8,
    /// Very bad: 20 % loss.
    N9,
    /// Bufferbloat: 256 kb/s and a delay that swells.
    N10,
    /// The route shifts every 30 s.
    N11,
    /// Internet, loss of 4.5 % in bursts.
    L0,
    /// Wi-Fi that stands still for 85 ms every few seconds.
    L0b,
    /// Internet, loss of 4 % in long bursts.
    L0c,
    /// Internet at its worst: 19 % loss.
    L0d,
    /// As N10, with nobody else's packets in the queue.
    L6,
    /// Internet, random loss of 2 %, 40 ms there and back.
    L7,
    /// As L7 without loss, but nothing passes for 2 s in every 30 s.
    Stall,
}

impl Scenario {
    fn climate(self) -> Climate {
        let ideal = Climate::default();
        let wifi = Climate { delay_ms: 0.5, jitter: Jitter::Exponential(1.0), stalls: &WIFI_STALLS, ..ideal };
        let wan = Climate { delay_ms: 40.0, jitter: Jitter::Exponential(3.0), ..ideal };
        match self {
            Self::N0 => ideal,
            Self::N1 => Climate { delay_ms: 0.15, jitter: Jitter::Exponential(0.05), stalls: &LAN_SPIKES, ..ideal },
            Self::N2 => Climate { loss: Loss::random(0.001), ..wifi },
            Self::N3 => Climate { stalls: &BAD_WIFI_STALLS, loss: Loss { enter: 0.00505, leave: 0.5 }, ..wifi },
            Self::N4 => Climate { delay_ms: 8.0, jitter: Jitter::Exponential(0.5), loss: Loss::random(0.001), ..ideal },
            Self::N5 => Climate {
                delay_ms: 25.0,
                jitter: Jitter::Retransmission,
                stalls: &LTE_STALLS,
                loss: Loss { enter: 0.00168, leave: 0.333 },
                ..ideal
            },
            Self::N6 => Climate { jitter: Jitter::Exponential(2.0), loss: Loss::random(0.02), ..wan },
            Self::N7 => Climate { loss: Loss { enter: 0.01754, leave: 0.333 }, ..wan },
            Self::N8 => Climate { loss: Loss { enter: 0.00658, leave: 0.125 }, ..wan },
            Self::N9 => Climate {
                delay_ms: 60.0,
                jitter: Jitter::Exponential(8.0),
                loss: Loss { enter: 0.0625, leave: 0.25 },
                ..ideal
            },
            Self::N10 => Climate { delay_ms: 20.0, sway: Sway::Triangle, bottleneck: true, ..ideal },
            Self::N11 => Climate { delay_ms: 20.0, sway: Sway::RouteShift, reordered: 0.05, ..ideal },
            Self::L0 => Climate {
                delay_ms: 34.0,
                jitter: Jitter::Exponential(1.0),
                loss: Loss { enter: 0.0157, leave: 0.333 },
                ..ideal
            },
            Self::L0b => Climate {
                delay_ms: 1.0,
                jitter: Jitter::Exponential(0.5),
                stalls: &LONG_STALLS,
                loss: Loss::random(0.013),
                ..ideal
            },
            Self::L0c => Climate {
                delay_ms: 22.0,
                jitter: Jitter::Exponential(1.0),
                loss: Loss { enter: 0.00595, leave: 0.143 },
                ..ideal
            },
            Self::L0d => Climate {
                delay_ms: 45.0,
                jitter: Jitter::Exponential(8.0),
                loss: Loss { enter: 0.0586, leave: 0.25 },
                ..ideal
            },
            Self::L6 => Climate { delay_ms: 20.0, bottleneck: true, ..ideal },
            Self::L7 => Climate { delay_ms: 20.0, loss: Loss::random(0.02), ..ideal },
            Self::Stall => Climate { delay_ms: 20.0, sway: Sway::Outage, ..ideal },
        }
    }
}

/// One direction of a link, from its first moment on.
pub struct Weather {
    climate: Climate,
    seed: u64,
    slots: Random,
    packets: Random,
    /// The slot that `losing` and `stalled_until` are valid for.
    slot: u64,
    losing: bool,
    stalled_until: Duration,
    queue_empty_at: Duration,
    last_due: Duration,
    last_arrival: Duration,
    mean_interval: Duration,
}

impl Weather {
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self {
            climate: scenario.climate(),
            seed,
            slots: Random(seed),
            packets: Random(seed ^ 0x5eed),
            slot: 0,
            losing: false,
            stalled_until: Duration::ZERO,
            queue_empty_at: Duration::ZERO,
            last_due: Duration::ZERO,
            last_arrival: Duration::ZERO,
            mean_interval: Duration::ZERO,
        }
    }

    /// When a packet that enters the link at `now` (since the link's start) leaves it; `None` when it is lost.
    pub fn fate(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        self.advance(now);
        self.mean_interval = (self.mean_interval * 15 + (now - self.last_arrival).min(SECOND)) / 16;
        self.last_arrival = now;
        if self.losing || self.climate.sway.is_outage(now) {
            return None;
        }
        let sent = self.pass_bottleneck(now, bytes)?.max(self.stalled_until);
        let due = sent + ms(self.climate.delay_ms + self.climate.sway.extra_ms(now) + self.jitter_ms(now));
        if self.climate.reordered > 0.0 && self.packets.unit() < self.climate.reordered {
            return Some(due + self.mean_interval * 5 / 2); // two or three packets pass it
        }
        self.last_due = due.max(self.last_due); // jitter alone reorders nothing
        Some(self.last_due)
    }

    /// Steps through the slots up to `now`; each draws the same numbers, whatever it does with them.
    fn advance(&mut self, now: Duration) {
        let target = (now.as_nanos() / SLOT.as_nanos()) as u64;
        while self.slot < target {
            self.slot += 1;
            let change = self.slots.unit();
            self.losing =
                if self.losing { change >= self.climate.loss.leave } else { change < self.climate.loss.enter };
            for stall in self.climate.stalls {
                let (start, length) = (self.slots.unit(), self.slots.unit());
                if start < stall.per_slot {
                    let end = SLOT * self.slot as u32 + ms(stall.min_ms + length * (stall.max_ms - stall.min_ms));
                    self.stalled_until = self.stalled_until.max(end);
                }
            }
        }
    }

    /// The moment at which the bottleneck has sent the packet; `None` when its queue is full.
    fn pass_bottleneck(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        if !self.climate.bottleneck {
            return Some(now);
        }
        let start = self.queue_empty_at.max(now);
        if start - now > BOTTLENECK_QUEUE {
            return None;
        }
        self.queue_empty_at = start + Duration::from_secs_f64(bytes as f64 * 8.0 / BOTTLENECK_BPS);
        Some(self.queue_empty_at)
    }

    fn jitter_ms(&self, now: Duration) -> f64 {
        let mut tick = Random(self.seed ^ (now.as_millis() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match self.climate.jitter {
            Jitter::None => 0.0,
            Jitter::Exponential(mean) => -mean * (1.0 - tick.unit()).ln(),
            Jitter::Retransmission => {
                let scheduling = (tick.unit() * 5.0).floor();
                let harq = tick.unit();
                scheduling
                    + if harq < 0.01 {
                        16.0
                    } else if harq < 0.1 {
                        8.0
                    } else {
                        0.0
                    }
            }
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Climate {
    delay_ms: f64,
    jitter: Jitter,
    sway: Sway,
    stalls: &'static [Stall],
    loss: Loss,
    bottleneck: bool,
    /// Share of packets that arrive two or three places late.
    reordered: f64,
}

#[derive(Clone, Copy, Default)]
enum Jitter {
    #[default]
    None,
    /// With this mean in ms.
    Exponential(f64),
    /// LTE: a scheduling grid of 0 to 4 ms, 8 ms more for one retransmission, 16 for two.
    Retransmission,
}

/// Slow changes of the delay.
#[derive(Clone, Copy, Default)]
enum Sway {
    #[default]
    None,
    /// Up by 200 ms and down again in 10 s.
    Triangle,
    /// 40 ms more in every other half minute, with an outage of 250 ms at each change.
    RouteShift,
    /// An outage of 2 s in every half minute.
    Outage,
}

impl Sway {
    fn extra_ms(self, now: Duration) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Triangle => {
                let phase = now.as_secs_f64() % 10.0 / 10.0;
                200.0 * (1.0 - (2.0 * phase - 1.0).abs())
            }
            Self::RouteShift => 40.0 * (now.as_secs() / 30 % 2) as f64,
            Self::Outage => 0.0,
        }
    }

    fn is_outage(self, now: Duration) -> bool {
        match self {
            Self::None | Self::Triangle => false,
            Self::RouteShift => now >= SECOND * 30 && now.as_millis() % 30_000 < 250,
            Self::Outage => (15_000..17_000).contains(&(now.as_millis() % 30_000)),
        }
    }
}

/// The link holds everything back for a while, then lets it go at once.
struct Stall {
    per_slot: f64,
    min_ms: f64,
    max_ms: f64,
}

/// Gilbert-Elliott: chance per slot to enter and to leave the state in which all packets are lost.
#[derive(Clone, Copy, Default)]
struct Loss {
    enter: f64,
    leave: f64,
}

impl Loss {
    /// Slots lost independently of each other.
    const fn random(share: f64) -> Self {
        Self { enter: share, leave: 1.0 - share }
    }
}

/// SplitMix64: small, seedable, and the same on every machine.
struct Random(u64);

impl Random {
    /// A number from 0 up to, but not including, 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn ms(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1000.0)
}

const SECOND: Duration = Duration::from_secs(1);
const SLOT: Duration = Duration::from_millis(5);
const BOTTLENECK_BPS: f64 = 256_000.0;
const BOTTLENECK_QUEUE: Duration = Duration::from_millis(200);
const LAN_SPIKES: [Stall; 1] = [Stall { per_slot: 0.002, min_ms: 0.5, max_ms: 2.0 }];
const WIFI_STALLS: [Stall; 1] = [Stall { per_slot: 0.02, min_ms: 5.0, max_ms: 30.0 }];
const BAD_WIFI_STALLS: [Stall; 2] =
    [Stall { per_slot: 0.02, min_ms: 5.0, max_ms: 30.0 }, Stall { per_slot: 0.0005, min_ms: 60.0, max_ms: 120.0 }];
const LONG_STALLS: [Stall; 1] = [Stall { per_slot: 0.0014, min_ms: 85.0, max_ms: 85.0 }];
const LTE_STALLS: [Stall; 1] = [Stall { per_slot: 0.0008, min_ms: 30.0, max_ms: 90.0 }];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_do_not_depend_on_the_packet_rate() {
        let lost = |interval: usize| -> Vec<usize> {
            let mut weather = Weather::new(Scenario::N7, 3);
            let fates = (0..60_000).step_by(interval).map(|t| (t, weather.fate(ms(t as f64), 100)));
            fates.filter(|(t, fate)| t % 20 == 0 && fate.is_none()).map(|(t, _)| t).collect()
        };
        assert_eq!(lost(20), lost(1));
        assert!(!lost(20).is_empty());
    }

    #[test]
    fn the_share_of_lost_time_is_the_one_of_the_scenario() {
        for (scenario, share) in [
            (Scenario::N6, 0.02),
            (Scenario::N7, 0.05),
            (Scenario::N8, 0.05),
            (Scenario::N9, 0.2),
            (Scenario::L0, 0.045),
            (Scenario::L0c, 0.04),
            (Scenario::L0d, 0.19),
        ] {
            let mut weather = Weather::new(scenario, 1);
            let slots = 400_000;
            let lost = (0..slots).filter(|&s| weather.fate(SLOT * s, 100).is_none()).count();
            let measured = lost as f64 / slots as f64;
            assert!((measured / share - 1.0).abs() < 0.1, "{scenario:?}: {measured}");
        }
    }

    #[test]
    fn jitter_and_stalls_keep_the_order_of_packets() {
        for scenario in [Scenario::N1, Scenario::N3, Scenario::N5, Scenario::N10] {
            let mut weather = Weather::new(scenario, 2);
            let due: Vec<Duration> = (0..60_000).filter_map(|t| weather.fate(ms(t as f64), 100)).collect();
            assert!(due.is_sorted(), "{scenario:?}");
        }
    }

    #[test]
    fn a_shifting_route_reorders_some_packets() {
        let mut weather = Weather::new(Scenario::N11, 2);
        let due: Vec<Duration> = (0..20_000).filter_map(|t| weather.fate(ms(t as f64), 100)).collect();
        let overtaken = due.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((500..1500).contains(&overtaken), "{overtaken}");
    }

    #[test]
    fn the_bottleneck_drops_what_its_queue_cannot_hold() {
        let mut weather = Weather::new(Scenario::N10, 1);
        let delivered = (0..10_000).filter(|&t| weather.fate(ms(t as f64), 125).is_some()).count(); // 1 Mb/s offered
        assert!((2500..2700).contains(&delivered), "{delivered}");
    }
}
