//! The impaired link: carries IP packets between two TUN devices, as the weather has it.
//!
//! Each direction has a thread that reads and stamps packets and one that writes them when they are due, by the
//! programs' clock: what is stolen of a core of our own (`theft.rs`) is no weather.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Result;

use crate::os;
use crate::theft;
use crate::weather::{Scenario, Weather};

/// A link that carries packets until its two network namespaces are deleted.
pub struct Link {
    /// From the sender to the receiver.
    forward: Arc<Counters>,
}

impl Link {
    /// Joins two TUN devices; both directions have the same climate, each its own weather.
    pub fn start(near: File, far: File, scenario: Scenario, seed: u64) -> Result<Self> {
        let forward = Arc::new(Counters::default());
        let start = Start(theft::present_nanos());
        spawn_direction(near.try_clone()?, far.try_clone()?, Weather::new(scenario, seed), start, forward.clone());
        let backward = Weather::new(scenario, seed.wrapping_add(0x0bac));
        spawn_direction(far, near, backward, start, Arc::default());
        Ok(Self { forward })
    }

    /// Packets lost on the way to the receiver, in percent.
    pub fn lost_percent(&self) -> f64 {
        let (passed, lost) = (self.forward.passed.load(Ordering::Relaxed), self.forward.lost.load(Ordering::Relaxed));
        100.0 * lost as f64 / (passed + lost).max(1) as f64
    }
}

fn spawn_direction(from: File, to: File, weather: Weather, start: Start, counters: Arc<Counters>) {
    let (packets, arrivals) = sync_channel(QUEUE);
    std::thread::spawn(move || read_packets(from, start, &packets));
    std::thread::spawn(move || deliver_packets(&arrivals, to, weather, start, &counters));
}

/// What one direction has done so far.
#[derive(Default)]
struct Counters {
    passed: AtomicU64,
    lost: AtomicU64,
}

type Arrival = (Duration, Vec<u8>);

/// When the link began, in nanoseconds.
#[derive(Clone, Copy)]
struct Start(u64);

impl Start {
    fn elapsed(self) -> Duration {
        Duration::from_nanos(theft::present_nanos().saturating_sub(self.0))
    }
}

/// Ends when the device does.
fn read_packets(mut from: File, start: Start, packets: &SyncSender<Arrival>) {
    os::raise_thread(PRIORITY);
    let mut buffer = [0; 65_536];
    while let Ok(length) = from.read(&mut buffer) {
        if packets.send((start.elapsed(), buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Ends when the reader has and all packets are delivered.
fn deliver_packets(
    arrivals: &Receiver<Arrival>,
    mut to: File,
    mut weather: Weather,
    start: Start,
    counters: &Counters,
) {
    os::raise_thread(PRIORITY);
    let mut waiting = BinaryHeap::new();
    let mut order = 0u64; // packets due at the same moment leave as they came
    loop {
        let idle = Duration::from_secs(3600);
        let wait = waiting.peek().map_or(idle, |Reverse((due, _, _))| Duration::saturating_sub(*due, start.elapsed()));
        match arrivals.recv_timeout(wait) {
            Ok((now, packet)) => match weather.fate(now, packet.len()) {
                Some(due) => {
                    order += 1;
                    waiting.push(Reverse((due, order, packet)));
                }
                None => _ = counters.lost.fetch_add(1, Ordering::Relaxed),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if waiting.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
        let now = start.elapsed();
        while waiting.peek().is_some_and(|Reverse((due, _, _))| *due <= now) {
            if let Some(Reverse((_, _, packet))) = waiting.pop() {
                let _ = to.write(&packet); // a receiver that is not there yet loses packets, as on any network
                counters.passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Packets between the two threads of a direction: a second of the fastest sender.
const QUEUE: usize = 4096;
/// Above the audio programs: a router is not slowed by the hosts.
const PRIORITY: i32 = 80;
