//! What comes from outside as text or bytes, and files that somebody has edited or that were cut off:
//! what the fuzzer has found, and thousands of things that are like it. Anything may come; none of it
//! may panic, be taken for something else, or be overwritten.

mod harness;

#[path = "../../../fuzz/src/app.rs"]
mod targets;

use std::fs;
use std::path::Path;

use audiostreamer::trust::{Fingerprint, Identity, State};
use harness::signal::Random;

#[test]
fn control_messages_are_understood_or_refused() {
    replay("control", 4000, Vec::new());
}

#[test]
fn whatever_knocks_is_told_apart_and_answered_in_no_more_bytes() {
    replay("door", 4000, Vec::new());
}

#[test]
fn announcements_of_strangers_command_no_terminal() {
    let key = Fingerprint::of(b"key").compact();
    let announced = |name: &str| [&[key.len() as u8], key.as_bytes(), name.as_bytes()].concat();
    let names = ["studio._audiostreamer._udp.local.", "\u{1b}]0;\u{9b}2J\u{202e}\r\n", "a\\.b\\0321"];
    replay("found", 4000, names.map(announced).into());
}

#[test]
fn invites_keys_and_codes_are_whole_or_refused() {
    replay("invite", 4000, Vec::new());
}

#[test]
fn state_files_are_used_or_named_and_kept() {
    let home = tempfile::tempdir().expect("there is room");
    let state = State::at(home.path().to_owned()).expect("there is room");
    Identity::load_or_make(&state).expect("there is none yet");
    let key = fs::read(home.path().join("identity.pem")).expect("it is there");
    replay("state", 400, vec![[&[2], &key[..]].concat()]);
}

/// Gives a target its corpus and more, and so many variations of them.
fn replay(name: &str, variations: usize, more: Vec<Vec<u8>>) {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("it is a target");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(corpus).expect("a folder for each target");
    let mut paths: Vec<_> = files.map(|file| file.expect("it is there").path()).collect();
    paths.sort();
    let inputs = paths.iter().map(|path| {
        println!("{}", path.display()); // the last one printed is the one that failed
        fs::read(path).expect("it is there")
    });
    let examples: Vec<Vec<u8>> = inputs.chain(more).inspect(|bytes| target(bytes)).collect();
    let mut random = Random::new(140);
    for round in 0..variations {
        target(&mutated(&examples[round % examples.len()], &mut random));
    }
}

/// Changes a good example a little: cuts, repeats, replaces.
fn mutated(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() + 1);
        match random.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_within(at..),
            2 => bytes.insert(at, random.below(256) as u8),
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
        bytes.truncate(4096);
    }
    bytes
}
