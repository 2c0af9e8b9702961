//! The wire of the original Python pair, bytes without a header: with an unmodified pair of that
//! kind on either end, and with `nc` and `ffmpeg`.

mod harness;

use harness::audio::Audio;
use harness::compare::compare;
use harness::program::{Program, installed, other};
use harness::pulse::{self, Pulse};
use harness::python::{self, RATE, RAW};
use harness::server::{Input, Server};
use harness::{every, exact};
use harness::{port, signal, wait};

/// Around what is compared bit by bit, see [`Audio::in_silence`].
const MARGIN: f64 = 0.05;

/// What one second takes.
const BYTES_PER_SECOND: u32 = RATE * 2;

fn noise(seed: u64) -> Audio {
    signal::noise(seed, 2.0, RATE, 1, 16).in_silence(MARGIN)
}

/// Runs a sender to its end against our server; every sample must be played.
fn assert_server_plays(sound: &Audio, sender: impl FnOnce(u16) -> Program) {
    let server = Server::start(&[RAW, "--output-format=wav:s16le,44100,1"]);
    let ended = sender(server.port).wait();
    ended.assert_code(0);
    server.play_out(); // over UDP nothing says that it is over
    every::find(sound, &server.stop()).assert_whole();
}

/// Streams from our client to what listens at the port; `received` gives the bytes so far.
fn assert_client_is_heard(sound: &Audio, port: u16, protocol: &str, received: impl Fn() -> Vec<u8>) {
    let input = Input::wav(sound, 16);
    let ended = input.stream_all_to(&format!("127.0.0.1:{port}"), &[RAW, "--protocol", protocol]);
    ended.assert_says("sent ");
    let needed = ((sound.seconds() - MARGIN) * f64::from(BYTES_PER_SECOND)) as usize;
    let bytes = wait::until("all bytes", || Some(received()).filter(|bytes| bytes.len() > needed));
    exact::find(sound, &Audio::from_s16le(&bytes, RATE, 1)).assert_whole();
}

fn assert_python_client_is_played(protocol: &str, seed: u64) {
    if !python::installed() {
        return;
    }
    let noise = noise(seed);
    let input = Input::wav(&noise, 16);
    let path = input.path.to_str().expect("it is plain");
    assert_server_plays(&noise, |port| python::client(port, protocol, &["--wav", path]).start());
}

#[test]
fn a_python_client_is_played_over_udp() {
    assert_python_client_is_played("udp", 80);
}

#[test]
fn a_python_client_is_played_over_tcp() {
    assert_python_client_is_played("tcp", 81);
}

fn assert_python_server_plays(protocol: &str, seed: u64) {
    if !python::installed() {
        return;
    }
    let noise = noise(seed);
    let folder = tempfile::tempdir().expect("there is room");
    let output = folder.path().join("out.wav");
    let port = port::free();
    let server = python::server(port, protocol, &["--wav", output.to_str().expect("it is plain")]).start();
    wait_for_listener(port, protocol);
    const HEADER: usize = 44;
    let received = || std::fs::read(&output).unwrap_or_default().get(HEADER..).unwrap_or_default().to_vec();
    assert_client_is_heard(&noise, port, protocol, received);
    drop(server);
}

fn wait_for_listener(port: u16, protocol: &str) {
    if protocol == "udp" { port::wait_for_udp(port) } else { port::wait_for_tcp(port) }
}

#[test]
fn a_python_server_plays_our_client_over_udp() {
    assert_python_server_plays("udp", 82);
}

#[test]
fn a_python_server_plays_our_client_over_tcp() {
    assert_python_server_plays("tcp", 83);
}

#[test]
fn a_pyaudio_client_is_played() {
    if !python::has_pyaudio() || !installed(&pulse::PROGRAMS) {
        return;
    }
    let melody = signal::melody(84, 2.5, RATE, 1);
    let pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let server = Server::start(&[RAW, "--output-format=wav:s16le,44100,1"]);
    let client = python::client(server.port, "udp", &[]).environment(&pulse.environment()).keeping_stdout().start();
    client.wait_for_stdout("Streaming...".len());
    pulse.play(&signal::melody(84, 2.5, 48_000, 1).on_channels(2), "microphone").wait().assert_code(0);
    server.play_out();
    let heard = compare(&melody, &server.stop());
    assert!(heard.seconds() > 2.2 && heard.correlation > 0.9, "{heard:?}");
}

#[test]
fn a_pyaudio_server_plays_our_client() {
    if !python::has_pyaudio() || !installed(&pulse::PROGRAMS) {
        return;
    }
    let pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let port = port::free();
    let _server = python::server(port, "tcp", &[]).environment(&pulse.environment()).start();
    port::wait_for_tcp(port);
    let recorder = pulse.record("loudspeaker.monitor");
    let input = Input::wav(&signal::melody(85, 2.5, RATE, 1), 16);
    input.stream_all_to(&format!("127.0.0.1:{port}"), &[RAW, "--protocol=tcp"]);
    let melody = signal::melody(85, 2.5, 48_000, 1).on_channels(2);
    let heard = compare(&melody, &pulse::recorded(recorder, 1.0));
    // It has neither a buffer nor a clock to hold on to, so pieces may be missing.
    assert!(heard.seconds() > 1.5 && heard.correlation > 0.6, "{heard:?}");
}

#[test]
fn netcat_is_played_over_udp() {
    if !installed(&["nc"]) {
        return;
    }
    let noise = noise(86);
    let bytes = noise.to_s16le();
    assert_server_plays(&noise, |port| {
        other("nc", ["-u", "-w", "1", "127.0.0.1", &port.to_string()]).fed_at_pace(bytes, BYTES_PER_SECOND).start()
    });
}

#[test]
fn netcat_is_played_over_tcp() {
    if !installed(&["nc"]) {
        return;
    }
    let noise = noise(87);
    let bytes = noise.to_s16le();
    assert_server_plays(&noise, |port| {
        other("nc", ["-N", "127.0.0.1", &port.to_string()]).fed_at_pace(bytes, BYTES_PER_SECOND).start()
    });
}

fn assert_netcat_receives(protocol: &str, options: &[&str], seed: u64) {
    if !installed(&["nc"]) {
        return;
    }
    let port = port::free();
    let listener = other("nc", options).args(["-l", "127.0.0.1", &port.to_string()]).keeping_stdout().start();
    wait_for_listener(port, protocol);
    assert_client_is_heard(&noise(seed), port, protocol, || listener.stdout_so_far());
}

#[test]
fn netcat_receives_our_client_over_udp() {
    assert_netcat_receives("udp", &["-u"], 88);
}

#[test]
fn netcat_receives_our_client_over_tcp() {
    assert_netcat_receives("tcp", &[], 89);
}

fn assert_ffmpeg_is_played(address: impl Fn(u16) -> String, seed: u64) {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let noise = noise(seed);
    let input = Input::wav(&noise, 16);
    let path = input.path.to_str().expect("it is plain");
    assert_server_plays(&noise, |port| {
        other("ffmpeg", ["-v", "error", "-re", "-i", path, "-f", "s16le", &address(port)]).start()
    });
}

#[test]
fn ffmpeg_is_played_over_udp() {
    assert_ffmpeg_is_played(|port| format!("udp://127.0.0.1:{port}?pkt_size=882"), 90);
}

#[test]
fn ffmpeg_is_played_over_tcp() {
    assert_ffmpeg_is_played(|port| format!("tcp://127.0.0.1:{port}"), 91);
}

#[test]
fn ffmpeg_receives_our_client_over_tcp() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let port = port::free();
    let source = format!("tcp://127.0.0.1:{port}?listen=1");
    let arguments = ["-v", "error", "-f", "s16le", "-ar", "44100", "-ac", "1", "-i", &source, "-f", "s16le", "-"];
    let listener = other("ffmpeg", arguments).keeping_stdout().start();
    port::wait_for_tcp(port);
    assert_client_is_heard(&noise(92), port, "tcp", || listener.stdout_so_far());
}

#[test]
fn the_pair_of_ours_speaks_raw_to_itself() {
    let noise = signal::noise(93, 2.0, 48_000, 2, 24).in_silence(MARGIN);
    let input = Input::wav(&noise, 24);
    for protocol in ["udp", "tcp"] {
        let server = Server::start(&["--raw=s24le,48000,2"]);
        input.stream_all_to(&server.address(), &["--raw=s24le,48000,2", "--protocol", protocol]);
        server.play_out();
        every::find(&noise, &server.stop()).assert_whole();
    }
}
