//! What a client sends is what the server plays: over UDP and TCP, with every codec, from and to
//! files and pipes, with one client and several, and when one side comes late or goes early.

mod harness;

use harness::audio::Audio;
use harness::compare::compare;
use harness::every;
use harness::program::{installed, other, ours};
use harness::server::{Input, SAFE, SAFELY_LATER, Server, record};
use harness::{port, signal};

const RATE: u32 = 48_000;

/// Around what is compared bit by bit, see [`Audio::in_silence`].
const MARGIN: f64 = 0.05;

/// The options of server and client for a way on the wire: `udp`, `tcp`, and both in the clear.
fn on_the_wire(way: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match way {
        "udp" => (&[], &["--protocol=udp"]),
        "tcp" => (&[], &["--protocol=tcp"]),
        "plain udp" => (&["--plain"], &["--plain", "--protocol=udp"]),
        "plain tcp" => (&["--plain"], &["--plain", "--protocol=tcp"]),
        _ => panic!("no way: {way}"),
    }
}

fn assert_every_sample_arrives(way: &str, codec: &str, sent: &Audio, bits: u16, format: &str) {
    let input = Input::wav(sent, bits);
    let (server, client) = on_the_wire(way);
    let server = [server, &["--output-format", format]].concat();
    let played = record(&input, &server, &[client, &["--codec", codec]].concat());
    let expected = if sent.channels < played.channels { sent.on_channels(played.channels) } else { sent.clone() };
    every::find(&expected, &played).assert_whole();
}

#[test]
fn every_sample_of_l16_arrives_over_udp() {
    let noise = signal::noise(20, 2.0, RATE, 2, 16).in_silence(MARGIN);
    assert_every_sample_arrives("udp", "l16", &noise, 16, "wav:s24le,48000,2");
}

#[test]
fn every_sample_of_l16_arrives_over_tcp() {
    let noise = signal::noise(21, 2.0, RATE, 2, 16).in_silence(MARGIN);
    assert_every_sample_arrives("tcp", "l16", &noise, 16, "wav:s24le,48000,2");
}

#[test]
fn every_sample_of_l24_arrives_over_udp() {
    let noise = signal::noise(22, 2.0, RATE, 2, 24).in_silence(MARGIN);
    assert_every_sample_arrives("udp", "l24", &noise, 24, "wav:s24le,48000,2");
}

#[test]
fn every_sample_of_l24_arrives_over_tcp() {
    let noise = signal::noise(23, 2.0, RATE, 2, 24).in_silence(MARGIN);
    assert_every_sample_arrives("tcp", "l24", &noise, 24, "wav:s24le,48000,2");
}

#[test]
fn every_sample_arrives_in_the_clear() {
    let noise = signal::noise(33, 2.0, RATE, 2, 24).in_silence(MARGIN);
    for way in ["plain udp", "plain tcp"] {
        assert_every_sample_arrives(way, "l24", &noise, 24, "wav:s24le,48000,2");
    }
}

#[test]
fn a_mono_file_is_heard_sample_by_sample_on_both_channels() {
    let noise = signal::noise(24, 2.0, RATE, 1, 24).in_silence(MARGIN);
    assert_every_sample_arrives("udp", "l24", &noise, 24, "wav:s24le,48000,2");
}

#[test]
fn a_44_1_khz_file_arrives_sample_by_sample_at_a_44_1_khz_output() {
    let noise = signal::noise(25, 2.0, 44_100, 2, 16).in_silence(MARGIN);
    assert_every_sample_arrives("udp", "l16", &noise, 16, "wav:s16le,44100,2");
}

#[test]
fn a_file_arrives_up_to_its_last_sample_whatever_its_length() {
    let noise = Audio::silence(MARGIN, RATE, 2).then(&signal::noise(32, 1.2345, RATE, 2, 16));
    for protocol in ["udp", "tcp"] {
        assert_every_sample_arrives(protocol, "l16", &noise, 16, "wav:s24le,48000,2");
    }
}

#[test]
fn what_is_silent_is_not_sent_and_what_follows_is_whole() {
    let words = [34, 35].map(|seed| signal::noise(seed, 1.0, RATE, 2, 16));
    let sound = words[0].clone().then(&Audio::silence(2.5, RATE, 2)).then(&words[1]).in_silence(MARGIN);
    let input = Input::wav(&sound, 16);
    let path = format!("--input={}", input.path.display());
    for way in ["udp", "tcp", "plain udp"] {
        let (server_options, client) = on_the_wire(way);
        let server = Server::start(server_options);
        let options = [path.as_str(), "--codec=l16", "--frame=5ms", "--silence=-60dBFS"];
        let address = server.address();
        let ended = ours(["client", &address].iter().chain(client).chain(&options)).start().wait();
        ended.assert_code(0);
        server.finish_client(1);
        let played = server.stop();
        words.iter().for_each(|word| every::find(word, &played).assert_whole());
        let summary = ended.log.iter().find_map(|line| line.split(" s in ").nth(1)).expect("what was sent");
        let packets: u32 = summary.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
        assert!((500..=550).contains(&packets), "{packets} packets over {way} for 2.6 of 4.6 s");
    }
}

/// Sends a melody made at one rate through a server at 48 kHz.
fn assert_melody_is_heard(protocol: &str, options: &[&str], rate: u32, channels: usize) {
    let input = Input::wav(&signal::melody(26, 2.5, rate, channels), 16);
    let played = record(&input, &[], &[&["--protocol", protocol], options].concat());
    let melody = signal::melody(26, 2.5, RATE, channels);
    let melody = if channels == 1 { melody.on_channels(2) } else { melody };
    let heard = compare(&melody, &played);
    heard.assert_whole(0.95);
    assert!(heard.gain_db.abs() < 1.0, "the level has changed: {heard:?}");
}

#[test]
fn opus_is_heard_with_frames_of_2_5_ms_over_udp() {
    assert_melody_is_heard("udp", &["--codec=opus", "--frame=2.5ms"], RATE, 2);
}

#[test]
fn opus_is_heard_with_frames_of_5_ms_over_udp() {
    assert_melody_is_heard("udp", &["--codec=opus", "--frame=5ms"], RATE, 2);
}

#[test]
fn opus_is_heard_with_frames_of_10_ms_over_udp() {
    assert_melody_is_heard("udp", &["--codec=opus", "--frame=10ms"], RATE, 2);
}

#[test]
fn opus_is_heard_with_frames_of_20_ms_over_udp() {
    assert_melody_is_heard("udp", &["--codec=opus", "--frame=20ms"], RATE, 2);
}

#[test]
fn opus_is_heard_over_tcp() {
    assert_melody_is_heard("tcp", &["--codec=opus"], RATE, 2);
}

#[test]
fn opus_is_heard_in_mono() {
    assert_melody_is_heard("udp", &["--codec=opus"], RATE, 1);
}

#[test]
fn a_44_1_khz_file_is_heard_at_48_khz_through_opus() {
    assert_melody_is_heard("udp", &["--codec=opus"], 44_100, 2);
}

#[test]
fn a_44_1_khz_file_is_heard_at_48_khz_through_l16() {
    assert_melody_is_heard("udp", &["--codec=l16"], 44_100, 2);
}

#[test]
fn a_44_1_khz_mono_file_is_heard_at_48_khz_through_l24_over_tcp() {
    assert_melody_is_heard("tcp", &["--codec=l24"], 44_100, 1);
}

#[test]
fn the_defaults_are_heard() {
    assert_melody_is_heard("udp", &[], RATE, 2);
}

#[test]
fn speech_is_heard_at_a_low_bit_rate() {
    let speech = signal::speech(27, 3.0, RATE);
    let input = Input::wav(&speech, 16);
    let options = ["--codec=opus", "--application=voice", "--bitrate=60k", "--frame=20ms"];
    let speech = speech.on_channels(2);
    compare(&speech, &record(&input, &[], &options)).assert_settled(0.9);
}

#[test]
fn a_tone_is_heard_at_its_pitch() {
    let server = Server::start(&[]);
    let client = ours(["client", &server.address(), "--input=tone:440", "--codec=l16"]).start();
    client.wait_for_line("streaming to");
    server.play_on(2.0);
    client.interrupt().assert_code(0);
    server.finish_client(1);
    let played = server.stop();
    // Whatever its level and phase: a sine of 440 Hz is what it is like over any half second.
    let sine = signal::sine(440.0, 0.5, RATE, 2);
    let heard = compare(&sine, &played);
    assert!(heard.correlation > 0.99, "{heard:?}");
}

#[test]
fn a_wav_comes_in_on_stdin() {
    let noise = signal::noise(28, 2.0, RATE, 2, 24).in_silence(MARGIN);
    let wav = std::fs::read(Input::wav(&noise, 24).path).expect("it is there");
    let server = Server::start(&[]);
    let client = ours(["client", &server.address(), "--input=-", "--codec=l24"]).fed(wav).start();
    client.wait().assert_code(0);
    server.finish_client(1);
    every::find(&noise, &server.stop()).assert_whole();
}

#[test]
fn raw_samples_come_in_on_stdin_as_they_are_made() {
    let noise = signal::noise(29, 2.0, 44_100, 2, 16).in_silence(MARGIN);
    let server = Server::start(&["--output-format=wav:s16le,44100,2"]);
    let arguments = ["client", &server.address(), "--input=-", "--input-format=s16le,44100,2", "--codec=l16"];
    let client = ours(arguments).fed_at_pace(noise.to_s16le(), 44_100 * 4).start();
    client.wait().assert_code(0);
    server.finish_client(1);
    every::find(&noise, &server.stop()).assert_whole();
}

#[test]
fn what_is_played_goes_out_on_stdout() {
    let noise = signal::noise(30, 2.0, RATE, 2, 24).in_silence(MARGIN);
    let listen = format!("127.0.0.1:{}", port::free());
    let arguments = ["server", "--listen", &listen, "--output=-", "--output-format=raw:s24le,48000,2", SAFE];
    let server = ours(arguments).keeping_stdout().start();
    server.wait_for_line("listening on");
    Input::wav(&noise, 24).stream_all_to(&listen, &["--codec=l24"]);
    server.wait_for_line("has ended");
    server.wait_for_stdout(server.stdout_len() + (f64::from(RATE * 6) * SAFELY_LATER) as usize);
    let ended = server.interrupt();
    ended.assert_code(0);
    every::find(&noise, &Audio::from_s24le(&ended.stdout, RATE, 2)).assert_whole();
}

#[test]
fn a_compressed_file_is_streamed() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let melody = signal::melody(31, 2.5, 44_100, 2);
    let wav = Input::wav(&melody, 16);
    let flac = Input::new("in.flac", |path| {
        let from = wav.path.to_str().expect("it is plain");
        other("ffmpeg", ["-v", "error", "-i", from]).args([path]).start().wait().assert_code(0);
    });
    let played = record(&flac, &["--output-format=wav:s16le,44100,2"], &["--codec=l16"]);
    compare(&melody, &played).assert_whole(0.98);
}

#[test]
fn two_clients_are_mixed_and_all_of_each_is_heard() {
    let sounds = [40, 41].map(|seed| signal::noise(seed, 3.0, RATE, 1, 24).in_silence(MARGIN));
    // Each speaks on a channel of its own, so that they can be told apart.
    let inputs = [0, 1].map(|channel| Input::wav(&sounds[channel].on_channel(channel, 2), 24));
    let server = Server::start(&[]);
    let protocols = ["udp", "tcp"];
    let clients: Vec<_> = inputs
        .iter()
        .zip(protocols)
        .map(|(input, protocol)| input.stream_to(&server.address(), &["--codec=l24", "--protocol", protocol]))
        .collect();
    clients.into_iter().for_each(|client| client.wait().assert_code(0));
    server.finish_client(2);
    let played = server.stop();
    for (channel, sound) in sounds.iter().enumerate() {
        let alone = Audio { rate: RATE, channels: 1, samples: played.channel(channel) };
        every::find(sound, &alone).assert_whole();
    }
}

#[test]
fn the_next_client_is_played_when_one_has_ended() {
    let sounds = [42, 43, 44].map(|seed| signal::noise(seed, 1.0, RATE, 2, 16).in_silence(MARGIN));
    let server = Server::start(&[]);
    for ((sound, protocol), count) in sounds.iter().zip(["udp", "tcp", "udp"]).zip(1..) {
        Input::wav(sound, 16).stream_all_to(&server.address(), &["--codec=l16", "--protocol", protocol]);
        server.finish_client(count);
    }
    let played = server.stop();
    sounds.iter().for_each(|sound| every::find(sound, &played).assert_whole());
}

fn assert_client_waits_for_the_server(way: &str) {
    let (server_options, options) = on_the_wire(way);
    let noise = signal::noise(45, 2.0, RATE, 2, 16).in_silence(MARGIN);
    let port = port::free();
    let input = Input::wav(&noise, 16);
    let client = input.stream_to(&format!("127.0.0.1:{port}"), &[&["--codec=l16"], options].concat());
    client.wait_for_line("waiting for");
    let server = Server::start_at(port, server_options);
    client.wait().assert_code(0);
    server.finish_client(1);
    // A file begins when there is someone to hear it.
    every::find(&noise, &server.stop()).assert_whole();
}

#[test]
fn a_client_that_was_started_first_waits_for_the_server_over_udp() {
    assert_client_waits_for_the_server("udp");
}

#[test]
fn a_client_that_was_started_first_waits_for_the_server_over_tcp() {
    assert_client_waits_for_the_server("tcp");
}

#[test]
fn a_client_that_was_started_first_waits_for_a_plain_server() {
    assert_client_waits_for_the_server("plain udp");
    assert_client_waits_for_the_server("plain tcp");
}

fn assert_live_sound_waits_for_the_server(protocol: &str) {
    let port = port::free();
    let address = format!("127.0.0.1:{port}");
    let client = ours(["client", &address, "--input=tone:440", "--codec=l16", "--protocol", protocol]).start();
    client.wait_for_line("waiting for");
    let server = Server::start_at(port, &[]);
    server.wait_for_client(1);
    server.play_on(1.0);
    client.interrupt().assert_code(0);
    server.finish_client(1);
    let heard = compare(&signal::sine(440.0, 0.5, RATE, 2), &server.stop());
    assert!(heard.correlation > 0.99, "{heard:?}");
}

#[test]
fn live_sound_goes_out_as_soon_as_the_server_is_there_over_udp() {
    assert_live_sound_waits_for_the_server("udp");
}

#[test]
fn live_sound_goes_out_as_soon_as_the_server_is_there_over_tcp() {
    assert_live_sound_waits_for_the_server("tcp");
}

fn assert_client_finds_the_server_again(way: &str, end_of_first: impl FnOnce(Server) -> Audio) {
    let (server_options, options) = on_the_wire(way);
    let melody = signal::melody(46, 8.0, RATE, 2);
    let input = Input::wav(&melody, 16);
    let server = Server::start(server_options);
    let port = server.port;
    let client = input.stream_to(&server.address(), &[&["--codec=l16"], options].concat());
    server.program.wait_for_line(": l16,");
    server.play_on(1.5);
    let before = end_of_first(server);
    let server = Server::start_at(port, server_options);
    client.wait().assert_code(0);
    server.finish_client(1);
    let after = server.stop();
    assert!(compare(&melody, &before).seconds() > 0.5, "nothing was heard before the restart");
    let heard = compare(&melody, &after);
    heard.assert_settled(0.98);
    assert!((melody.seconds() - heard.part.end) < 0.02 && heard.seconds() > 2.0, "{heard:?}");
}

#[test]
fn a_running_client_finds_a_restarted_server_over_udp() {
    assert_client_finds_the_server_again("udp", Server::stop);
}

#[test]
fn a_running_client_finds_a_restarted_server_over_tcp() {
    assert_client_finds_the_server_again("tcp", Server::stop);
}

#[test]
fn a_running_client_finds_a_killed_server_again_over_udp() {
    assert_client_finds_the_server_again("udp", Server::kill);
}

#[test]
fn a_running_client_finds_a_killed_server_again_over_tcp() {
    assert_client_finds_the_server_again("tcp", Server::kill);
}

#[test]
fn a_running_client_finds_a_killed_server_again_in_the_clear() {
    assert_client_finds_the_server_again("plain udp", Server::kill);
}

fn assert_killed_client_may_come_again(protocol: &str) {
    let sounds = [47, 48].map(|seed| signal::noise(seed, 2.0, RATE, 2, 16).in_silence(MARGIN));
    let inputs = sounds.each_ref().map(|sound| Input::wav(sound, 16));
    let options = ["--codec=l16", "--protocol", protocol];
    let server = Server::start(&[]);
    let first = inputs[0].stream_to(&server.address(), &options);
    server.program.wait_for_line(": l16,");
    server.play_on(1.5);
    first.kill();
    let second = inputs[1].stream_to(&server.address(), &options);
    second.wait().assert_code(0);
    server.play_out();
    let played = server.stop();
    every::find(&sounds[0], &played).assert_whole_until(RATE as usize / 4);
    every::find(&sounds[1], &played).assert_whole();
}

#[test]
fn a_client_that_was_killed_is_heard_when_it_is_started_anew_over_udp() {
    assert_killed_client_may_come_again("udp");
}

#[test]
fn a_client_that_was_killed_is_heard_when_it_is_started_anew_over_tcp() {
    assert_killed_client_may_come_again("tcp");
}

#[test]
fn a_client_that_shall_not_wait_fails_at_once_without_a_server() {
    let address = format!("127.0.0.1:{}", port::free());
    let ended = ours(["client", &address, "--input=tone:440", "--protocol=tcp", "--no-wait"]).start().wait();
    ended.assert_code(4);
    ended.assert_says(&address);
    ended.assert_says("refused");
}
