//! Networks that let only some packets pass, lose a machine, or move it: real routing between network
//! namespaces, where these may be had.

mod harness;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use audiostreamer::clock;
use harness::audio::Audio;
use harness::every;
use harness::machine::Machine;
use harness::netns::{Fate, Networks, SECOND, SERVER};
use harness::program::Program;
use harness::relay::Relay;
use harness::resume::Recorded;
use harness::server::{Input, recorded_seconds, wait_for_growth};
use harness::{signal, wait};
use rustix::process::Signal;
use tempfile::TempDir;

const RATE: u32 = 48_000;

/// Noise from one machine to another, through a router.
struct Journey {
    networks: Networks,
    studio: Machine,
    server: Program,
    recording: PathBuf,
    _folder: TempDir,
}

impl Journey {
    fn new() -> Option<Self> {
        let networks = Networks::new()?;
        let studio = Machine::new();
        let folder = tempfile::tempdir().expect("there is room");
        let recording = folder.path().join("out.wav");
        let output = format!("--output={}", recording.display());
        let launch = studio.ours(&["server", "--listen=0.0.0.0:5004", &output, "--latency=100ms"]);
        let server = networks.on_server(launch).start();
        server.wait_for_line("listening on");
        Some(Self { networks, studio, server, recording, _folder: folder })
    }

    fn send(&self, noise: &Input) -> Program {
        self.send_also(noise, &[])
    }

    fn send_also(&self, noise: &Input, options: &[&str]) -> Program {
        let path = format!("--input={}", noise.path.display());
        let arguments = [&["client", SERVER, &path, "--codec=l16"], options].concat();
        self.networks.on_client(self.studio.ours(&arguments)).start()
    }

    /// How long the recording is.
    fn seconds(&self) -> f64 {
        wait::until("a recording", || recorded_seconds(&self.recording))
    }

    fn play_on(&self, seconds: f64) {
        wait_for_growth(&self.recording, seconds);
    }

    /// Waits for the client's end; what was heard.
    fn end(self, client: Program) -> Audio {
        client.wait().assert_code(0);
        self.server.wait_for_line("has ended");
        self.play_on(0.5);
        assert_eq!(self.server.lines_with(", over ").len(), 1, "it did not stay one stream");
        self.stop()
    }

    fn stop(self) -> Audio {
        let ended = self.server.interrupt();
        ended.assert_no_panic();
        Audio::read_wav(&self.recording)
    }
}

#[test]
fn where_udp_never_passes_sound_goes_over_tcp() {
    for fate in [Fate::Blackhole, Fate::Prohibit] {
        let Some(journey) = Journey::new() else { return };
        journey.networks.block_udp(fate);
        let noise = signal::noise(160, 2.0, RATE, 1, 16);
        let input = Input::wav(&noise, 16);
        let begin = journey.seconds();
        let client = journey.send(&input);
        client.wait_for_line("over tcp, encrypted");
        let recording = journey.end(client);
        let first_sound = recording.sound().start as f64 / f64::from(RATE) - begin;
        println!("{fate:?}: first sound {:.0} ms after the client's start", first_sound * 1e3);
        let heard = Recorded::new(&noise, &recording);
        let end = recording.seconds() - 0.6;
        assert!(heard.until_sound(begin).is_some() && heard.silence(begin + first_sound, end) < 0.3, "{fate:?}");
    }
}

#[test]
fn where_udp_passes_no_longer_sound_goes_over_tcp_and_back() {
    let Some(journey) = Journey::new() else { return };
    let noise = signal::noise(161, 16.0, RATE, 1, 16);
    let input = Input::wav(&noise, 16);
    let client = journey.send(&input);
    client.wait_for_line("over udp");
    journey.play_on(2.0);
    let blocked = journey.seconds();
    journey.networks.block_udp(Fate::Blackhole);
    client.wait_for_line("over tcp");
    journey.play_on(1.0);
    let over_tcp = journey.seconds();
    journey.networks.unblock_udp();
    client.wait_for_lines("over udp", 2);
    journey.play_on(1.0);
    let over_udp = journey.seconds();
    let heard = Recorded::new(&noise, &journey.end(client));
    let (gap, gap_back) = (heard.silence(blocked, over_tcp), heard.silence(over_tcp, over_udp));
    println!("UDP blocked: {gap:.3} s of silence, then sound over TCP; {gap_back:.3} s on the way back");
    assert!(gap < 1.5 && gap_back < 0.1, "silent for {gap} s, on the way back {gap_back} s");
    let before = heard.delay_at(blocked - 0.6, 1.0);
    let change = heard.delay_at(over_udp - 0.6, before) - before;
    assert!(change.abs() < PRESENT, "{change} s later than before");
}

#[test]
fn an_outage_of_one_of_two_interfaces_is_not_heard() {
    assert_outages_are_not_heard(SECOND, "the way through second works");
}

#[test]
fn an_outage_on_the_way_to_one_of_two_addresses_is_not_heard() {
    assert_outages_are_not_heard("to:10.78.3.2", "the way to 10.78.3.2:5004 works");
}

/// Has one way of two fail after the other.
fn assert_outages_are_not_heard(also: &str, it_works: &str) {
    let Some(journey) = Journey::new() else { return };
    journey.networks.add_second_path();
    let noise = signal::noise(164, 7.0, RATE, 1, 16).in_silence(0.05);
    let input = Input::wav(&noise, 16);
    let client = journey.send_also(&input, &["--also", also, "--protocol=udp"]);
    client.wait_for_line("the usual way works");
    client.wait_for_line(it_works);
    journey.server.wait_for_line(", over udp, encrypted");
    journey.play_on(1.0);
    journey.networks.block_everything();
    journey.play_on(1.0);
    journey.networks.unblock_everything();
    journey.play_on(1.0);
    journey.networks.cut_second_path();
    journey.play_on(1.0);
    journey.networks.mend_second_path();
    every::find(&noise.on_channels(2), &journey.end(client)).assert_whole();
}

#[test]
fn a_client_that_gets_another_address_is_heard_on() {
    let Some(heard) = Absence::of(Of::Address, 0.0) else { return };
    assert!(heard.silence < PRESENT && heard.delay_change.abs() < PRESENT, "{heard:?}");
}

#[test]
fn a_client_that_loses_its_network_is_heard_again_in_the_present() {
    let Some(heard) = Absence::of(Of::Network, 4.0) else { return };
    assert!(heard.delay_change.abs() < PRESENT, "{heard:?}");
}

#[test]
#[ignore = "measures: `make measure`"]
fn a_connection_that_stands_still_is_replaced_and_the_stream_goes_on() {
    let Some(heard) = Absence::of(Of::Path, 2.5) else { return };
    // The kernel alone would go on after another second and a half.
    assert!(heard.until_sound <= BACK && heard.delay_change.abs() < PRESENT, "{heard:?}");
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn a_network_that_is_away_for_half_a_minute_is_used_again_at_once() {
    let Some(heard) = Absence::of(Of::Network, 30.0) else { return };
    assert!(heard.until_sound <= BACK && heard.delay_change.abs() < SAME_DELAY, "{heard:?}");
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn a_client_that_sleeps_for_a_minute_is_heard_again_at_once() {
    // A file that nobody reads stands still: its delay says nothing.
    let Some(heard) = Absence::of(Of::Client, 60.0) else { return };
    assert!(heard.until_sound <= BACK, "{heard:?}");
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn the_first_sound_comes_after_three_round_trips_and_the_playout_delay() {
    let studio = Machine::new();
    let output = ["server", "--listen", "127.0.0.1:0", "--output=-", "--open"];
    let server = studio.ours(&output).keeping_stdout().start();
    let line = server.wait_for_line("listening on 127.0.0.1:");
    let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).expect("it says so");
    let relay = Relay::start(port.parse().expect("a port"));
    server.wait_for_stdout(100_000); // the header is not silent
    relay.delay(Duration::from_millis(10));
    let address = format!("127.0.0.1:{}", relay.port);
    let mut times: Vec<f64> = (0..20)
        .map(|_| {
            let heard = server.stdout_len();
            let start = clock::now();
            let client = studio.client(&address, &["--protocol=udp", "--gain=6"]);
            let sound = wait::until("sound", || {
                let samples = server.stdout_so_far();
                samples[heard..].iter().any(|&byte| byte != 0).then(clock::now)
            });
            client.interrupt().assert_code(0);
            server.wait_for_line("has ended");
            let end = server.stdout_len();
            wait::until("silence", || (server.stdout_len() > end + 100_000).then_some(()));
            (sound - start).as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("first sound, ms after the client's start: median {:.1}, of 20 {times:.1?}", times[times.len() / 2]);
    relay.stop();
    server.interrupt();
}

/// Sound is back within so many seconds ...
const BACK: f64 = 1.0;
/// ... and its delay is the same, but for so much.
const SAME_DELAY: f64 = 0.1;
/// On a busy machine it may have to be longer; the past would be as old as the absence.
const PRESENT: f64 = 1.0;

/// What is away.
enum Of {
    /// Another one takes its place.
    Address,
    Network,
    Client,
    /// All that the router does, for a stream over TCP.
    Path,
}

/// What is heard after an absence; in seconds.
#[derive(Debug)]
struct Absence {
    until_sound: f64,
    /// In all.
    silence: f64,
    delay_change: f64,
}

impl Absence {
    fn of(what: Of, seconds: f64) -> Option<Self> {
        let journey = Journey::new()?;
        let noise = signal::noise(163, seconds + 12.0, RATE, 1, 16);
        let input = Input::wav(&noise, 16);
        let protocol = if let Of::Path = what { "tcp" } else { "auto" };
        let client = journey.send_also(&input, &["--protocol", protocol]);
        client.wait_for_line("streaming");
        journey.play_on(2.0);
        let gone = journey.seconds();
        match what {
            Of::Address => journey.networks.move_client(),
            Of::Network => journey.networks.unplug_client(),
            Of::Client => client.signal(Signal::STOP),
            Of::Path => journey.networks.block(true),
        }
        thread::sleep(Duration::from_secs_f64(seconds)); // nothing happens that could be waited for
        match what {
            Of::Address => {}
            Of::Network => journey.networks.plug_client(),
            Of::Client => client.signal(Signal::CONT),
            Of::Path => journey.networks.block(false),
        }
        let back = journey.seconds();
        journey.play_on(4.0);
        client.interrupt().assert_code(0);
        let recorded = Recorded::new(&noise, &journey.stop());
        let before = recorded.delay_at(gone - 0.6, 1.0);
        let until_sound = recorded.until_sound(back).expect("sound comes back");
        let delay_change = recorded.delay_at(back + 3.0, before) - before;
        let silence = recorded.silence(gone, back + 3.0);
        println!("away {seconds} s, silent {silence:.3} s: sound {until_sound:.3} s after the return");
        println!("delay changed by {:+.1} ms", delay_change * 1e3);
        Some(Self { until_sound, silence, delay_change })
    }
}
