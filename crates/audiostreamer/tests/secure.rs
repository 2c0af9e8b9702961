//! Who is let in, who is not, and what each is told; that what passes is encrypted and whole; and
//! that nobody who is not let in harms those who are.

mod harness;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::audio::Audio;
use harness::compare::compare;
use harness::exact;
use harness::program::{Ended, Program, installed, other, ours};
use harness::server::{Input, Server};
use harness::signal::{self, Random};
use harness::{packets, port, wait};
use tempfile::TempDir;

const RATE: u32 = 48_000;

/// A machine of its own: it has its own key, and knows nobody.
struct Machine {
    home: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("there is room") }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join("audiostreamer").join(name)
    }

    fn server(&self, options: &[&str]) -> Server {
        self.server_at(port::free(), options)
    }

    fn server_at(&self, port: u16, options: &[&str]) -> Server {
        Server::start_at_home(Some(self.home.path()), port, options)
    }

    /// Starts a client that plays a tone until it is ended.
    fn client(&self, to: &str, options: &[&str]) -> Program {
        ours(["client", to, "--input=tone:440"].iter().chain(options)).at_home(self.home.path()).start()
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str]) -> Ended {
        ours(arguments).at_home(self.home.path()).keeping_stdout().start().wait()
    }

    /// Makes an invite to a server at that port.
    fn invite(&self, port: u16, options: &[&str]) -> String {
        let host = format!("127.0.0.1:{port}");
        let ended = self.run(&[&["invite", "--host", &host], options].concat());
        ended.assert_code(0);
        String::from_utf8(ended.stdout).expect("it is text").trim().to_owned()
    }

    fn fingerprint(&self) -> String {
        let ended = self.run(&["identity"]);
        ended.assert_code(0);
        String::from_utf8(ended.stdout).expect("it is text").trim().to_owned()
    }
}

/// It must end by itself with the exit code for authentication, and say this.
#[track_caller]
fn assert_not_let_in(client: Program, needles: &[&str]) {
    let ended = client.wait();
    ended.assert_no_panic();
    ended.assert_code(5);
    needles.iter().for_each(|needle| ended.assert_says(needle));
}

const TRANSPORTS: [(&str, &str); 2] = [("udp", "over udp, encrypted"), ("tcp", "over tcp, encrypted")];

// Identity

#[test]
fn a_machine_has_one_key_and_nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let shown = machine.fingerprint();
    assert_eq!(shown, machine.fingerprint());
    assert_ne!(shown, Machine::new().fingerprint());
    let json: serde_json::Value = serde_json::from_slice(&machine.run(&["identity", "--json"]).stdout).expect("JSON");
    assert_eq!(json["fingerprint"], shown.as_str());
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&machine.home.path().join("audiostreamer")), 0o700);
    assert_eq!(mode(&machine.file("identity.pem")), 0o600);
}

#[test]
fn a_damaged_key_is_named_and_kept() {
    let machine = Machine::new();
    machine.fingerprint();
    let path = machine.file("identity.pem");
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nMIGH").expect("it can be written");
    for arguments in [&["identity"][..], &["server", "--output=null"], &["client", "127.0.0.1"]] {
        let ended = machine.run(arguments);
        ended.assert_code(6);
        ended.assert_says("identity.pem: it holds no private key");
    }
    assert_eq!(std::fs::read(&path).expect("it is there").len(), 32);
}

// Who is let in

#[test]
fn an_invite_lets_a_machine_in_and_from_then_on_its_key_does() {
    for (protocol, over) in TRANSPORTS {
        let (studio, guest) = (Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let invite = studio.invite(server.port, &["--name=band"]);
        let options = ["--protocol", protocol];
        let client = guest.client(&invite, &options);
        client.wait_for_line(over);
        server.program.wait_for_line("came with the invite band");
        server.program.wait_for_line(over);
        client.interrupt().assert_code(0);
        let client = guest.client(&server.address(), &options);
        server.wait_for_client(2);
        client.interrupt().assert_code(0);
        let list = String::from_utf8(studio.run(&["invite", "--list"]).stdout).expect("it is text");
        assert!(list.contains(&format!("band             client, key {}", guest.fingerprint())), "{list}");
    }
}

#[test]
fn a_stranger_is_told_why_and_what_to_do() {
    for (protocol, _) in TRANSPORTS {
        let (studio, stranger) = (Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let client = stranger.client(&server.address(), &["--protocol", protocol]);
        let key = stranger.fingerprint();
        assert_not_let_in(client, &["key is not on the server's list", "audiostreamer invite", &key]);
        server.program.wait_for_line("is not on the list and has no invite");
        let refused = server.program.interrupt();
        refused.assert_says("1 connections refused");
    }
}

#[test]
fn an_open_server_lets_everybody_in() {
    for (protocol, over) in TRANSPORTS {
        let (studio, stranger) = (Machine::new(), Machine::new());
        let server = studio.server(&["--open"]);
        let client = stranger.client(&server.address(), &["--protocol", protocol]);
        server.program.wait_for_line(over);
        client.interrupt().assert_code(0);
    }
}

#[test]
fn a_wrong_token_is_refused() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&[]);
    let invite = studio.invite(server.port, &[]);
    let (start, token) = invite.split_at(invite.len() - 26);
    let wrong: String = token.chars().map(|c| if c == 'A' { 'B' } else { 'A' }).collect();
    for (protocol, _) in TRANSPORTS {
        let client = guest.client(&format!("{start}{wrong}"), &["--protocol", protocol]);
        assert_not_let_in(client, &["the server knows no such invite"]);
    }
}

#[test]
fn an_expired_invite_is_refused() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&[]);
    let invite = studio.invite(server.port, &["--expires=0s"]);
    for (protocol, _) in TRANSPORTS {
        let client = guest.client(&invite, &["--protocol", protocol]);
        assert_not_let_in(client, &["the invite has expired", "ask for an invite"]);
    }
}

#[test]
fn a_revoked_invite_is_refused_and_who_came_with_it_is_shut_out() {
    for (protocol, _) in TRANSPORTS {
        let (studio, guest, thief) = (Machine::new(), Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let invite = studio.invite(server.port, &["--name=band"]);
        let options = ["--protocol", protocol];
        let playing = guest.client(&invite, &options);
        server.wait_for_client(1);
        studio.run(&["invite", "--revoke=band"]).assert_says("1 invite revoked, 1 client shut out");
        assert_not_let_in(playing, &["has been taken off the server's list"]);
        server.program.wait_for_line("has been shut out");
        assert_not_let_in(thief.client(&invite, &options), &["the invite has been revoked"]);
        assert_not_let_in(guest.client(&server.address(), &options), &["not on the server's list"]);
    }
}

#[test]
fn logs_carry_no_tokens() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&["-vv"]);
    let invite = studio.invite(server.port, &[]);
    let client = guest.client(&invite, &["-vv"]);
    server.wait_for_client(1);
    let logs = [client.interrupt().log, server.program.interrupt().log].concat();
    let token = &invite[invite.len() - 26..];
    assert!(logs.len() > 10 && !logs.iter().any(|line| line.contains(token)));
}

// Who is trusted

#[test]
fn the_servers_key_is_kept_at_the_first_meeting_and_a_changed_one_is_a_hard_stop() {
    for (protocol, _) in TRANSPORTS {
        let (studio, other, guest) = (Machine::new(), Machine::new(), Machine::new());
        let server = studio.server(&["--open"]);
        let (port, address) = (server.port, server.address());
        let options = ["--protocol", protocol];
        let client = guest.client(&address, &options);
        client.wait_for_line(&format!("is new here: its key {}", studio.fingerprint()));
        server.wait_for_client(1);
        client.interrupt().assert_code(0);
        server.stop();
        // The same server is known ...
        let server = studio.server_at(port, &["--open"]);
        let client = guest.client(&address, &options);
        server.wait_for_client(1);
        assert!(client.interrupt().log.iter().all(|line| !line.contains("is new here")));
        server.stop();
        // ... and another one is not.
        let server = other.server_at(port, &["--open"]);
        let (was, is) = (studio.fingerprint(), other.fingerprint());
        let file = guest.file("known_hosts");
        let file = file.to_str().expect("it is plain");
        let changed = format!("the key of {address} has changed: it was {was}, now it is {is}");
        assert_not_let_in(guest.client(&address, &options), &[&changed, file]);
        // An invite of the new one is the way out.
        let client = guest.client(&other.invite(port, &[]), &options);
        server.wait_for_client(1);
        client.interrupt().assert_code(0);
        let client = guest.client(&address, &options);
        server.wait_for_client(2);
        client.interrupt().assert_code(0);
    }
}

#[test]
fn an_invite_of_another_server_is_not_followed() {
    for (protocol, _) in TRANSPORTS {
        let (studio, impostor, guest) = (Machine::new(), Machine::new(), Machine::new());
        let server = impostor.server(&["--open"]);
        let invite = studio.invite(server.port, &[]);
        let client = guest.client(&invite, &["--protocol", protocol]);
        assert_not_let_in(client, &["is not the server that has made this invite", &impostor.fingerprint()]);
        assert!(!guest.file("known_hosts").exists(), "nothing is learnt from an impostor");
    }
}

#[test]
fn a_damaged_list_of_known_servers_is_named_and_kept() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&["--open"]);
    guest.fingerprint();
    let text = format!("{} ABCDEF\n", server.address());
    std::fs::write(guest.file("known_hosts"), &text).expect("it can be written");
    let ended = guest.client(&server.address(), &[]).wait();
    ended.assert_code(6);
    ended.assert_says("known_hosts line 1");
    assert_eq!(std::fs::read_to_string(guest.file("known_hosts")).expect("it is there"), text);
}

#[test]
fn a_damaged_list_of_clients_stops_a_server_from_starting() {
    let studio = Machine::new();
    studio.fingerprint();
    std::fs::write(studio.file("access"), "client band\n").expect("it can be written");
    let ended = studio.run(&["server", "--output=null"]);
    ended.assert_code(6);
    ended.assert_says("access line 1");
}

#[test]
fn half_an_invite_is_a_mistake_of_the_command_line() {
    let ended = Machine::new().run(&["client", "audiostreamer://studio:5004/?key=ABC"]);
    ended.assert_code(2);
    ended.assert_says("fingerprint");
}

// Plain and encrypted ends that meet

#[test]
fn a_plain_client_at_an_encrypted_server_is_told_so() {
    let studio = Machine::new();
    let server = studio.server(&["--open"]);
    for (protocol, _) in TRANSPORTS {
        let client = studio.client(&server.address(), &["--plain", "--protocol", protocol]);
        assert_not_let_in(client, &["accepts encrypted sound only", "--plain"]);
    }
    let silence = server.stop();
    assert!(silence.samples.iter().all(|&sample| sample == 0.0), "it was heard");
}

#[test]
fn an_encrypted_client_at_a_plain_server_is_told_so() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&["--plain"]);
    server.program.wait_for_line("not encrypted");
    for protocol in ["udp", "tcp", "auto"] {
        let client = guest.client(&server.address(), &["--protocol", protocol]);
        assert_not_let_in(client, &["does not encrypt: it was started with --plain"]);
    }
}

#[test]
fn invites_and_open_doors_make_no_sense_in_the_clear() {
    let studio = Machine::new();
    let invite = studio.invite(5004, &[]);
    for arguments in [
        &["client", &invite, "--plain"][..],
        &["server", "--open", "--plain"],
        &["server", "--open", "--raw=s16le,48000,2"],
    ] {
        studio.run(arguments).assert_code(2);
    }
}

// What passes

#[test]
fn every_sample_arrives_from_another_machine() {
    for (protocol, _) in TRANSPORTS {
        for codec in ["l16", "l24"] {
            let noise = signal::noise(130, 2.0, RATE, 2, 16).in_silence(0.05);
            let input = Input::wav(&noise, 16);
            let (studio, guest) = (Machine::new(), Machine::new());
            let server = studio.server(&[]);
            let invite = studio.invite(server.port, &[]);
            let path = format!("--input={}", input.path.display());
            let arguments = ["client", &invite, &path, "--codec", codec, "--protocol", protocol];
            ours(arguments).at_home(guest.home.path()).start().wait().assert_code(0);
            server.finish_client(1);
            exact::find(&noise, &server.stop()).assert_whole();
        }
    }
}

#[test]
fn frames_of_every_length_pass() {
    let studio = Machine::new();
    let noise = signal::noise(131, 1.0, RATE, 2, 24).in_silence(0.05);
    let input = Input::wav(&noise, 24);
    let path = format!("--input={}", input.path.display());
    for frame in ["1ms", "2.5ms", "7ms", "20ms"] {
        let server = studio.server(&[]);
        let frame = format!("--frame={frame}");
        let arguments = ["client", &server.address(), &path, "--codec=l24", &frame];
        ours(arguments).at_home(studio.home.path()).start().wait().assert_code(0);
        server.finish_client(1);
        exact::find(&noise, &server.stop()).assert_whole();
    }
    let ended = studio.run(&["client", "127.0.0.1", "--input=tone:440", "--bitrate=510k", "--frame=20ms"]);
    ended.assert_code(2);
    ended.assert_says("use a shorter --frame");
}

#[test]
fn what_is_on_the_wire_is_not_the_sound() {
    // A relay in the middle sees what somebody on the way sees.
    let studio = Machine::new();
    for (options, is_heard) in [(&["--plain"][..], true), (&[], false)] {
        let server = studio.server(options);
        let relay = Relay::start(server.port);
        let address = format!("127.0.0.1:{}", relay.port);
        let client = studio.client(&address, &[options, &["--codec=l16", "--protocol=udp"]].concat());
        server.wait_for_client(1);
        server.play_on(0.5);
        client.interrupt().assert_code(0);
        let seen = relay.stop();
        let sine = signal::sine(440.0, 0.02, RATE, 1);
        let found = seen.iter().filter(|datagram| resembles(&sine, datagram)).count();
        assert_eq!(found > 20, is_heard, "{found} of {} datagrams", seen.len());
    }
}

/// Whether a datagram's samples move as a sine of 440 Hz does: little from one to the next.
fn resembles(_sine: &Audio, datagram: &[u8]) -> bool {
    let Some(samples) = datagram.get(12..).filter(|bytes| bytes.len() > 400) else { return false };
    let left: Vec<i32> = samples.as_chunks::<4>().0.iter().map(|c| i16::from_be_bytes([c[0], c[1]]).into()).collect();
    left.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 2_500)
}

/// Forwards datagrams between one client and a server, and keeps those of the client. Drops all
/// while it is blocked.
struct Relay {
    port: u16,
    shared: std::sync::Arc<RelayState>,
    running: thread::JoinHandle<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct RelayState {
    over: AtomicBool,
    blocked: AtomicBool,
}

impl Relay {
    fn start(server: u16) -> Self {
        Self::start_at(port::free(), server)
    }

    fn start_at(port: u16, server: u16) -> Self {
        let front = UdpSocket::bind(("127.0.0.1", port)).expect("it is free");
        let back = udp_to(server);
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(1))).expect("it is no zero");
        }
        let shared = std::sync::Arc::new(RelayState::default());
        let state = shared.clone();
        let running = thread::spawn(move || {
            let (mut seen, mut client, mut buffer) = (Vec::new(), None, [0; 2048]);
            while !state.over.load(Ordering::Relaxed) {
                let passes = !state.blocked.load(Ordering::Relaxed);
                if let Ok((length, from)) = front.recv_from(&mut buffer) {
                    client = Some(from);
                    seen.push(buffer[..length].to_vec());
                    let _ = passes.then(|| back.send(&buffer[..length]));
                }
                if let (Ok(length), Some(client)) = (back.recv(&mut buffer), client) {
                    let _ = passes.then(|| front.send_to(&buffer[..length], client));
                }
            }
            seen
        });
        Self { port, shared, running }
    }

    fn block(&self, blocked: bool) {
        self.shared.blocked.store(blocked, Ordering::Relaxed);
    }

    fn stop(self) -> Vec<Vec<u8>> {
        self.shared.over.store(true, Ordering::Relaxed);
        self.running.join().expect("it does not panic")
    }
}

// UDP or TCP

/// Forwards TCP connections to a server.
fn relay_tcp(port: u16, server: u16) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free");
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

#[test]
fn udp_is_used_where_it_gets_through() {
    let studio = Machine::new();
    let server = studio.server(&[]);
    let client = studio.client(&server.address(), &[]);
    client.wait_for_line("over udp, encrypted");
    client.interrupt().assert_code(0);
}

#[test]
fn tcp_is_used_where_udp_does_not_get_through() {
    let studio = Machine::new();
    let server = studio.server(&["--protocol=tcp"]);
    let client = studio.client(&server.address(), &[]);
    client.wait_for_line("over tcp, encrypted");
    server.wait_for_client(1);
    client.interrupt().assert_code(0);
}

#[test]
fn a_stream_changes_to_tcp_when_udp_dies_and_back_when_it_returns() {
    let studio = Machine::new();
    let noise = signal::noise(132, 14.0, RATE, 2, 16);
    let input = Input::wav(&noise, 16);
    let server = studio.server(&[]);
    let port = port::free();
    let relay = Relay::start_at(port, server.port);
    relay_tcp(port, server.port);
    let path = format!("--input={}", input.path.display());
    let arguments = ["client", &format!("127.0.0.1:{port}"), &path, "--codec=l16"];
    let client = ours(arguments).at_home(studio.home.path()).start();
    client.wait_for_line("over udp");
    server.play_on(1.5);
    relay.block(true);
    client.wait_for_line("over tcp");
    server.play_on(1.0);
    relay.block(false);
    client.wait_for_lines("over udp", 2);
    client.wait().assert_code(0);
    server.finish_client(1);
    assert_eq!(server.program.lines_with(", over ").len(), 1, "the server has seen one stream");
    let heard = compare(&noise, &server.stop());
    let longest = heard.gaps.iter().map(|gap| gap.millis).fold(0.0, f64::max);
    println!("gaps while the path changed: {:?}", heard.gaps);
    assert!(heard.gaps.len() <= 3 && longest < 1_500.0, "{heard:?}");
    assert!(heard.jumps.is_empty(), "{heard:?}");
    relay.stop();
}

// Those who knock and are not let in

fn udp_to(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.connect(("127.0.0.1", port)).expect("it is a loopback address");
    socket
}

/// Streams noise while `attack` is called again and again; every sample must be played all the
/// same, and the server's memory must not grow.
fn assert_stream_is_unharmed(protocol: &str, mut attack: impl FnMut(u16) + Send) -> Ended {
    const GROWTH_KIB_MAX: usize = 16 * 1024;
    let noise = signal::noise(133, 2.5, RATE, 2, 24).in_silence(0.05);
    let input = Input::wav(&noise, 24);
    let server = Server::start(&[]);
    let client = input.stream_to(&server.address(), &["--codec=l24", "--protocol", protocol]);
    server.program.wait_for_line(": l24,");
    let before = server.program.resident_kib();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                attack(server.port);
            }
        });
        let ended = client.wait();
        over.store(true, Ordering::Relaxed);
        ended.assert_code(0);
    });
    server.play_out();
    let after = server.program.resident_kib();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
    let (recording, ended) = server.stop_and_tell();
    exact::find(&noise, &recording).assert_whole();
    ended
}

#[test]
fn datagrams_that_are_no_quic_harm_nothing() {
    let mut random = Random::new(134);
    let mut bad = [packets::truncated(), packets::lying(), packets::absurd()].concat();
    bad.extend((0..300).map(|_| packets::random(&mut random)));
    let (mut next, mut socket) = (bad.into_iter().cycle(), None);
    let ended = assert_stream_is_unharmed("udp", move |port| {
        let _ = socket.get_or_insert_with(|| udp_to(port)).send(&next.next().expect("it goes round"));
        thread::sleep(Duration::from_millis(2));
    });
    ended.assert_says(" refused");
}

#[test]
fn datagrams_that_look_like_quic_harm_nothing() {
    let mut random = Random::new(135);
    let mut socket = None;
    assert_stream_is_unharmed("udp", move |port| {
        // Long headers of version 1 with a length that Initial packets have, and short headers.
        let mut datagram = random.bytes(1200);
        let is_long = random.below(2) == 0;
        datagram[0] = if is_long { 0xc0 | (datagram[0] & 0x3f) } else { 0x40 | (datagram[0] & 0x3f) };
        datagram[1..6].copy_from_slice(&[0, 0, 0, 1, 8]);
        datagram[14] = 8;
        let _ = socket.get_or_insert_with(|| udp_to(port)).send(&datagram);
        thread::sleep(Duration::from_millis(2));
    });
}

#[test]
fn connections_that_speak_anything_else_harm_nothing() {
    let mut random = Random::new(136);
    let hello = [&[0x16, 3, 1, 2, 0][..], &random.bytes(507)].concat();
    let streams = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16".to_vec(),
        hello,
        [&[0x16, 3, 3, 0x40, 0][..], &[0; 16_384]].concat(),
        packets::record(&packets::rtp(packets::L16_MONO, 1, 1, 1, &[0; 200])),
        random.bytes(60_000),
        Vec::new(),
    ];
    let mut next = streams.into_iter().cycle();
    let mut open = Vec::new();
    let ended = assert_stream_is_unharmed("tcp", move |port| {
        thread::sleep(Duration::from_millis(10));
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let _ = stream.write_all(&next.next().expect("it goes round"));
            open.push(stream); // and stays, as a slow loris does
        }
    });
    ended.assert_says(" connections refused");
}

#[test]
fn somebody_who_says_nothing_is_shut_out_in_time_and_keeps_nobody_out() {
    let studio = Machine::new();
    let server = studio.server(&["--handshake-time=300ms", "--max-handshakes-per-address=3"]);
    let mut silent: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(("127.0.0.1", server.port)).expect("it listens")).collect();
    for stream in &mut silent {
        stream.set_read_timeout(Some(wait::DEADLINE)).expect("it is no zero");
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)), "it was not closed");
    }
    let client = studio.client(&server.address(), &["--protocol=tcp"]);
    server.wait_for_client(1);
    client.interrupt().assert_code(0);
    server.program.interrupt().assert_says("3 connections refused");
}

#[test]
fn a_tls_client_without_a_key_is_not_let_in() {
    if !installed(&["openssl"]) {
        return;
    }
    let studio = Machine::new();
    let server = studio.server(&["--open"]);
    let target = server.address();
    for more in [&[][..], &["-alpn", "audiostreamer/1"], &["-tls1_2"]] {
        let arguments = ["s_client", "-connect", &target];
        other("openssl", arguments.iter().chain(more)).fed(b"GET / HTTP/1.0\r\n\r\n".to_vec()).start().wait();
    }
    let ended = server.program.interrupt();
    ended.assert_no_panic();
    ended.assert_says("3 connections refused");
}
