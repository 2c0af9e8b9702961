//! Real sound servers, with nothing behind them: PulseAudio's null sinks, JACK's dummy driver.

mod harness;

use harness::audio::Audio;
use harness::compare::{Heard, compare};
use harness::jack::{self, Jack};
use harness::program::{Program, installed, ours};
use harness::pulse::{self, Pulse};
use harness::{port, signal, wait};

const RATE: u32 = 48_000;

fn melody() -> Audio {
    signal::melody(70, 3.0, RATE, 2)
}

/// Sound servers drop a period now and then on a busy machine; the melody is heard all the same.
#[track_caller]
fn assert_is_heard(heard: &Heard) {
    assert!(heard.seconds() > 2.4 && heard.correlation > 0.85, "{heard:?}");
    assert!(heard.gain_db.abs() < 1.0, "{heard:?}");
}

/// A server on one device, a client on the other.
struct Pair {
    server: Program,
    client: Program,
}

impl Pair {
    fn start(environment: &[(&'static str, String)], output: &[&str], input: &[&str], options: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{}", port::free());
        let server = ["server", "--listen", &listen, "--latency=100ms"];
        let server = ours(server.iter().chain(output)).environment(environment).start();
        server.wait_for_line("listening on");
        server.wait_for_line("playing on");
        let client = ours(["client", &listen].iter().chain(input).chain(options)).environment(environment).start();
        client.wait_for_line("capturing from");
        client.wait_for_line("streaming to");
        Self { server, client }
    }

    fn stop(self) {
        for ended in [self.client.interrupt(), self.server.interrupt()] {
            ended.assert_no_panic();
            ended.assert_code(0);
        }
    }
}

/// What is played into one sink is heard from the other, through a pair with these devices.
fn assert_pulse_is_heard(output: &[&str], input: &[&str], options: &[&str]) {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let melody = melody();
    let pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let pair = Pair::start(&pulse.environment(), output, input, options);
    let recorder = pulse.record("loudspeaker.monitor");
    pulse.play(&melody, "microphone").wait().assert_code(0);
    let heard = compare(&melody, &pulse::recorded(recorder, 0.5));
    assert_is_heard(&heard);
    pair.stop();
}

#[test]
fn pulseaudio_devices_are_found_by_name() {
    assert_pulse_is_heard(&["--output=pulse:loudspeaker"], &["--input=pulse:microphone"], &["--codec=l16"]);
}

#[test]
fn pulseaudio_devices_are_the_default() {
    assert_pulse_is_heard(&[], &[], &[]);
}

#[test]
fn alsa_devices_are_heard_over_tcp() {
    assert_pulse_is_heard(&["--output=alsa:default"], &["--input=alsa:default"], &["--codec=l16", "--protocol=tcp"]);
}

#[test]
fn a_device_is_left_while_nobody_is_there_and_taken_again_when_somebody_comes() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let pulse = Pulse::start(&["loudspeaker"]);
    let listen = format!("127.0.0.1:{}", port::free());
    let server = ours(["server", "--listen", &listen, "--output=pulse:loudspeaker", "--idle-release=1s"]);
    let server = server.environment(&pulse.environment()).start();
    for opened in 1..=2 {
        server.wait_for_lines("output is closed until", opened);
        wait::until("the device to be left to others", || (!pulse.lists("sink-inputs", "AudioStreamer")).then_some(()));
        let client = ours(["client", &listen, "--input=tone:440"]).start();
        server.wait_for_lines("playing on", opened + 1);
        let recorder = pulse.record("loudspeaker.monitor");
        wait::until("the tone", || {
            let heard = Audio::from_f32le(&recorder.stdout_so_far(), RATE, 2);
            let last = heard.frames().saturating_sub(4_800)..heard.frames();
            (heard.frames() > 4_800 && heard.part(last).rms_dbfs() > -40.0).then_some(())
        });
        assert!(pulse.lists("sink-inputs", "AudioStreamer"), "it is taken");
        client.interrupt().assert_code(0);
    }
    server.interrupt().assert_code(0);
}

#[test]
fn jack_ports_are_heard() {
    if !installed(&jack::PROGRAMS) {
        return;
    }
    let melody = melody();
    let jack = Jack::start();
    let pair = Pair::start(&jack.environment(), &["--output=jack:"], &["--input=jack:"], &["--codec=l16"]);
    jack.wait_for_ports("audiostreamer-client", 2);
    jack.wait_for_ports("audiostreamer-server", 2);
    let recorder = jack.record("audiostreamer-server");
    jack.play(&melody, "audiostreamer-client").wait().assert_code(0);
    let heard = compare(&melody, &recorder.recorded(1.0));
    assert_is_heard(&heard);
    pair.stop();
}

#[test]
fn a_card_that_misses_its_time_is_told_by_both_sides() {
    if !installed(&jack::PROGRAMS) {
        return;
    }
    let jack = Jack::start();
    let pair = Pair::start(&jack.environment(), &["--output=jack:"], &["--input=jack:"], &[]);
    jack.stumble();
    for program in [pair.client, pair.server] {
        program.wait_for_line(" xrun");
        let ended = program.interrupt();
        ended.assert_code(0);
        ended.assert_says("of the sound card");
    }
}

#[test]
fn devices_lists_what_is_there() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let list = |options: &[&str]| {
        let program = ours(["devices"].iter().chain(options)).environment(&pulse.environment());
        let ended = program.keeping_stdout().start().wait();
        ended.assert_code(0);
        String::from_utf8(ended.stdout).expect("it is text")
    };
    let table = list(&[]);
    let json: serde_json::Value = serde_json::from_str(&list(&["--json"])).expect("it is JSON");
    for name in ["microphone", "loudspeaker"] {
        assert!(table.contains(name), "{name} is not in:\n{table}");
        assert!(json.to_string().contains(name), "{name} is not in:\n{json:#}");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_lists_those_that_are() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let listen = format!("127.0.0.1:{}", port::free());
    let output = ["server", "--listen", &listen, "--output=pulse:no-such-device"];
    let input = ["client", &listen, "--input=pulse:no-such-device"];
    for (arguments, is_there) in [(output.as_slice(), "loudspeaker"), (input.as_slice(), "microphone")] {
        let ended = ours(arguments).environment(&pulse.environment()).start().wait();
        ended.assert_code(3);
        ended.assert_says("no-such-device");
        ended.assert_says(is_there);
    }
}

#[test]
fn a_server_goes_on_when_its_sound_server_is_restarted() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let mut pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let pair = Pair::start(&pulse.environment(), &["--output=pulse:loudspeaker"], &["--input=tone:440"], &[]);
    pair.server.wait_for_line(": opus,");
    pulse.restart();
    pair.server.wait_for_lines("playing on", 2);
    let recorder = pulse.record("loudspeaker.monitor");
    let played = pulse::recorded(recorder, 1.0);
    assert!(played.rms_dbfs() > -40.0, "nothing is heard: {} dB", played.rms_dbfs());
    pair.stop();
}

#[test]
fn devices_that_are_unplugged_are_used_again_when_they_are_back_at_whatever_rate() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let melody = melody();
    let pulse = Pulse::start(&["microphone", "loudspeaker"]);
    let (output, input) = (&["--output=pulse:loudspeaker"], &["--input=pulse:microphone"]);
    let pair = Pair::start(&pulse.environment(), output, input, &["--codec=l16"]);
    // While there is another one, PulseAudio moves streams there, and back; with the last one they end.
    for sink in ["microphone", "loudspeaker"] {
        pulse.unplug(sink);
    }
    for program in [&pair.client, &pair.server] {
        program.wait_for_line("trying to open it again");
    }
    for sink in ["microphone", "loudspeaker"] {
        pulse.plug(sink, 44_100);
    }
    pair.client.wait_for_lines("capturing from", 2);
    pair.server.wait_for_lines("playing on", 2);
    let recorder = pulse.record("loudspeaker.monitor");
    pulse.play(&melody, "microphone").wait().assert_code(0);
    // That it is heard at all: on a busy machine PulseAudio's resampling leaves holes here.
    let played = pulse::recorded(recorder, 0.5);
    assert!(played.rms_dbfs() > -40.0, "nothing is heard: {} dB", played.rms_dbfs());
    pair.stop();
}

#[test]
fn what_an_alsa_device_lacks_is_in_the_error() {
    let home = tempfile::tempdir().expect("there is room");
    let config = home.path().join("asound.conf");
    let text = "</usr/share/alsa/alsa.conf>\npcm.mine { type dmix ipc_key 5 slave.pcm \"hw:7\" }\n";
    std::fs::write(&config, text).expect("there is room");
    let environment = [("ALSA_CONFIG_PATH", config.display().to_string())];
    let lacks = [
        ("alsa:mine", "can't open alsa:mine: Cannot get card index for 7"),
        ("alsa:none", "there is no output device \"alsa:none\"; there is alsa:mine (mine)"),
    ];
    for (output, message) in lacks {
        let output = format!("--output={output}");
        let server = ["server", "--listen=127.0.0.1:0", &output];
        let ended = ours(server).environment(&environment).start().wait();
        ended.assert_code(3);
        ended.assert_says(message);
    }
}

#[test]
fn a_missing_sound_server_is_an_error_that_says_so() {
    let home = tempfile::tempdir().expect("there is room");
    let nowhere = home.path().display().to_string();
    let environment = [("HOME", nowhere.clone()), ("XDG_RUNTIME_DIR", nowhere), ("JACK_NO_START_SERVER", "1".into())];
    let listen = format!("127.0.0.1:{}", port::free());
    let ended = ours(["server", "--listen", &listen, "--output=jack:"]).environment(&environment).start().wait();
    ended.assert_no_panic();
    ended.assert_code(3);
    ended.assert_says("jack");
}
