//! Somebody in the middle: sees, holds up, repeats and changes what passes.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiostreamer::clock;
use audiostreamer_core::Instant;

use super::port;

/// Forwards datagrams between one client and a server, and keeps those of the client.
pub struct Relay {
    pub port: u16,
    state: Arc<State>,
    running: JoinHandle<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct State {
    over: AtomicBool,
    blocked: AtomicBool,
    hostile: AtomicBool,
    rebinds: AtomicBool,
    delay_ms: AtomicU64,
    bits_per_second: AtomicU64,
    reorders: AtomicU32,
    flights: Mutex<Vec<Flight>>,
    losses: AtomicU32,
}

/// Datagrams of one side, up to the next of the other.
#[derive(Clone, Debug)]
pub struct Flight {
    pub is_of_client: bool,
    pub datagrams: Vec<Vec<u8>>,
}

impl Relay {
    pub fn start(server: u16) -> Self {
        Self::start_at(port::free(), server)
    }

    pub fn start_at(port: u16, server: u16) -> Self {
        let front = UdpSocket::bind(("127.0.0.1", port)).expect("it is free");
        front.set_nonblocking(true).expect("a socket can do that");
        let state = Arc::new(State::default());
        let running = {
            let state = state.clone();
            thread::spawn(move || forward(&front, server, &state))
        };
        Self { port, state, running }
    }

    /// Lets nothing pass, or everything again.
    pub fn block(&self, blocked: bool) {
        self.state.blocked.store(blocked, Ordering::Relaxed);
    }

    /// From now on sends everything a second time with a bit changed, and a third time later.
    pub fn be_hostile(&self) {
        self.state.hostile.store(true, Ordering::Relaxed);
    }

    /// From now on the server sees the client at another port, as when a router has restarted.
    pub fn rebind(&self) {
        self.state.rebinds.store(true, Ordering::Relaxed);
    }

    /// From now on each datagram takes so long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// From now on carries no more than that from the client, IP headers included: more waits, up to 200 ms,
    /// and what comes then is lost.
    pub fn narrow(&self, bits_per_second: u64) {
        self.state.bits_per_second.store(bits_per_second, Ordering::Relaxed);
    }

    /// So many datagrams of the client, every fourth of those that come, come after the next two.
    pub fn reorder(&self, datagrams: u32) {
        self.state.reorders.store(datagrams, Ordering::Relaxed);
    }

    /// What has come so far, in turns.
    pub fn flights(&self) -> Vec<Flight> {
        self.state.flights.lock().expect("no relay panics").clone()
    }

    /// From now on loses two of each forty datagrams of the client, one after the other, twelve in
    /// all: of the last ones nobody would know.
    pub fn lose(&self) {
        self.state.losses.store(12, Ordering::Relaxed);
    }

    /// Ends it; what the client has sent.
    pub fn stop(self) -> Vec<Vec<u8>> {
        self.state.over.store(true, Ordering::Relaxed);
        self.running.join().expect("it does not panic")
    }
}

/// All that has come is forwarded so often. A socket's own timeout is no substitute: where the kernel
/// counts in steps of 10 ms, two of them per datagram let fewer pass than come.
const TURN: Duration = Duration::from_millis(1);

fn forward(front: &UdpSocket, server: u16, state: &State) -> Vec<Vec<u8>> {
    let (mut seen, mut client, mut buffer) = (Vec::<Vec<u8>>::new(), None, [0; 2048]);
    let mut back = to(server);
    let (mut there, mut here) = (Delayed::default(), Delayed::default());
    while !state.over.load(Ordering::Relaxed) {
        let passes = !state.blocked.load(Ordering::Relaxed);
        if state.rebinds.swap(false, Ordering::Relaxed) {
            back = to(server);
        }
        thread::sleep(TURN);
        while let Ok((length, from)) = front.recv_from(&mut buffer) {
            client = Some(from);
            let datagram = &mut buffer[..length];
            state.note(true, datagram);
            seen.push(datagram.to_vec());
            let losses = state.losses.load(Ordering::Relaxed);
            let lost = losses > 0 && seen.len() % 40 < 2;
            state.losses.store(losses - u32::from(lost), Ordering::Relaxed);
            if passes && !lost && there.has_room(length, state) {
                there.push(datagram, state);
            }
            if state.hostile.load(Ordering::Relaxed) {
                datagram[length * 2 / 3] ^= 0x10;
                there.push(datagram, state);
                let _ = seen.len().checked_sub(20).map(|old| there.push(&seen[old], state));
            }
            let left = state.reorders.load(Ordering::Relaxed);
            if left > 0 && seen.len().is_multiple_of(4) {
                state.reorders.store(left - 1, Ordering::Relaxed);
                there.hold_the_last(2);
            }
        }
        while let Ok(length) = back.recv(&mut buffer) {
            if passes {
                state.note(false, &buffer[..length]);
                here.push(&buffer[..length], state);
            }
        }
        there.pop_due(|datagram| drop(back.send(datagram)));
        here.pop_due(|datagram| drop(client.map(|client| front.send_to(datagram, client))));
    }
    seen
}

impl State {
    fn note(&self, is_of_client: bool, datagram: &[u8]) {
        let mut flights = self.flights.lock().expect("no relay panics");
        let is_full = flights.len() >= FLIGHTS_MAX;
        match flights.last_mut().filter(|last| last.is_of_client == is_of_client) {
            Some(last) => last.datagrams.push(datagram.to_vec()),
            None if is_full => {}
            None => flights.push(Flight { is_of_client, datagrams: vec![datagram.to_vec()] }),
        }
    }
}

/// Only how it begins is of interest.
const FLIGHTS_MAX: usize = 20;

/// Datagrams on their way.
#[derive(Default)]
struct Delayed {
    waiting: VecDeque<(Instant, Vec<u8>)>,
    /// One that is overtaken, and by how many more.
    held: Option<(usize, Vec<u8>)>,
    /// When a narrow path has carried all that it was given.
    busy_until: Instant,
}

/// What a narrow path holds back at the most.
const QUEUE: Duration = Duration::from_millis(200);
/// Of UDP over IPv4.
const HEADERS: usize = 28;

impl Delayed {
    fn push(&mut self, datagram: &[u8], state: &State) {
        let delay = Duration::from_millis(state.delay_ms.load(Ordering::Relaxed));
        self.waiting.push_back((clock::now().max(self.busy_until) + delay, datagram.to_vec()));
    }

    /// Whether a narrow path takes one more datagram; it is busy with it for a while.
    fn has_room(&mut self, length: usize, state: &State) -> bool {
        let bits_per_second = state.bits_per_second.load(Ordering::Relaxed);
        let begin = clock::now().max(self.busy_until);
        if bits_per_second == 0 || begin - clock::now() > QUEUE {
            return bits_per_second == 0;
        }
        let bits = 8 * (length + HEADERS) as u64;
        self.busy_until = begin + Duration::from_nanos(bits * 1_000_000_000 / bits_per_second);
        true
    }

    fn hold_the_last(&mut self, overtaken_by: usize) {
        if self.held.is_none() {
            self.held = self.waiting.pop_back().map(|(_, datagram)| (overtaken_by, datagram));
        }
    }

    fn pop_due(&mut self, mut send: impl FnMut(&[u8])) {
        while self.waiting.front().is_some_and(|(due, _)| clock::now() >= *due) {
            let Some((_, datagram)) = self.waiting.pop_front() else { return };
            send(&datagram);
            if let Some((left, held)) = self.held.take() {
                match left - 1 {
                    0 => send(&held),
                    left => self.held = Some((left, held)),
                }
            }
        }
    }
}

fn to(server: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.connect(("127.0.0.1", server)).expect("it is a loopback address");
    socket.set_nonblocking(true).expect("a socket can do that");
    socket
}

/// Forwards TCP connections to a server.
pub fn relay_tcp(port: u16, server: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
            let pairs = [(&client, &server), (&server, &client)];
            for (from, to) in pairs.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                let (Ok(mut from), Ok(mut to)) = (from, to) else { return };
                thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
}
