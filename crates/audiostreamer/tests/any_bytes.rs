//! What comes from outside as text or bytes: control messages, invites, codes, datagrams, and files
//! that somebody has edited or that were cut off. Anything may come; none of it may panic, be taken
//! for something else, or be overwritten.

mod harness;

use std::path::Path;

use audiostreamer::link::control::Message;
use audiostreamer::trust::{AccessList, Code, Fingerprint, Identity, Invite, KnownHosts, Pairing, State};
use harness::signal::Random;

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

/// Gives `take` thousands of variations of the examples.
fn with_variations(seed: u64, examples: &[&str], mut take: impl FnMut(&[u8])) {
    let mut random = Random::new(seed);
    for round in 0..4000 {
        let good = examples[round % examples.len()];
        take(&mutated(good.as_bytes(), &mut random));
    }
}

const INVITE: &str = "audiostreamer://192.168.1.20:5004/?key=MPYH4CY7HZQKYT23ISEGDPMXOBKDBJKUMFTG4LAO4LP2N36KXQTA\
                      &token=2Q6WA4QXZBCLSCUI7A2H54YCDU";

#[test]
fn a_control_message_that_is_understood_reads_back() {
    let examples = [
        r#"{"hello":{"version":1,"token":"2Q6WA4QXZBCLSCUI7A2H54YCDU"}}"#,
        r#"{"accepted":{}}"#,
        r#"{"refused":{"reason":"unknown-key"}}"#,
        r#"{"pair":{"message":"MFRGG"}}"#,
    ];
    with_variations(140, &examples, |bytes| {
        if let Some(message) = Message::parse(bytes) {
            assert_eq!(Message::parse(&message.json()), Some(message));
        }
    });
}

#[test]
fn an_invite_that_is_understood_reads_back() {
    with_variations(141, &[INVITE], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(invite) = text.parse::<Invite>() {
            assert_eq!(invite.to_string().parse(), Ok(invite));
        }
    });
}

#[test]
fn keys_and_codes_are_whole_or_refused() {
    with_variations(142, &["MPYH-4CY7-HZQK-YT23-ISEG-DPMX-OBKD-BJKU-MFTG-4LAO-4LP2-N36K-XQTA", "482-193"], |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(fingerprint) = text.parse::<Fingerprint>() {
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
        if let Ok(code) = text.parse::<Code>() {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    });
}

/// A folder with one file in it.
fn state_with(home: &Path, name: &str, bytes: &[u8]) -> State {
    let state = State::at(home.to_owned()).expect("there is room");
    std::fs::write(home.join(name), bytes).expect("there is room");
    state
}

/// Whether what is in the file is used, or else said to be damaged; then it must stay as it was.
fn assert_used_or_kept<T, E: std::fmt::Display>(path: &Path, bytes: &[u8], result: Result<T, E>) {
    if let Err(error) = result {
        let error = error.to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(path).expect("it is there"), bytes, "it was overwritten");
    }
}

#[test]
fn state_files_are_used_or_named_and_kept() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("there is room");
    let home = home.path();
    let state = State::at(home.to_owned()).expect("there is room");
    Identity::load_or_make(&state).expect("there is none yet");
    let read = |name: &str| std::fs::read_to_string(home.join(name)).expect("it is there");
    let key: Fingerprint = INVITE[INVITE.find("key=").expect("it is there") + 4..][..52].parse().expect("it is whole");
    KnownHosts::of(&state).remember("studio:5004", key).expect("there is room");
    AccessList::of(&state).invite("band", None).expect("there is room");
    Pairing::of(&state).begin("band").expect("there is room");
    let examples = ["known_hosts", "access", "identity.pem"].map(|name| (name, read(name)));

    let mut random = Random::new(143);
    for round in 0..300 {
        let (name, good) = &examples[round % examples.len()];
        let (path, bytes) = (home.join(name), mutated(good.as_bytes(), &mut random));
        let state = state_with(home, name, &bytes);
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("it is ours");
        match *name {
            "known_hosts" => assert_used_or_kept(&path, &bytes, KnownHosts::of(&state).remember("other:5004", key)),
            "access" => assert_used_or_kept(&path, &bytes, AccessList::of(&state).invite("more", None)),
            _ => assert_used_or_kept(&path, &bytes, Identity::load_or_make(&state)),
        }
    }
}
