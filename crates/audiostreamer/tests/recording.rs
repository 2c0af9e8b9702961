//! `--record`: a copy of what is played or captured.

mod harness;

use std::path::Path;

use harness::audio::Audio;
use harness::compare::compare;
use harness::program::ours;
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

#[test]
fn a_recording_that_can_not_be_made_is_told_before_anything_begins() {
    for side in [&["server", "--output=null"][..], &["client", "127.0.0.1:9", "--input=tone:440"]] {
        let program = ours(side.iter().chain(&["--record=/nowhere/at/all.wav"])).start().wait();
        program.assert_code(6);
        program.assert_says("/nowhere/at/all.wav");
    }
}
