//! Virtual links: what a path does to packets.
//!
//! The weather of a path (bursts of loss, stalls) is decided in slots of time and not per packet,
//! so that a stream of many small packets meets the same outages as one of few large ones. Jitter
//! is waiting in queues, and queues keep their order: packets overtake each other only where
//! [`Netem::reorder`] says so.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use audiostreamer_core::Instant;

use crate::rng::Rng;
use crate::tcp::Connection;

/// How often the weather may change.
const SLOT: Duration = Duration::from_millis(5);

/// IPv4 and UDP headers, which a link of limited rate carries too.
pub const HEADER_BYTES: usize = 28;

/// A lost segment of a reliable link is repeated after Linux's least retransmission timeout.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// What a path is like: one that is ideal, until told otherwise. Times are in milliseconds,
/// probabilities from 0 to 1.
#[derive(Clone, Debug)]
pub struct Netem {
    delay: Delay,
    jitter: Vec<Jitter>,
    loss: f64,
    bursts: Option<Bursts>,
    stalls: Vec<Stalls>,
    reorder: f64,
    duplicate: f64,
    duplicate_after: f64,
    rate: Option<Rate>,
}

/// The way itself, one way.
#[derive(Clone, Debug)]
enum Delay {
    Fixed(f64),
    /// Up from `low` to `high` and down again in `period`, as a queue that others fill.
    Triangle {
        low: f64,
        high: f64,
        period: f64,
    },
    /// Over one route for `every`, then over another, with an outage in between.
    Routes {
        near: f64,
        far: f64,
        every: f64,
        outage: f64,
    },
}

/// Waiting on the way, anew for each packet.
#[derive(Clone, Debug)]
enum Jitter {
    Uniform(Range<f64>),
    Exponential(f64),
    /// Now and then something extra.
    Spikes {
        probability: f64,
        extra: Range<f64>,
    },
}

/// Gilbert and Elliott's two states, here with nothing lost in the good one and everything in
/// the bad; probabilities are per slot.
#[derive(Clone, Debug)]
struct Bursts {
    begins: f64,
    ends: f64,
}

/// Nothing comes through for a while, then all of it at once; the probability is per slot.
#[derive(Clone, Debug)]
struct Stalls {
    probability: f64,
    length: Range<f64>,
}

/// A bottleneck with a queue that drops what does not fit.
#[derive(Clone, Debug)]
struct Rate {
    bits_per_second: f64,
    queue: f64,
}

impl Netem {
    pub fn ideal() -> Self {
        Self {
            delay: Delay::Fixed(0.0),
            jitter: Vec::new(),
            loss: 0.0,
            bursts: None,
            stalls: Vec::new(),
            reorder: 0.0,
            duplicate: 0.0,
            duplicate_after: 0.0,
            rate: None,
        }
    }

    /// Nothing comes through.
    pub fn outage() -> Self {
        Self::ideal().loss(1.0)
    }

    pub fn delay(self, millis: f64) -> Self {
        Self { delay: Delay::Fixed(millis), ..self }
    }

    pub fn triangle(self, low: f64, high: f64, period: f64) -> Self {
        Self { delay: Delay::Triangle { low, high, period }, ..self }
    }

    pub fn routes(self, near: f64, far: f64, every: f64, outage: f64) -> Self {
        Self { delay: Delay::Routes { near, far, every, outage }, ..self }
    }

    pub fn jitter(self, range: Range<f64>) -> Self {
        self.with_jitter(Jitter::Uniform(range))
    }

    pub fn exponential(self, mean: f64) -> Self {
        self.with_jitter(Jitter::Exponential(mean))
    }

    pub fn spikes(self, probability: f64, extra: Range<f64>) -> Self {
        self.with_jitter(Jitter::Spikes { probability, extra })
    }

    /// Each packet for itself.
    pub fn loss(self, probability: f64) -> Self {
        Self { loss: probability, ..self }
    }

    /// In each slot a burst of loss begins, or ends, with these probabilities.
    pub fn bursts(self, begins: f64, ends: f64) -> Self {
        Self { bursts: Some(Bursts { begins, ends }), ..self }
    }

    pub fn stalls(mut self, probability: f64, length: Range<f64>) -> Self {
        self.stalls.push(Stalls { probability, length });
        self
    }

    /// Packets are overtaken by the next two or three.
    pub fn reorder(self, probability: f64) -> Self {
        Self { reorder: probability, ..self }
    }

    /// Packets come twice, the second time `after` milliseconds later.
    pub fn duplicate(self, probability: f64, after: f64) -> Self {
        Self { duplicate: probability, duplicate_after: after, ..self }
    }

    pub fn rate(self, bits_per_second: f64, queue: f64) -> Self {
        Self { rate: Some(Rate { bits_per_second, queue }), ..self }
    }

    /// The way back: as long, and nothing happens on it.
    pub fn way_back(&self) -> Netem {
        Self { delay: self.delay.clone(), ..Self::ideal() }
    }

    /// The same weather, but nothing is lost in it.
    pub fn lossless(self) -> Netem {
        let delay = match self.delay {
            Delay::Routes { near, far, every, .. } => Delay::Routes { near, far, every, outage: 0.0 },
            delay => delay,
        };
        Self { delay, loss: 0.0, bursts: None, ..self }
    }

    /// The least that the way takes, in milliseconds.
    pub fn least(&self) -> f64 {
        match self.delay {
            Delay::Fixed(delay) => delay,
            Delay::Triangle { low, high, .. } => low.min(high),
            Delay::Routes { near, far, .. } => near.min(far),
        }
    }

    /// How much later than the least a packet comes, in milliseconds.
    fn draw_jitter(&self, rng: &mut Rng) -> f64 {
        let draw = |jitter: &Jitter| match jitter {
            Jitter::Uniform(range) => rng.between(range.clone()),
            Jitter::Exponential(mean) => rng.exponential(*mean),
            Jitter::Spikes { probability, extra } => {
                let (spike, extra) = (rng.chance(*probability), rng.between(extra.clone()));
                if spike { extra } else { 0.0 }
            }
        };
        self.jitter.iter().map(draw).sum()
    }

    fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter.push(jitter);
        self
    }
}

/// What a link guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Datagrams: whole, or not at all.
    Datagrams,
    /// A byte stream as TCP's: complete and in order, so a loss is a wait; cut anywhere.
    Stream,
}

/// What became of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// With the headers of IPv4 and UDP.
    pub bytes: u64,
    pub sent: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub delivered: u64,
}

/// Of a datagram's second byte, where it is a report (RFC 5761 section 4).
pub const RTCP: RangeInclusive<u8> = 192..=223;

/// One direction of a path.
pub struct Link {
    netem: Netem,
    service: Service,
    /// What a live stream makes of [`Service::Stream`].
    live: Option<Connection>,
    weather: Weather,
    rng: Rng,
    /// For reports: when one is sent is to change nothing of what happens to sound.
    reports_rng: Rng,
    /// By arrival, then in the order of sending.
    in_flight: BTreeMap<(Instant, u64), Vec<u8>>,
    /// Waiting to be overtaken by so many more.
    held: Vec<(u32, Vec<u8>)>,
    order: u64,
    /// The arrival of the last one in order.
    last_arrival: Instant,
    busy_until: Instant,
    /// How long each packet waited before the bottleneck: since when, in seconds, and so many ms.
    waits: Vec<(f64, f64)>,
    counts: Counts,
}

impl Link {
    pub fn new(netem: Netem, service: Service, mut rng: Rng) -> Self {
        Self {
            netem,
            service,
            live: None,
            weather: Weather::new(rng.fork()),
            reports_rng: rng.clone().fork(),
            rng,
            in_flight: BTreeMap::new(),
            held: Vec::new(),
            order: 0,
            last_arrival: Instant::default(),
            busy_until: Instant::default(),
            waits: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Another link over the same path: its bursts and stalls are the same, what else is lost is not.
    pub fn beside(&self, rng: Rng) -> Self {
        Self { weather: self.weather.clone(), ..Self::new(self.netem.clone(), self.service, rng) }
    }

    /// Carries a stream as a live one is: see [`Connection`].
    pub fn go_live(&mut self, now: Instant) {
        self.live = Some(Connection::new(now));
    }

    /// How long packets of a live stream may wait.
    pub fn set_patience(&mut self, patience: Duration) {
        self.live.iter_mut().for_each(|live| live.set_patience(patience));
    }

    /// Sends a packet, or the next piece of a stream.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.counts.sent += 1;
        self.counts.bytes += (bytes.len() + HEADER_BYTES) as u64;
        self.weather.advance(now, &self.netem);
        if let Some(live) = self.live.take() {
            return self.handle_live(now, live, Some(bytes));
        }
        // All chances are taken for every packet, so that none shifts those of the next.
        let is_report = bytes.get(1).is_some_and(|kind| RTCP.contains(kind));
        let rng = if is_report { &mut self.reports_rng } else { &mut self.rng };
        let iid = rng.chance(self.netem.loss);
        let (reordered, duplicated) = (rng.chance(self.netem.reorder), rng.chance(self.netem.duplicate));
        let jitter = self.netem.draw_jitter(rng);
        let lost = iid || self.weather.lossy || self.netem.delay.is_out(now);
        match self.service {
            Service::Stream => {
                let repeated = if lost { RETRANSMISSION } else { Duration::ZERO };
                let arrival = self.arrival(now + repeated, jitter, bytes.len()).unwrap_or(self.busy_until);
                self.put_in_pieces(arrival, bytes);
            }
            Service::Datagrams => {
                let arrival = self.arrival(now, jitter, bytes.len());
                let Some(arrival) = arrival.filter(|_| !lost) else {
                    self.counts.lost += 1;
                    return;
                };
                self.put_datagram(arrival, bytes, reordered, duplicated);
            }
        }
    }

    /// What has arrived by now, one after the other.
    pub fn poll_output(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.in_flight.first_entry().filter(|entry| entry.key().0 <= now)?;
        self.counts.delivered += 1;
        Some(first.remove())
    }

    /// Sends once more what a live stream has lost.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |live: &Connection| live.poll_timeout().is_some_and(|due| due <= now);
        if let Some(live) = self.live.take_if(|live| is_due(live)) {
            self.weather.advance(now, &self.netem);
            self.handle_live(now, live, None);
        }
    }

    /// When the next will arrive, or something is to be sent once more.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let arrival = self.in_flight.first_key_value().map(|((arrival, _), _)| *arrival);
        let repeat = self.live.as_ref().and_then(Connection::poll_timeout);
        [arrival, repeat].into_iter().flatten().min()
    }

    /// Changes the path under way; what is in flight arrives as it would have.
    pub fn set(&mut self, netem: Netem) {
        self.netem = netem;
    }

    /// Holds up all that is sent from now on for so long.
    pub fn stall(&mut self, now: Instant, length: Duration) {
        self.weather.stalled_until = self.weather.stalled_until.max(now + length);
    }

    /// Forgets what is in flight: the connection is gone.
    pub fn clear(&mut self) {
        self.in_flight.clear();
        self.held.clear();
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What packets waited before the bottleneck from that second on, in milliseconds: of so great a
    /// share no more than this.
    pub fn waited(&self, second: f64, share: f64) -> f64 {
        let mut waits: Vec<f64> = self.waits.iter().filter(|(at, _)| *at >= second).map(|(_, wait)| *wait).collect();
        waits.sort_by(f64::total_cmp);
        let last = (waits.len() as f64 * share) as usize;
        waits.get(last.min(waits.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    fn handle_live(&mut self, now: Instant, mut live: Connection, record: Option<&[u8]>) {
        let round_trip = span(2.0 * self.netem.least());
        let mut readable = Vec::new();
        let pass = || {
            let lost = self.rng.chance(self.netem.loss) || self.weather.lossy || self.netem.delay.is_out(now);
            (!lost).then(|| now + span(self.netem.delay.at(now) + self.netem.draw_jitter(&mut self.rng)))
        };
        let give = |at, bytes: &[u8]| readable.push((at, bytes.to_vec()));
        match record {
            Some(record) => live.handle_input(now, record, round_trip, pass, give),
            None => live.handle_timeout(now, pass, give),
        }
        self.live = Some(live);
        for (at, bytes) in readable {
            self.last_arrival = self.last_arrival.max(at);
            self.put_in_pieces(self.last_arrival, &bytes);
        }
    }

    fn put_datagram(&mut self, arrival: Instant, bytes: &[u8], reordered: bool, duplicated: bool) {
        if reordered {
            self.counts.reordered += 1;
            self.held.push((2 + self.rng.below(2) as u32 + 1, bytes.to_vec()));
        } else {
            self.put(arrival, bytes.to_vec());
        }
        if duplicated {
            self.counts.duplicated += 1;
            self.put(arrival + span(self.netem.duplicate_after), bytes.to_vec());
        }
        self.held.iter_mut().for_each(|(left, _)| *left -= 1);
        while let Some(index) = self.held.iter().position(|(left, _)| *left == 0) {
            let (_, overtaken) = self.held.remove(index);
            self.put(arrival, overtaken);
        }
    }

    fn put_in_pieces(&mut self, arrival: Instant, bytes: &[u8]) {
        let (first, second) = bytes.split_at(self.rng.below(bytes.len() + 1));
        for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
            self.put(arrival, piece.to_vec());
        }
    }

    fn put(&mut self, arrival: Instant, bytes: Vec<u8>) {
        self.order += 1;
        self.in_flight.insert((arrival, self.order), bytes);
    }

    /// When a packet of `length` bytes that enters now is at the other end, never before the one
    /// that entered before it; `None` when the queue of the bottleneck is full.
    fn arrival(&mut self, now: Instant, jitter: f64, length: usize) -> Option<Instant> {
        let mut leaves = now.max(self.weather.stalled_until);
        if let Some(rate) = &self.netem.rate {
            let waits = self.busy_until - leaves;
            if waits > span(rate.queue) && self.service == Service::Datagrams {
                return None;
            }
            self.waits.push((now.as_nanos() as f64 * 1e-9, waits.as_secs_f64() * 1e3));
            let bits = (length + HEADER_BYTES) as f64 * 8.0;
            leaves = leaves + waits + Duration::from_secs_f64(bits / rate.bits_per_second);
            self.busy_until = leaves;
        }
        let arrival = leaves + span(self.netem.delay.at(now) + jitter);
        self.last_arrival = self.last_arrival.max(arrival);
        Some(self.last_arrival)
    }
}

/// What changes with time and not with packets.
#[derive(Clone)]
struct Weather {
    rng: Rng,
    next_slot: Instant,
    lossy: bool,
    stalled_until: Instant,
}

impl Weather {
    fn new(rng: Rng) -> Self {
        Self { rng, next_slot: Instant::default(), lossy: false, stalled_until: Instant::default() }
    }

    fn advance(&mut self, now: Instant, netem: &Netem) {
        while self.next_slot <= now {
            let turn = self.rng.unit();
            self.lossy = match &netem.bursts {
                Some(bursts) if self.lossy => turn >= bursts.ends,
                Some(bursts) => turn < bursts.begins,
                None => false,
            };
            for stalls in &netem.stalls {
                let (begins, length) = (self.rng.chance(stalls.probability), self.rng.between(stalls.length.clone()));
                if begins {
                    self.stalled_until = self.stalled_until.max(self.next_slot + span(length));
                }
            }
            self.next_slot += SLOT;
        }
    }
}

impl Delay {
    fn at(&self, now: Instant) -> f64 {
        let millis = now.as_nanos() as f64 / 1e6;
        match *self {
            Delay::Fixed(delay) => delay,
            Delay::Triangle { low, high, period } => {
                let phase = millis / period % 1.0;
                low + (high - low) * (1.0 - (2.0 * phase - 1.0).abs())
            }
            Delay::Routes { near, far, every, .. } => match (millis / every) as u64 % 2 {
                0 => near,
                _ => far,
            },
        }
    }

    fn is_out(&self, now: Instant) -> bool {
        let millis = now.as_nanos() as f64 / 1e6;
        match *self {
            Delay::Routes { every, outage, .. } => millis >= every && millis % every < outage,
            _ => false,
        }
    }
}

fn span(millis: f64) -> Duration {
    Duration::from_nanos((millis * 1e6) as u64)
}
