//! A conversation: both ends send and play, over one link.

mod harness;

use std::path::PathBuf;

use harness::audio::Audio;
use harness::machine::Machine;
use harness::program::{Program, installed, ours};
use harness::pulse::{self, Pulse};
use harness::server::{Input, Server, wait_for_growth};
use harness::signal;
use tempfile::TempDir;

const HERE: f64 = 440.0;
const THERE: f64 = 880.0;

/// A client that sends one tone and keeps what comes back.
struct Talker {
    program: Program,
    heard: PathBuf,
    _folder: TempDir,
}

impl Talker {
    fn start(address: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard.wav");
        let output = format!("--output={}", heard.display());
        let arguments = ["client", address, "--input=tone:440", "--duplex", &output];
        let program = ours(arguments.iter().chain(options)).start();
        Self { program, heard, _folder: folder }
    }

    fn stop(self) -> Audio {
        let ended = self.program.interrupt();
        ended.assert_no_panic();
        ended.assert_code(0);
        Audio::read_wav(&self.heard)
    }
}

/// How much of the sound's power is a tone of that frequency, 0 to 1.
fn share(audio: &Audio, frequency: f64) -> f64 {
    let samples = audio.channel(0);
    let (mut cosine, mut sine, mut power) = (0.0, 0.0, 0.0);
    for (index, &sample) in samples.iter().enumerate() {
        let phase = index as f64 * frequency / f64::from(audio.rate) * std::f64::consts::TAU;
        cosine += f64::from(sample) * phase.cos();
        sine += f64::from(sample) * phase.sin();
        power += f64::from(sample).powi(2);
    }
    2.0 * (cosine.powi(2) + sine.powi(2)) / (samples.len() as f64 * power.max(1e-12))
}

/// Nothing but that tone is heard, as soon as it has begun: in parts so short that a playout that is
/// still a little fast or slow changes nothing.
#[track_caller]
fn assert_tone(audio: &Audio, wanted: f64) {
    let length = audio.rate as usize / 40;
    let parts = (0..audio.frames() / length).map(|n| audio.part(n * length..(n + 1) * length));
    let loud: Vec<_> = parts.filter(|part| part.rms_dbfs() > -40.0).collect();
    let clean = loud.iter().filter(|part| share(part, wanted) > 0.9).count();
    assert!(loud.len() > 10 && clean * 10 > loud.len() * 8, "{wanted} Hz in {clean} of {} parts", loud.len());
}

#[track_caller]
fn assert_each_hears_the_other(server: &[&str], client: &[&str]) {
    let server = Server::start(&[&["--duplex", "--input=tone:880"], server].concat());
    let talker = Talker::start(&server.address(), client);
    talker.program.wait_for_line("hearing 127.0.0.1");
    server.wait_for_client(1);
    server.play_on(1.0);
    wait_for_growth(&talker.heard, 1.0);
    assert_tone(&talker.stop(), THERE);
    server.program.wait_for_line("has ended");
    assert_tone(&server.stop(), HERE);
}

#[test]
fn each_hears_the_other_over_quic_and_tls() {
    for protocol in ["udp", "tcp"] {
        assert_each_hears_the_other(&[], &["--protocol", protocol]);
    }
}

#[test]
fn each_hears_the_other_over_plain_rtp() {
    for protocol in ["udp", "tcp"] {
        assert_each_hears_the_other(&["--plain"], &["--plain", "--protocol", protocol]);
    }
}

#[test]
fn nobody_hears_who_has_not_asked_and_nobody_is_heard_who_has_not_said_so() {
    let talks = Server::start(&["--duplex", "--input=tone:880"]);
    let silent = Server::start(&[]);
    let listens = Machine::new();
    let client = ours(["client", &talks.address(), "--input=tone:440"]).start();
    let talker = Talker::start(&silent.address(), &[]);
    for server in [&talks, &silent] {
        server.wait_for_client(1);
        server.play_on(1.0);
        assert!(server.program.lines_with("streaming to").is_empty(), "it sends to one who has not asked");
    }
    // Who is not let in hears nothing, either.
    let refused = listens.run(&["client", &talks.address(), "--input=tone:440", "--duplex", "--output=null"]);
    refused.assert_code(5);
    assert!(talks.program.lines_with("streaming to").is_empty());
    client.interrupt().assert_code(0);
    assert!(talker.program.lines_with("hearing").is_empty());
    assert!(talker.stop().rms_dbfs() < -90.0);
    assert_tone(&talks.stop(), HERE);
    assert_tone(&silent.stop(), HERE);
}

#[test]
fn programs_of_one_key_hear_each_for_itself() {
    let server = Server::start(&["--duplex", "--input=tone:880"]);
    let talkers = ["udp", "tcp"].map(|protocol| Talker::start(&server.address(), &["--protocol", protocol]));
    let other = ours(["client", &server.address(), "--input=tone:440", "--protocol=tcp"]).start();
    server.wait_for_client(3);
    for talker in &talkers {
        talker.program.wait_for_line("hearing 127.0.0.1");
        wait_for_growth(&talker.heard, 1.0);
    }
    assert_eq!(server.program.lines_with("streaming to").len(), 2, "each over its own connection all the time");
    talkers.into_iter().for_each(|talker| assert_tone(&talker.stop(), THERE));
    other.interrupt().assert_code(0);
    server.stop();
}

#[test]
fn one_half_fails_and_the_other_goes_on() {
    let server = Server::start(&["--duplex", "--input=/nowhere/in.wav"]);
    server.program.wait_for_line("nothing is sent back from now on");
    let client =
        ours(["client", &server.address(), "--input=tone:440", "--duplex", "--output=/nowhere/out.wav"]).start();
    client.wait_for_line("nothing is heard from now on");
    server.wait_for_client(1);
    server.play_on(1.0);
    client.interrupt().assert_code(0);
    assert_tone(&server.stop(), HERE);
}

#[test]
fn a_talker_whose_server_comes_back_hears_it_again() {
    let options = ["--duplex", "--input=tone:880"];
    let server = Server::start(&options);
    let port = server.port;
    let talker = Talker::start(&server.address(), &[]);
    talker.program.wait_for_line("hearing 127.0.0.1");
    server.kill();
    let back = Server::start_at(port, &options);
    talker.program.wait_for_lines("hearing 127.0.0.1", 2);
    back.wait_for_client(1);
    wait_for_growth(&talker.heard, 0.5);
    let heard = talker.stop();
    let tenth = heard.rate as usize / 10;
    assert!(heard.part(heard.frames() - 4 * tenth..heard.frames() - 2 * tenth).rms_dbfs() > -40.0, "it is silent");
    back.stop();
}

/// What comes back from a room where the loudspeaker is all that the microphone hears, in dB: the last two seconds.
fn what_comes_back(pulse: &Pulse, options: &[&str]) -> f64 {
    let far = Input::wav(&signal::noise(61, 15.0, 48_000, 2, 16), 16);
    let server = Server::start(&["--duplex", &format!("--input={}", far.path.display())]);
    let address = server.address();
    let arguments = ["client", &address, "--duplex", "--input=pulse:room.monitor", "--output=pulse:room"];
    let client = ours(arguments.iter().chain(options)).environment(&pulse.environment()).start();
    client.wait_for_line("hearing 127.0.0.1");
    server.wait_for_client(1);
    server.play_on(7.0);
    let played = server.stop();
    client.interrupt().assert_code(0);
    played.part(played.frames() - 2 * 48_000..played.frames()).rms_dbfs()
}

#[test]
fn what_the_loudspeaker_plays_does_not_come_back() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let pulse = Pulse::start(&["room"]);
    let (as_it_is, cleaned) = (what_comes_back(&pulse, &[]), what_comes_back(&pulse, &["--cancel-echo", "--denoise"]));
    println!("an echo of {as_it_is:.1} dBFS, and {cleaned:.1} dBFS of it");
    assert!(as_it_is > -20.0 && cleaned < as_it_is - 15.0, "{cleaned:.1} dBFS of {as_it_is:.1}");
}
