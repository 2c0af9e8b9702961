//! How many may knock at the same time, and how often: what a stranger costs is bounded before it
//! is known who he is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audiostreamer_core::Instant;
use serde::Serialize;

/// The bounds. Each has a hidden option of `audiostreamer server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Handshakes that go on at the same time: each costs a task, 100 KiB and a millisecond.
    pub handshakes: usize,
    /// Of these, those from one address: one that dawdles must not keep out all others.
    pub handshakes_per_address: usize,
    /// New connections of one address (of an IPv6 network of 64 bits) in a second ...
    pub per_second: u32,
    /// ... and so many at once after a time of quiet, as when a router has come back.
    pub burst: u32,
    /// How long a stranger may take to be let in.
    pub handshake_time: Duration,
    /// How much may be read from a stranger over TCP, or kept of one over UDP before his handshake begins. A
    /// handshake and a hello are 2 KiB.
    pub handshake_bytes: usize,
    /// Connections that are open, playing or not.
    pub connections: usize,
    /// Of these, those of one key. A client has one, and two while it changes its path; but all of
    /// one user on one machine are one key.
    pub connections_per_client: usize,
    /// Streams of one client at the same time: of one key, or one connection that has none. Less than
    /// may play, so that one client can't have all places.
    pub streams_per_client: usize,
    /// Streams that are known but do not play (yet), each a small record: what is not proved to be a
    /// stream may not push out what is, and may not grow. As many may begin at the same moment, as
    /// after a restart of the server.
    pub unproved_streams: usize,
    /// Addresses whose rate is remembered. A flood from more has the oldest forgotten: the other
    /// bounds hold all the same.
    pub addresses: usize,
    /// Answers in a second to plain RTP where only encrypted is taken: the addresses are not proved.
    pub answers_per_second: u32,
}

/// What was turned away since the start, by the bound that it met, or by what it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusals {
    /// Connections: too many handshakes went on at the same time, in all or of one address.
    pub handshakes: u64,
    /// Connections that one address opened too fast.
    pub too_fast: u64,
    /// Connections beyond those that may be open, in all or of one client.
    pub connections: u64,
    /// Connections that were not let in: without a key or token that is on the list, too slow, or no
    /// clients at all.
    pub strangers: u64,
    /// Packets of more streams than one client may have.
    pub streams: u64,
    /// Streams that had proved nothing when newer ones needed their place.
    pub unproved_streams: u64,
    /// Packets of clients that were sent away.
    pub kicked: u64,
    /// Packets that were nothing that is spoken here, or none of their stream.
    pub garbage: u64,
    /// Answers to plain RTP that were not given.
    pub answers: u64,
    /// Addresses that were forgotten for newer ones.
    pub addresses: u64,
}

impl Refusals {
    /// Connections that were turned away.
    pub fn all_connections(&self) -> u64 {
        self.handshakes + self.too_fast + self.connections + self.strangers
    }

    /// Packets that were not played.
    pub fn all_packets(&self) -> u64 {
        self.streams + self.kicked + self.garbage
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 64,
            handshakes_per_address: 16,
            per_second: 20,
            burst: 64,
            handshake_time: Duration::from_secs(5),
            handshake_bytes: 16 * 1024,
            connections: 128,
            connections_per_client: 16,
            streams_per_client: 8,
            unproved_streams: 256,
            addresses: 4096,
            answers_per_second: 20,
        }
    }
}

/// Lets knocks pass, or not.
pub(super) struct Admission {
    limits: Limits,
    buckets: BTreeMap<IpAddr, Bucket>,
    going_on: Arc<Mutex<Vec<IpAddr>>>,
    refusals: Refusals,
}

/// Fills with `per_second`, up to `burst`; each connection takes one.
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A handshake that goes on, until it is dropped.
pub(super) struct Permit {
    network: IpAddr,
    going_on: Arc<Mutex<Vec<IpAddr>>>,
}

impl Admission {
    pub fn new(limits: Limits) -> Self {
        Self { limits, buckets: BTreeMap::new(), going_on: Arc::default(), refusals: Refusals::default() }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether one more may begin. The address must be known to be true.
    pub fn admit(&mut self, now: Instant, address: SocketAddr) -> Option<Permit> {
        let network = network(address);
        if !self.take(now, network) {
            self.refusals.too_fast += 1;
            return None;
        }
        let permit = self.begin(network);
        self.refusals.handshakes += u64::from(permit.is_none());
        permit
    }

    /// What was turned away here; others count theirs, too.
    pub fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// Whether handshakes are so many that new ones are not even answered.
    pub fn is_full(&self) -> bool {
        lock(&self.going_on).len() >= self.limits.handshakes
    }

    fn take(&mut self, now: Instant, network: IpAddr) -> bool {
        let (rate, burst) = (f64::from(self.limits.per_second), f64::from(self.limits.burst));
        if self.buckets.len() >= self.limits.addresses && !self.buckets.contains_key(&network) {
            self.refusals.addresses += 1;
            let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(&network, _)| network);
            oldest.map(|network| self.buckets.remove(&network));
        }
        let bucket = self.buckets.entry(network).or_insert(Bucket { tokens: burst, at: now });
        bucket.tokens = (bucket.tokens + rate * (now - bucket.at).as_secs_f64()).min(burst);
        bucket.at = now;
        let takes = bucket.tokens >= 1.0;
        bucket.tokens -= f64::from(u8::from(takes));
        takes
    }

    fn begin(&self, network: IpAddr) -> Option<Permit> {
        let mut going_on = lock(&self.going_on);
        let of_it = going_on.iter().filter(|&&other| other == network).count();
        if going_on.len() >= self.limits.handshakes || of_it >= self.limits.handshakes_per_address {
            return None;
        }
        going_on.push(network);
        Some(Permit { network, going_on: self.going_on.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut going_on = lock(&self.going_on);
        if let Some(index) = going_on.iter().position(|&other| other == self.network) {
            going_on.swap_remove(index);
        }
    }
}

fn lock(going_on: &Mutex<Vec<IpAddr>>) -> std::sync::MutexGuard<'_, Vec<IpAddr>> {
    going_on.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one customer of a provider has: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn from(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    #[test]
    fn one_address_can_not_take_all_handshakes() {
        let mut admission = Admission::new(Limits { handshakes: 3, handshakes_per_address: 2, ..Limits::default() });
        let mut permits: Vec<_> = (0..5).filter_map(|_| admission.admit(at(0), from("192.0.2.1"))).collect();
        assert_eq!(permits.len(), 2);
        let other = admission.admit(at(0), from("192.0.2.2"));
        assert!(other.is_some() && admission.is_full());
        permits.pop();
        assert!(!admission.is_full() && admission.admit(at(1), from("192.0.2.1")).is_some());
        assert_eq!((admission.refusals.handshakes, admission.refusals.all_connections()), (3, 3));
    }

    #[test]
    fn a_burst_is_let_through_and_then_a_rate() {
        let mut admission = Admission::new(Limits { per_second: 10, burst: 5, ..Limits::default() });
        let mut count = |now, address| (0..20).filter(|_| admission.admit(at(now), from(address)).is_some()).count();
        assert_eq!(count(0, "192.0.2.1"), 5);
        assert_eq!(count(200, "192.0.2.1"), 2);
        assert_eq!(count(200, "192.0.2.2"), 5);
        assert_eq!(count(10_000, "::ffff:192.0.2.1"), 5);
        assert_eq!(count(10_000, "2001:db8::1") + count(10_000, "2001:db8::2"), 5, "one network");
    }

    #[test]
    fn a_flood_from_everywhere_costs_bounded_memory() {
        let mut admission = Admission::new(Limits { addresses: 100, ..Limits::default() });
        for index in 0..300 {
            admission.admit(at(index.into()), SocketAddr::new(std::net::Ipv4Addr::from_bits(index).into(), 1));
        }
        assert_eq!((admission.buckets.len(), admission.refusals.addresses), (100, 200));
    }
}
