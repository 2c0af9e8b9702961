//! What comes to the program from outside, before anybody is trusted: control messages, first datagrams
//! and bytes, invites and codes; and the files that it keeps, which somebody may have edited or a crash
//! cut off.

use std::cell::RefCell;
use std::path::Path;

use audiostreamer::discovery::Found;
use audiostreamer::link::Transport;
use audiostreamer::link::control::{BYTES_MAX, Message};
use audiostreamer::link::mismatch;
use audiostreamer::trust::{AccessList, Code, Error, Fingerprint, Identity, Invite, KnownHosts, Pairing, State, Token};
use audiostreamer_core::framing::Deframer;
use tempfile::TempDir;

/// Takes any bytes; panics where a promise is broken.
pub type Target = fn(&[u8]);

/// The targets of this file by the names of their corpus folders.
pub const TARGETS: [(&str, Target); 5] =
    [("control", control), ("door", door), ("found", found), ("invite", invite), ("state", state)];

/// Any bytes as a control message, and as a stream of them: what is understood reads back, and is never
/// longer than a stranger may be.
pub fn control(bytes: &[u8]) {
    understood(bytes);
    let mut deframer = Deframer::default();
    deframer.handle_bytes(bytes);
    while let Some(record) = deframer.poll_packet() {
        understood(record);
    }
}

fn understood(bytes: &[u8]) {
    let Some(message) = Message::parse(bytes) else { return };
    assert!(bytes.len() <= BYTES_MAX);
    assert_eq!(Message::parse(&message.json()), Some(message.clone()));
    let record = message.record();
    assert!(Message::is_meant(&record[2..]));
    if let Message::Hello(hello) = &message
        && let Some(token) = hello.token()
    {
        assert!(!format!("{message:?}").contains(&token.secret()), "a log would carry it");
    }
}

/// Any bytes as what knocks at the one port: datagrams, alone or several in one piece, and the first
/// bytes of a connection. Nobody is answered more than was sent, and nothing is answered twice.
pub fn door(bytes: &[u8]) {
    let Some((&stride, datagram)) = bytes.split_first() else { return };
    let answers = [mismatch::no_rtp(datagram), mismatch::no_quic(datagram)];
    for answer in answers.iter().flatten() {
        assert!(answer.len() <= datagram.len());
        assert_eq!(
            (mismatch::no_rtp(&answer[..]).is_some(), mismatch::no_quic(answer)),
            (false, None),
            "two of ours would chat"
        );
    }
    assert!(!(mismatch::is_quic(datagram) && answers[0].is_some()));
    let mut piece = datagram.to_vec();
    let mut refused = Vec::new();
    let kept = mismatch::keep_quic(&mut piece, stride.into(), |datagram| refused.push(datagram.to_vec()));
    let cut = || datagram.chunks(usize::from(stride).max(1));
    assert!(cut().filter(|datagram| mismatch::is_quic(datagram)).flatten().eq(&piece[..kept]));
    assert!(cut().filter(|datagram| !mismatch::is_quic(datagram)).eq(&refused));
    assert!(mismatch::is_tls(datagram) || !mismatch::is_client_hello(datagram));
    let _ = (mismatch::is_quic_1(datagram), mismatch::is_encrypted_only(datagram));
}

/// Any text and any bytes as a stranger's announcement: the first byte says how long the key is, the next
/// ones are it. What is made of it can be shown on a terminal, and has the key that was said.
pub fn found(bytes: &[u8]) {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let (key, name) = rest.split_at(usize::from(length).min(rest.len()));
    let name = String::from_utf8_lossy(name);
    let Some(found) = Found::new(&name, vec!["192.168.1.20".into()], 5004, Some(key), Transport::Udp) else { return };
    assert!(!found.name.chars().any(char::is_control) && found.name.chars().count() <= 63, "{:?}", found.name);
    assert_eq!(std::str::from_utf8(key).expect("it was read").parse(), Ok(found.key));
}

/// Any text as an invite, a key, a code, a token: whole, or refused.
pub fn invite(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(invite) = text.parse::<Invite>() {
        let secret = invite.token.secret();
        // A host may be called like anything.
        assert!(invite.host.contains(&secret) || !format!("{invite:?}").contains(&secret));
        assert_eq!(invite.to_string().parse(), Ok(invite));
    }
    if let Ok(key) = text.parse::<Fingerprint>() {
        assert_eq!((key.to_string().parse(), key.compact().parse()), (Ok(key), Ok(key)));
    }
    if let Ok(code) = text.parse::<Code>() {
        assert_eq!(code.to_string().parse(), Ok(code));
    }
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.secret().parse(), Ok(token));
    }
}

/// Any bytes as one of the files of the state folder, the first says which: it is used, or named as
/// damaged and left as it is.
pub fn state(bytes: &[u8]) {
    let Some((which, text)) = bytes.split_first() else { return };
    thread_local! {
        static HOME: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("there is room"));
    }
    HOME.with_borrow(|home| {
        let state = State::at(home.path().to_owned()).expect("there is room");
        let key = Fingerprint::of(b"key");
        match which % 4 {
            0 => with(home.path(), "known_hosts", text, || {
                let hosts = KnownHosts::of(&state);
                hosts.find("other:5004")?;
                hosts.remember("other:5004", key)?;
                assert_eq!(hosts.find("other:5004")?, Some(key));
                Ok(())
            }),
            1 => with(home.path(), "access", text, || {
                let list = AccessList::of(&state);
                let (before, token) = (list.entries()?.len(), list.invite("more", None)?);
                assert!(list.entries()?.len() <= before + 1, "{token:?}");
                Ok(())
            }),
            2 => with(home.path(), "identity.pem", text, || Identity::load_or_make(&state).map(drop)),
            // A code lives for minutes: a new one takes the place of whatever was there.
            _ => with(home.path(), "pairing", text, || Pairing::of(&state).begin("band").map(drop)),
        }
    });
}

/// Has `work` find a file of that name. Where it fails it must say which file, and leave it alone.
fn with(home: &Path, name: &str, bytes: &[u8], work: impl FnOnce() -> Result<(), Error>) {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let path = home.join(name);
    std::fs::write(&path, bytes).expect("there is room");
    set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    if let Err(error) = work() {
        let error = error.to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(&path).expect("it is there"), bytes, "it was overwritten");
    }
}
