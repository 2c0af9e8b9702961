//! What nobody should send, and what nobody should type: nothing of it harms a stream that runs,
//! costs memory or brings a panic, and every mistake gets an answer that names it.

mod harness;

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use harness::attack;
use harness::audio::Audio;
use harness::every;
use harness::program::{Ended, ours};
use harness::server::{Input, Server};
use harness::signal::{self, Random};
use harness::{packets, port};

const RATE: u32 = 48_000;

/// More than any allocator's mood, less than any leak that matters.
const GROWTH_KIB_MAX: usize = 48 * 1024;

/// Streams noise while `attack` is called again and again; every sample must be played all the
/// same, and the server's memory must not grow.
fn assert_stream_is_unharmed(options: &[&str], protocol: &str, mut attack: impl FnMut(u16) + Send) {
    let noise = signal::noise(110, 2.5, RATE, 2, 24).in_silence(0.05);
    let input = Input::wav(&noise, 24);
    let server = Server::start(&[&["--plain"], options].concat());
    let client = input.stream_to(&server.address(), &["--plain", "--codec=l24", "--protocol", protocol]);
    attack::assert_stream_is_unharmed(&noise, server, client, GROWTH_KIB_MAX, |port| {
        attack(port);
        // As fast as the stream itself, so that no socket's buffer overflows.
        thread::sleep(Duration::from_millis(2));
    });
}

fn udp_to(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.connect(("127.0.0.1", port)).expect("it is a loopback address");
    socket
}

fn tcp_to(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("the server listens")
}

/// Sends one datagram after the other, round and round.
fn sends_datagrams(datagrams: Vec<Vec<u8>>) -> impl FnMut(u16) {
    let mut next = datagrams.into_iter().cycle();
    let mut socket = None;
    move |port| {
        let socket = socket.get_or_insert_with(|| udp_to(port));
        let _ = socket.send(&next.next().expect("it goes round"));
    }
}

/// Opens one connection after the other, and writes to each what the server may not like.
fn opens_connections(streams: Vec<Vec<u8>>) -> impl FnMut(u16) {
    let mut next = streams.into_iter().cycle();
    move |port| {
        thread::sleep(Duration::from_millis(20)); // each of them costs more than a datagram
        let mut stream = tcp_to(port);
        let _ = stream.write_all(&next.next().expect("it goes round")); // it may be refused midway
    }
}

#[test]
fn random_bytes_over_udp_harm_nothing() {
    let mut random = Random::new(111);
    let datagrams = (0..500).map(|_| packets::random(&mut random)).collect();
    assert_stream_is_unharmed(&[], "udp", sends_datagrams(datagrams));
}

#[test]
fn truncated_packets_over_udp_harm_nothing() {
    assert_stream_is_unharmed(&[], "udp", sends_datagrams(packets::truncated()));
}

#[test]
fn headers_that_lie_harm_nothing() {
    assert_stream_is_unharmed(&[], "udp", sends_datagrams(packets::lying()));
}

#[test]
fn absurd_timestamps_and_payloads_harm_nothing() {
    assert_stream_is_unharmed(&[], "udp", sends_datagrams(packets::absurd()));
}

#[test]
fn random_bytes_over_tcp_harm_nothing() {
    let mut random = Random::new(112);
    let streams = (0..50).map(|_| random.bytes(5_000)).collect();
    assert_stream_is_unharmed(&[], "tcp", opens_connections(streams));
}

#[test]
fn bad_packets_over_tcp_harm_nothing() {
    let bad = [packets::truncated(), packets::lying(), packets::absurd()].concat();
    let stream = bad.iter().flat_map(|packet| packets::record(packet)).collect();
    assert_stream_is_unharmed(&[], "tcp", opens_connections(vec![stream]));
}

#[test]
fn records_of_no_and_of_the_greatest_length_harm_nothing() {
    let empty = [0; 1000].to_vec();
    let greatest = packets::record(&[0x5a; 65_535]);
    let unfinished = [0xff, 0xff, 0x80].to_vec();
    assert_stream_is_unharmed(&[], "tcp", opens_connections(vec![empty, greatest, unfinished]));
}

#[test]
fn peers_that_stall_in_the_middle_of_a_record_harm_nothing() {
    let record = packets::record(&packets::rtp(packets::L16_MONO, 1, 1, 1, &[0; 200]));
    let mut stalled = Vec::new();
    let stall = move |port| {
        if stalled.len() < 50 {
            let mut stream = tcp_to(port);
            let _ = stream.write_all(&record[..record.len() / 2]);
            stalled.push(stream);
        }
    };
    assert_stream_is_unharmed(&[], "udp", stall);
}

#[test]
fn more_clients_than_are_allowed_harm_nothing() {
    // Every one sends a stream that is as good as any: of silence.
    let mut sources = 0;
    let next_client = move |port| {
        sources += 1;
        let socket = udp_to(port);
        for sequence in 0..3 {
            let packet = packets::rtp(packets::L16_MONO, sequence, u32::from(sequence) * 220, sources, &[0; 440]);
            let _ = socket.send(&packet);
        }
    };
    assert_stream_is_unharmed(&["--max-clients=3"], "udp", next_client);
}

#[test]
fn a_port_for_raw_samples_is_not_harmed_by_odd_lengths() {
    let server = Server::start(&["--raw=s16le,48000,2"]);
    let socket = udp_to(server.port);
    for length in [0, 1, 3, 5, 1471] {
        socket.send(&vec![0; length]).expect("the server listens");
    }
    server.play_on(0.2);
    let noise = signal::noise(113, 1.0, RATE, 2, 16).in_silence(0.05);
    Input::wav(&noise, 16).stream_all_to(&server.address(), &["--raw=s16le,48000,2"]);
    server.play_out();
    every::find(&noise, &server.stop()).assert_whole();
}

// Files

#[test]
fn half_a_wav_is_played_as_far_as_it_goes() {
    let noise = signal::noise(114, 2.0, RATE, 2, 16);
    let whole = Audio::silence(0.05, RATE, 2).then(&noise);
    let input = Input::wav(&whole, 16);
    let bytes = std::fs::read(&input.path).expect("it is there");
    std::fs::write(&input.path, &bytes[..bytes.len() / 2 + 1]).expect("there is room");
    let played = harness::server::record(&input, &[], &["--codec=l16"]);
    every::find(&noise, &played).assert_whole_until(RATE as usize * 9 / 10);
}

/// Runs a client with this input against a server, which must not be needed.
fn client_with_input(path: &str) -> Ended {
    let server = Server::start(&[]);
    let ended = ours(["client", &server.address(), "--input", path]).start().wait();
    ended.assert_no_panic();
    server.stop();
    ended
}

#[test]
fn a_text_file_is_refused_as_audio() {
    let text = Input::new("text.wav", |path| {
        std::fs::write(path, "This is no sound.\n".repeat(100)).expect("there is room");
    });
    let ended = client_with_input(text.path.to_str().expect("it is plain"));
    ended.assert_code(6);
    ended.assert_says("text.wav");
}

#[test]
fn an_empty_file_is_refused_as_audio() {
    let empty = Input::new("empty.flac", |path| std::fs::write(path, "").expect("there is room"));
    let ended = client_with_input(empty.path.to_str().expect("it is plain"));
    ended.assert_code(6);
    ended.assert_says("empty.flac");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ended = client_with_input("/no/such/file.wav");
    ended.assert_code(6);
    ended.assert_says("/no/such/file.wav");
    ended.assert_says("no such file");
}

#[test]
fn text_on_stdin_is_refused_as_audio() {
    let server = Server::start(&[]);
    let client = ours(["client", &server.address(), "--input=-"]).fed(b"This is no sound.\n".repeat(1000));
    let ended = client.start().wait();
    ended.assert_no_panic();
    ended.assert_code(6);
    ended.assert_says("--input-format");
    server.stop();
}

#[test]
fn a_recording_that_cannot_be_written_is_named() {
    let listen = format!("127.0.0.1:{}", port::free());
    let ended = ours(["server", "--listen", &listen, "--output=/no/such/folder/out.wav"]).start().wait();
    ended.assert_no_panic();
    ended.assert_code(6);
    ended.assert_says("/no/such/folder/out.wav");
}

// Addresses

#[test]
fn a_port_in_use_is_named() {
    let port = port::free();
    let (_udp, _tcp);
    _udp = UdpSocket::bind(("127.0.0.1", port)).expect("it is free");
    _tcp = TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    for protocol in ["udp", "tcp", "both"] {
        let listen = format!("127.0.0.1:{port}");
        let arguments = ["server", "--listen", &listen, "--output=null", "--protocol", protocol];
        let ended = ours(arguments).start().wait();
        ended.assert_no_panic();
        ended.assert_code(4);
        ended.assert_says(&port.to_string());
        ended.assert_says("in use");
    }
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let ended = ours(["client", "no-such-host.invalid", "--input=tone:440", "--no-wait"]).start().wait();
    ended.assert_no_panic();
    ended.assert_code(4);
    ended.assert_says("no-such-host.invalid");
}

#[test]
fn an_address_that_is_not_ours_cannot_be_listened_on() {
    let ended = ours(["server", "--listen=192.0.2.1:5004", "--output=null"]).start().wait();
    ended.assert_no_panic();
    ended.assert_code(4);
    ended.assert_says("192.0.2.1");
}

// Options

/// The arguments must be refused before anything is opened, and what is wrong with them named.
#[track_caller]
fn assert_refused(arguments: &[&str], what: &str) {
    let ended = ours(arguments).start().wait();
    ended.assert_no_panic();
    ended.assert_code(2);
    ended.assert_says(what);
}

#[test]
fn bad_values_of_the_clients_options_are_refused() {
    let client =
        |option: &str, value: &str| assert_refused(&["client", "127.0.0.1", &format!("{option}={value}")], option);
    client("--protocol", "sctp");
    client("--codec", "mp3");
    client("--frame", "7ms");
    client("--frame", "fast");
    client("--bitrate", "loud");
    client("--bitrate", "1");
    client("--application", "karaoke");
    client("--rate", "0");
    client("--channels", "0");
    client("--channels", "300");
    client("--period", "0");
    client("--raw", "s17le,44100,1");
    client("--raw", "s16le,0,1");
    client("--raw", "s16le");
    client("--input-format", "u3le");
}

#[test]
fn bad_values_of_the_servers_options_are_refused() {
    let server = |option: &str, value: &str| assert_refused(&["server", &format!("{option}={value}")], option);
    server("--listen", "127.0.0.1:99999");
    server("--listen", "nonsense");
    server("--protocol", "smoke");
    server("--latency", "soon");
    server("--latency", "100days");
    server("--max-clients", "0");
    server("--max-clients", "-1");
    server("--output-format", "mp3:s16le");
    server("--output-format", "wav:s16le,1,2");
    server("--raw", "s16le,44100,99");
}

#[test]
fn a_bad_host_is_refused() {
    assert_refused(&["client", "127.0.0.1:99999", "--input=tone:440"], "99999");
    assert_refused(&["client", "", "--input=tone:440"], "HOST");
}

#[test]
fn an_unknown_command_is_refused() {
    assert_refused(&["serve"], "server");
}
