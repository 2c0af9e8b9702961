//! Somebody in the middle: sees, holds up, repeats and changes what passes.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

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
}

impl Relay {
    pub fn start(server: u16) -> Self {
        Self::start_at(port::free(), server)
    }

    pub fn start_at(port: u16, server: u16) -> Self {
        let front = UdpSocket::bind(("127.0.0.1", port)).expect("it is free");
        front.set_read_timeout(Some(TURN)).expect("it is no zero");
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

    /// Ends it; what the client has sent.
    pub fn stop(self) -> Vec<Vec<u8>> {
        self.state.over.store(true, Ordering::Relaxed);
        self.running.join().expect("it does not panic")
    }
}

/// Each direction is looked at so often.
const TURN: Duration = Duration::from_millis(1);

fn forward(front: &UdpSocket, server: u16, state: &State) -> Vec<Vec<u8>> {
    let (mut seen, mut client, mut buffer) = (Vec::<Vec<u8>>::new(), None, [0; 2048]);
    let mut back = to(server);
    while !state.over.load(Ordering::Relaxed) {
        let passes = !state.blocked.load(Ordering::Relaxed);
        if state.rebinds.swap(false, Ordering::Relaxed) {
            back = to(server);
        }
        if let Ok((length, from)) = front.recv_from(&mut buffer) {
            client = Some(from);
            let datagram = &mut buffer[..length];
            seen.push(datagram.to_vec());
            let _ = passes.then(|| back.send(datagram));
            if state.hostile.load(Ordering::Relaxed) {
                datagram[length * 2 / 3] ^= 0x10;
                let _ = back.send(datagram);
                let _ = seen.len().checked_sub(20).map(|old| back.send(&seen[old]));
            }
        }
        if let (Ok(length), Some(client)) = (back.recv(&mut buffer), client) {
            let _ = passes.then(|| front.send_to(&buffer[..length], client));
        }
    }
    seen
}

fn to(server: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.connect(("127.0.0.1", server)).expect("it is a loopback address");
    socket.set_read_timeout(Some(TURN)).expect("it is no zero");
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
