//! `--record`: a copy of what is played or captured.

mod harness;

use std::path::Path;

use harness::audio::Audio;
use harness::compare::compare;
use harness::program::{installed, other, ours};
use harness::relay::Relay;
use harness::server::{Input, Server};
use harness::{signal, wait};

const RATE: u32 = 48_000;

fn option(path: &Path) -> String {
    format!("--record={}", path.display())
}

#[test]
fn both_sides_keep_what_was_heard() {
    let folder = tempfile::tempdir().unwrap();
    let [played, captured] = ["played.wav", "captured.wav"].map(|name| folder.path().join(name));
    let melody = signal::melody(50, 2.0, RATE, 2);
    let server = Server::start(&[&option(&played)]);
    let input = Input::wav(&melody, 16);
    input.stream_all_to(&server.address(), &["--codec=l16", "--gain=-12", &option(&captured)]);
    server.program.wait_for_line("has ended");
    server.program.interrupt().assert_code(0);
    let heard = compare(&melody, &Audio::read_wav(&captured));
    heard.assert_whole(0.95);
    assert!(heard.gain_db.abs() < 0.1, "as it was captured, before the gain: {heard:?}");
    let heard = compare(&melody, &Audio::read_wav(&played));
    heard.assert_whole(0.95);
    assert!((heard.gain_db + 12.0).abs() < 0.3, "as it was played: {heard:?}");
}

#[test]
fn a_recording_is_valid_after_the_program_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("played.wav");
    let server = Server::start(&[&option(&path)]);
    let client = ours(["client", &server.address(), "--input=tone:440"]).start();
    // More than a second of it, the tone in it.
    wait::until("sound in the recording", || {
        let bytes = std::fs::metadata(&path).ok()?.len();
        (bytes > 300_000).then(|| Audio::read_wav(&path)).filter(|audio| audio.rms_dbfs() > -40.0)
    });
    server.program.kill();
    let audio = Audio::read_wav(&path);
    assert!(audio.seconds() > 1.0 && audio.rms_dbfs() > -40.0, "{} s", audio.seconds());
    drop(client);
}

/// What ffmpeg makes of it.
fn decoded(path: &Path) -> Audio {
    let wav = path.with_extension("decoded.wav");
    let [from, to] = [path, &wav].map(|path| path.display().to_string());
    other("ffmpeg", ["-loglevel", "error", "-y", "-i", &from, "-c:a", "pcm_s24le", &to]).start().wait().assert_code(0);
    Audio::read_wav(&wav)
}

#[test]
fn opus_recordings_play_in_time_whatever_was_lost() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [played, sent] = ["played.opus", "sent.opus"].map(|name| folder.path().join(name));
    let melody = signal::melody(50, 4.0, RATE, 2);
    let server = Server::start(&["--plain", &option(&played)]);
    let relay = Relay::start(server.port);
    relay.lose();
    let input = Input::wav(&melody, 16);
    let address = format!("127.0.0.1:{}", relay.port);
    input.stream_all_to(&address, &["--plain", "--redundancy=off", &option(&sent)]);
    server.program.wait_for_line("has ended");
    server.program.interrupt().assert_code(0);
    assert!(!relay.stop().is_empty());
    let (played_sound, sent_sound) = (decoded(&played), decoded(&sent));
    compare(&melody, &sent_sound).assert_whole(0.95);
    assert_eq!(played_sound.frames(), sent_sound.frames(), "what was lost has kept its time");
    let labels = std::fs::read_to_string(played.with_extension("opus.labels.txt")).unwrap();
    assert!(labels.contains("\tlost, 10 ms\n"), "{labels:?}");
    let last = RATE as usize..3 * RATE as usize;
    let heard = compare(&sent_sound.part(last.clone()), &played_sound.part(last));
    assert!(heard.delay == 0 && heard.jumps.is_empty(), "{heard:?}");
}

#[test]
fn compressed_recordings_are_valid_after_the_program_was_killed() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [played, sent] = ["played.flac", "sent.opus"].map(|name| folder.path().join(name));
    let server = Server::start(&[&option(&played)]);
    let client = ours(["client", &server.address(), "--input=tone:440", &option(&sent)]).start();
    for path in [&played, &sent] {
        wait::until(format!("sound in {}", path.display()), || {
            let bytes = std::fs::metadata(path).ok()?.len();
            (bytes > 50_000).then(|| decoded(path)).filter(|audio| audio.rms_dbfs() > -40.0)
        });
    }
    client.kill();
    server.program.kill();
    for path in [&played, &sent] {
        let audio = decoded(path);
        assert!(audio.seconds() > 0.5 && audio.rms_dbfs() > -40.0, "{} s in {}", audio.seconds(), path.display());
    }
}

#[test]
fn a_trace_is_valid_after_the_program_was_killed_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evening.trace");
    let server = Server::start(&[&format!("--trace={}", path.display())]);
    let client = ours(["client", &server.address(), "--input=tone:440"]).start();
    wait::until("a second in the trace", || {
        let text = std::fs::read_to_string(&path).ok()?;
        (text.lines().filter(|line| line.starts_with("p ")).count() > 20).then_some(())
    });
    server.program.kill();
    drop(client);
    let replay = ours(["replay", "--json", &path.display().to_string()]).keeping_stdout().start().wait();
    replay.assert_code(0);
    let table: serde_json::Value = serde_json::from_slice(&replay.stdout).expect("JSON");
    let run = &table["runs"][0];
    assert!(run["units"].as_u64().unwrap() > 100 && run["was"]["delay_p50_ms"].is_number(), "{table}");
    let profiles: Vec<&str> = (0..4).filter_map(|n| run["would_be"][n]["profile"].as_str()).collect();
    assert_eq!(profiles, ["live", "talk", "listen", "hifi"]);
    let other = ours(["replay", "/etc/hostname"]).start().wait();
    other.assert_code(6);
    other.assert_says("/etc/hostname is not a trace");
}

#[test]
fn a_recording_that_can_not_be_made_is_told_before_anything_begins() {
    for side in [&["server", "--output=null"][..], &["client", "127.0.0.1:9", "--input=tone:440"]] {
        let program = ours(side.iter().chain(&["--record=/nowhere/at/all.wav"])).start().wait();
        program.assert_code(6);
        program.assert_says("/nowhere/at/all.wav");
    }
}
