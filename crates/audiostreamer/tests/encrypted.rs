//! What passes between those who know each other is encrypted and whole, over UDP or TCP, whichever
//! works; and nobody who is not let in harms them.

mod harness;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use harness::attack;
use harness::compare::compare;
use harness::every;
use harness::machine::Machine;
use harness::program::{Ended, installed, other};
use harness::relay::{Relay, relay_tcp};
use harness::server::{Input, Server};
use harness::signal::{self, Random};
use harness::{packets, port, wait};

const RATE: u32 = 48_000;

// What passes

#[test]
fn every_sample_arrives_from_another_machine() {
    for protocol in ["udp", "tcp"] {
        for codec in ["l16", "l24"] {
            let noise = signal::noise(130, 2.0, RATE, 2, 16).in_silence(0.05);
            let input = Input::wav(&noise, 16);
            let (studio, guest) = (Machine::new(), Machine::new());
            let server = studio.server(&[]);
            let invite = studio.invite(server.port, &[]);
            let path = format!("--input={}", input.path.display());
            let arguments = ["client", &invite, &path, "--codec", codec, "--protocol", protocol];
            guest.ours(&arguments).start().wait().assert_code(0);
            server.finish_client(1);
            every::find(&noise, &server.stop()).assert_whole();
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
        studio.ours(&arguments).start().wait().assert_code(0);
        server.finish_client(1);
        every::find(&noise, &server.stop()).assert_whole();
    }
    // More than fits is not coded.
    let server = studio.server(&[]);
    studio.ours(&["client", &server.address(), &path, "--bitrate=1M", "--frame=20ms"]).start().wait().assert_code(0);
    server.finish_client(1);
    let heard = compare(&noise, &server.stop());
    assert!(heard.correlation > 0.7 && heard.gaps.is_empty(), "{heard:?}");
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
        let found = seen.iter().filter(|datagram| is_smooth(datagram)).count();
        assert_eq!(found > 20, is_heard, "{found} of {} datagrams", seen.len());
    }
}

/// Whether a datagram's samples move as those of a sine of 440 Hz do: little from one to the next.
fn is_smooth(datagram: &[u8]) -> bool {
    let Some(samples) = datagram.get(12..).filter(|bytes| bytes.len() > 400) else { return false };
    let left: Vec<i32> = samples.as_chunks::<4>().0.iter().map(|c| i16::from_be_bytes([c[0], c[1]]).into()).collect();
    left.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 2_500)
}

/// Streams noise through a relay that does something to it in the middle of it; every sample must be
/// played.
fn assert_unheard(disturb: impl FnOnce(&Relay)) {
    let studio = Machine::new();
    let noise = signal::noise(137, 3.0, RATE, 2, 16).in_silence(0.05);
    let input = Input::wav(&noise, 16);
    let server = studio.server(&[]);
    let relay = Relay::start(server.port);
    let path = format!("--input={}", input.path.display());
    let address = format!("127.0.0.1:{}", relay.port);
    let client = studio.ours(&["client", &address, &path, "--codec=l16", "--protocol=udp"]).start();
    server.wait_for_client(1);
    server.play_on(0.7);
    disturb(&relay);
    client.wait().assert_code(0);
    server.finish_client(1);
    assert_eq!(server.program.lines_with(", over ").len(), 1, "it did not stay one stream");
    every::find(&noise, &server.stop()).assert_whole();
    relay.stop();
}

#[test]
fn a_client_whose_address_changes_is_heard_on_without_a_gap() {
    assert_unheard(Relay::rebind);
}

#[test]
fn packets_that_are_changed_or_replayed_are_not_heard() {
    assert_unheard(Relay::be_hostile);
}

#[test]
fn packets_that_are_late_and_out_of_order_are_all_heard() {
    assert_unheard(|relay| {
        relay.delay(Duration::from_millis(60));
        relay.reorder(60);
    });
}

#[test]
fn sound_follows_the_handshake_at_once() {
    // The client's first word, the server's question for its address; the same with the answer, the
    // handshake; and then the rest of it and sound, without waiting whether it is let in.
    let studio = Machine::new();
    let server = studio.server(&[]);
    let relay = Relay::start(server.port);
    relay.delay(Duration::from_millis(100)); // longer than it takes a busy machine to begin
    let address = format!("127.0.0.1:{}", relay.port);
    let client = studio.client(&address, &["--codec=l16", "--protocol=udp"]);
    server.wait_for_client(1);
    client.interrupt().assert_code(0);
    let flights = relay.flights();
    let is_sound = |datagram: &Vec<u8>| datagram[0] & 0x80 == 0 && datagram.len() > 500;
    let first = flights.iter().position(|flight| flight.is_of_client && flight.datagrams.iter().any(is_sound));
    assert_eq!(first, Some(4), "{:?}", flights.iter().map(|flight| flight.datagrams.len()).collect::<Vec<_>>());
    relay.stop();
}

#[test]
fn packets_that_are_lost_are_sent_once_more_in_time() {
    assert_unheard(Relay::lose);
}

// UDP or TCP

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
    let client = studio.ours(&arguments).start();
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
    println!("gaps while the path changed: {:?}, jumps: {:?}", heard.gaps, heard.jumps);
    // UDP's death is noticed after half a second; its return leaves no hole. On a busy machine the
    // playout may splice, as the delay of both paths differs.
    for gap in &heard.gaps {
        assert!(gap.millis < if gap.at < 3.0 { 1_500.0 } else { 100.0 }, "{heard:?}");
    }
    assert!(heard.seconds() > 13.0, "{heard:?}");
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
fn assert_stream_is_unharmed(protocol: &str, attack: impl FnMut(u16) + Send) -> Ended {
    const GROWTH_KIB_MAX: usize = 16 * 1024;
    let noise = signal::noise(133, 2.5, RATE, 2, 24).in_silence(0.05);
    let input = Input::wav(&noise, 24);
    let server = Server::start(&[]);
    let client = input.stream_to(&server.address(), &["--codec=l24", "--protocol", protocol]);
    attack::assert_stream_is_unharmed(&noise, server, client, GROWTH_KIB_MAX, attack)
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
