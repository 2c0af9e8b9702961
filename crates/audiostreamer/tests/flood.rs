//! A minute of everything that a hostile network can bring, beside a stream that must not suffer.

mod harness;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use audiostreamer::clock;
use harness::every;
use harness::program::other;
use harness::relay::Relay;
use harness::server::{Input, Server};
use harness::signal::{self, Random};
use harness::wait;
use rustix::process::{Resource, Rlimit, setrlimit};
use socket2::{Domain, Socket, Type};

const SECONDS: f64 = 60.0;
/// From two sockets; one thread can't send as many.
const DATAGRAMS_PER_SECOND: u32 = 100_000;
const CONNECTIONS: usize = 10_000;

/// All of which stay open at the same time, as far as they are let; then one after the other makes room
/// for a new one, so often a second.
const RENEWED_PER_SECOND: u32 = 200;

const GROWTH_KIB_MAX: usize = 16 * 1024;

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn a_flood_beside_a_stream_is_not_heard() {
    raise_limit_of_open_files();
    let noise = signal::noise(170, SECONDS, 48_000, 1, 16).in_silence(0.05);
    let input = Input::wav(&noise, 16);
    let server = Server::start(&[]);
    let first_words = first_words(&server);
    let client = input.stream_to(&server.address(), &["--codec=l16"]);
    server.wait_for_client(2);
    let (before, cpu) = (server.program.resident_kib(), server.program.cpu_seconds());
    let flood = Flood::default();
    let mut most = before;
    thread::scope(|scope| {
        scope.spawn(|| flood.send_garbage(server.port));
        scope.spawn(|| flood.send_garbage(server.port));
        scope.spawn(|| flood.repeat(&first_words, server.port));
        scope.spawn(|| flood.connect(server.port));
        scope.spawn(|| flood.probe(server.port));
        while server.program.lines_with("has ended").len() < 2 {
            most = most.max(server.program.resident_kib());
            thread::sleep(Duration::from_millis(100));
        }
        flood.over.store(true, Ordering::Relaxed);
    });
    client.wait().assert_code(0);
    server.play_out();
    flood.print();
    let used = server.program.cpu_seconds() - cpu;
    println!("server: {before} KiB before, {most} KiB at most, {:.0} % of a core", 100.0 * used / SECONDS);
    let (recording, ended) = server.stop_and_tell();
    println!("{}", ended.log.last().map_or("", String::as_str));
    every::find(&noise.on_channels(2), &recording).assert_whole();
    assert!(most <= before + GROWTH_KIB_MAX, "memory grew from {before} to {most} KiB");
    assert!(flood.replied.load(Ordering::Relaxed) <= flood.asked.load(Ordering::Relaxed), "it amplifies");
}

/// The datagrams of a client whose address has yet to be proved, as somebody on the way has recorded
/// them.
fn first_words(server: &Server) -> Vec<Vec<u8>> {
    let relay = Relay::start(server.port);
    let options = ["--codec=l16", "--protocol=udp"];
    let tone = Input::wav(&signal::sine(440.0, 1.0, 48_000, 1), 16);
    tone.stream_to(&format!("127.0.0.1:{}", relay.port), &options).wait().assert_code(0);
    wait::until("its end", || (!server.program.lines_with("has ended").is_empty()).then_some(()));
    let flights = relay.flights();
    relay.stop();
    flights.into_iter().find(|flight| flight.is_of_client).expect("it has said something").datagrams
}

#[derive(Default)]
struct Flood {
    over: AtomicBool,
    garbage: AtomicU64,
    connections: AtomicU64,
    /// At the same time, at the most.
    open: AtomicU64,
    /// Bytes to and from addresses that have proved nothing.
    asked: AtomicU64,
    replied: AtomicU64,
}

impl Flood {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    /// Random bytes of random length, a millisecond's worth at a time.
    fn send_garbage(&self, port: u16) {
        let socket = udp_to(port);
        let mut random = Random::new(171);
        let garbage: Vec<Vec<u8>> = (0..4096)
            .map(|_| {
                let length = random.below(1300);
                random.bytes(length)
            })
            .collect();
        let mut next = garbage.iter().cycle();
        let (start, mut sent) = (clock::now(), 0);
        while self.goes_on() {
            let due = ((clock::now() - start).as_secs_f64() * f64::from(DATAGRAMS_PER_SECOND / 2)) as u64;
            while sent < due {
                let _ = socket.send(next.next().expect("it goes round"));
                sent += 1;
                self.garbage.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Recorded first packets of a handshake, again and again; counts what comes back.
    fn repeat(&self, words: &[Vec<u8>], port: u16) {
        let socket = udp_to(port);
        let mut buffer = [0; 2048];
        for word in words.iter().cycle().take_while(|_| self.goes_on()) {
            let _ = socket.send(word);
            self.asked.fetch_add(word.len() as u64, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
            while let Ok(length) = socket.recv(&mut buffer) {
                self.replied.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
    }

    /// Connections that say nothing, from many addresses. Most of them the server never looks at.
    fn connect(&self, port: u16) {
        let mut open = VecDeque::new();
        for number in (0..).take_while(|_| self.goes_on()) {
            let from = Ipv4Addr::new(127, 0, 1 + (number / 200 % 200) as u8, 1 + (number % 200) as u8);
            match connect_from(from, port) {
                Ok(stream) => open.push_back(stream),
                Err(error) => panic!("after {number} connections: {error}"),
            }
            self.connections.fetch_add(1, Ordering::Relaxed);
            self.open.fetch_max(open.len() as u64, Ordering::Relaxed);
            if open.len() > CONNECTIONS {
                open.pop_front();
                thread::sleep(Duration::from_secs(1) / RENEWED_PER_SECOND);
            }
        }
    }

    /// What looks for services, and a client that is slow on purpose.
    fn probe(&self, port: u16) {
        let address = format!("127.0.0.1:{port}");
        let mut slow = None;
        while self.goes_on() {
            other("openssl", ["s_client", "-connect", &address])
                .fed(b"GET / HTTP/1.0\r\n\r\n".to_vec())
                .unheard()
                .start()
                .wait();
            other("curl", ["-sk", "--max-time", "2", &format!("https://{address}/")]).unheard().start().wait();
            other("curl", ["-s", "--max-time", "2", &format!("http://{address}/")]).unheard().start().wait();
            let stream: &mut TcpStream = slow.get_or_insert_with(|| TcpStream::connect(&address).expect("it listens"));
            if stream.write_all(b"\x16").is_err() {
                slow = None;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn print(&self) {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let per_second = number(&self.garbage) as f64 / SECONDS;
        let (connections, open) = (number(&self.connections), number(&self.open));
        println!("{per_second:.0} datagrams of garbage a second, {connections} connections, {open} open at once");
        let (asked, replied) = (number(&self.asked), number(&self.replied));
        println!("{replied} bytes in reply to {asked} of repeated first packets: {:.2}", replied as f64 / asked as f64);
    }
}

fn udp_to(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.connect(("127.0.0.1", port)).expect("it is a loopback address");
    socket.set_nonblocking(true).expect("it can be");
    socket
}

/// Does not wait for an answer.
fn connect_from(from: Ipv4Addr, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    match socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

/// Two thirds of them would not be possible else.
fn raise_limit_of_open_files() {
    let limits = Rlimit { current: Some(2 * CONNECTIONS as u64), maximum: Some(2 * CONNECTIONS as u64) };
    setrlimit(Resource::Nofile, limits).expect("root may");
}
