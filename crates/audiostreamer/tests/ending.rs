//! However it ends, each side says so, tells the other, and leaves whole files behind.

mod harness;

use std::fs::OpenOptions;
use std::process::Stdio;

use harness::every;
use harness::port;
use harness::program::{Program, ours};
use harness::server::{Input, SAFE, Server};
use harness::signal;
use rustix::process::Signal;

const RATE: u32 = 48_000;

fn tone_to(server: &Server, protocol: &str) -> Program {
    let client = ours(["client", &server.address(), "--input=tone:440", "--protocol", protocol]).start();
    client.wait_for_line("streaming to");
    server.program.wait_for_line(": opus,");
    client
}

fn assert_client_ends_on(signal: Signal, protocol: &str) {
    let server = Server::start(&[]);
    let client = tone_to(&server, protocol);
    server.play_on(0.5);
    client.signal(signal);
    let ended = client.wait();
    ended.assert_code(0);
    assert!(ended.log.last().is_some_and(|line| line.contains("sent ")), "no summary: {:#?}", ended.log);
    server.program.wait_for_line("has ended");
    server.stop();
}

#[test]
fn a_client_that_is_interrupted_tells_the_server_over_udp() {
    assert_client_ends_on(Signal::INT, "udp");
}

#[test]
fn a_client_that_is_interrupted_tells_the_server_over_tcp() {
    assert_client_ends_on(Signal::INT, "tcp");
}

#[test]
fn a_client_that_is_terminated_tells_the_server_over_udp() {
    assert_client_ends_on(Signal::TERM, "udp");
}

#[test]
fn a_client_that_is_terminated_tells_the_server_over_tcp() {
    assert_client_ends_on(Signal::TERM, "tcp");
}

fn assert_server_ends_on(signal: Signal, protocol: &str) {
    let server = Server::start(&[]);
    let client = tone_to(&server, protocol);
    server.play_on(0.5);
    let port = server.port;
    server.program.signal(signal);
    let ended = server.program.wait();
    ended.assert_code(0);
    assert!(ended.log.last().is_some_and(|line| line.contains("played ")), "no summary: {:#?}", ended.log);
    client.wait_for_line("has ended");
    client.interrupt().assert_code(0);
    drop(Server::start_at(port, &[])); // the port is free at once
}

#[test]
fn a_server_that_is_interrupted_tells_its_clients_over_udp() {
    assert_server_ends_on(Signal::INT, "udp");
}

#[test]
fn a_server_that_is_interrupted_tells_its_clients_over_tcp() {
    assert_server_ends_on(Signal::INT, "tcp");
}

#[test]
fn a_server_that_is_terminated_tells_its_clients_over_udp() {
    assert_server_ends_on(Signal::TERM, "udp");
}

#[test]
fn a_server_that_is_terminated_tells_its_clients_over_tcp() {
    assert_server_ends_on(Signal::TERM, "tcp");
}

#[test]
fn a_server_without_clients_ends_when_interrupted() {
    let silence = Server::start(&[]).stop();
    assert!(silence.samples.iter().all(|&sample| sample == 0.0));
}

#[test]
fn a_client_that_waits_for_its_server_ends_when_interrupted() {
    let address = format!("127.0.0.1:{}", port::free());
    for protocol in ["udp", "tcp"] {
        let client = ours(["client", &address, "--input=tone:440", "--protocol", protocol]).start();
        client.wait_for_line("waiting for");
        client.interrupt().assert_code(0);
    }
}

#[test]
fn a_client_that_waits_for_its_stdin_ends_when_interrupted() {
    let server = Server::start(&[]);
    let client = ours(["client", &server.address(), "--input=-", "--input-format=s16le,48000,2", "--codec=l16"]);
    let client = client.fed_nothing().start();
    client.wait_for_line("status:");
    client.interrupt().assert_code(0);
    server.stop();
}

#[test]
fn a_second_interrupt_ends_either_side_at_once() {
    let server = Server::start(&[]);
    let client = tone_to(&server, "tcp");
    server.play_on(0.2);
    for program in [client, server.program] {
        program.signal(Signal::INT);
        program.signal(Signal::INT);
        program.wait().assert_no_panic();
    }
}

/// A server that writes to stdout, with a client that streams to it.
fn server_writing_to(stdout: impl Into<Stdio>) -> (Program, Program) {
    let listen = format!("127.0.0.1:{}", port::free());
    let server = ours(["server", "--listen", &listen, "--output=-", SAFE]).stdout_to(stdout).start();
    server.wait_for_line("listening on");
    let client = ours(["client", &listen, "--input=tone:440"]).start();
    (server, client)
}

#[test]
fn a_server_whose_stdout_is_closed_ends_as_in_a_pipeline() {
    let (reader, writer) = std::io::pipe().expect("there are pipes");
    let (server, client) = server_writing_to(writer);
    server.wait_for_line(": opus,");
    drop(reader);
    let ended = server.wait();
    ended.assert_no_panic();
    ended.assert_code(0);
    client.wait_for_line("has ended");
}

#[test]
fn a_server_whose_stdout_is_full_ends_and_says_why() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let listen = format!("127.0.0.1:{}", port::free());
    let ended = ours(["server", "--listen", &listen, "--output=-"]).stdout_to(full).start().wait();
    ended.assert_no_panic();
    ended.assert_code(6);
    ended.assert_says("standard output");
}

#[test]
fn a_server_whose_stdout_nobody_reads_ends_when_interrupted() {
    let (_reader, writer) = std::io::pipe().expect("there are pipes");
    let (server, client) = server_writing_to(writer);
    // More than any pipe holds: 64 KiB are a fifth of a second.
    client.wait_for_lines("status:", 2);
    server.interrupt().assert_no_panic();
    client.wait_for_line("has ended");
}

#[test]
fn a_client_whose_input_ends_in_the_middle_of_a_frame_ends_well() {
    let noise = signal::noise(60, 1.0, RATE, 2, 16);
    let mut bytes = noise.to_s16le();
    bytes.pop();
    let server = Server::start(&[]);
    let client = ours(["client", &server.address(), "--input=-", "--input-format=s16le,48000,2", "--codec=l16"]);
    client.fed(bytes).start().wait().assert_code(0);
    server.finish_client(1);
    server.stop();
}

#[test]
fn a_recording_that_is_killed_is_a_whole_file_with_the_sound_so_far() {
    let noise = signal::noise(61, 5.0, RATE, 2, 24);
    let padded = harness::audio::Audio::silence(0.05, RATE, 2).then(&noise);
    let input = Input::wav(&padded, 24);
    let server = Server::start(&[]);
    let _client = input.stream_to(&server.address(), &["--codec=l24"]);
    server.program.wait_for_line(": l24,");
    server.play_on(2.0);
    let left = server.kill();
    // The latency, and what was not yet on its way to the file.
    every::find(&noise, &left).assert_whole_until(RATE as usize);
}
