//! Who is let in, who is not, and what each is told.

mod harness;

use std::path::Path;

use harness::machine::Machine;
use harness::program::Program;

/// It must end by itself with the exit code for authentication, and say this.
#[track_caller]
fn assert_not_let_in(client: Program, needles: &[&str]) {
    let ended = client.wait();
    ended.assert_no_panic();
    ended.assert_code(5);
    needles.iter().for_each(|needle| ended.assert_says(needle));
}

const TRANSPORTS: [(&str, &str); 2] = [("udp", "over udp, encrypted"), ("tcp", "over tcp, encrypted")];

// Identity

#[test]
fn a_machine_has_one_key_and_nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let shown = machine.fingerprint();
    assert_eq!(shown, machine.fingerprint());
    assert_ne!(shown, Machine::new().fingerprint());
    let json: serde_json::Value = serde_json::from_slice(&machine.run(&["identity", "--json"]).stdout).expect("JSON");
    assert_eq!(json["fingerprint"], shown.as_str());
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&machine.home().join("audiostreamer")), 0o700);
    assert_eq!(mode(&machine.file("identity.pem")), 0o600);
}

#[test]
fn a_damaged_key_is_named_and_kept() {
    let machine = Machine::new();
    machine.fingerprint();
    let path = machine.file("identity.pem");
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nMIGH").expect("it can be written");
    for arguments in [&["identity"][..], &["server", "--output=null"], &["client", "127.0.0.1"]] {
        let ended = machine.run(arguments);
        ended.assert_code(6);
        ended.assert_says("identity.pem: it holds no private key");
    }
    assert_eq!(std::fs::read(&path).expect("it is there").len(), 32);
}

// Who is let in

#[test]
fn an_invite_lets_a_machine_in_and_from_then_on_its_key_does() {
    for (protocol, over) in TRANSPORTS {
        let (studio, guest) = (Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let invite = studio.invite(server.port, &["--name=band"]);
        let options = ["--protocol", protocol];
        let client = guest.client(&invite, &options);
        client.wait_for_line(over);
        server.program.wait_for_line("came with the invite band");
        server.program.wait_for_line(over);
        client.interrupt().assert_code(0);
        let client = guest.client(&server.address(), &options);
        server.wait_for_client(2);
        client.interrupt().assert_code(0);
        let list = String::from_utf8(studio.run(&["invite", "--list"]).stdout).expect("it is text");
        assert!(list.contains(&format!("band             client, key {}", guest.fingerprint())), "{list}");
    }
}

#[test]
fn a_stranger_is_told_why_and_what_to_do() {
    for (protocol, _) in TRANSPORTS {
        let (studio, stranger) = (Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let client = stranger.client(&server.address(), &["--protocol", protocol]);
        let key = stranger.fingerprint();
        assert_not_let_in(client, &["key is not on the server's list", "audiostreamer invite", &key]);
        server.program.wait_for_line("is not on the list and has no invite");
        let refused = server.program.interrupt();
        refused.assert_says("1 connection refused");
    }
}

#[test]
fn an_open_server_lets_everybody_in() {
    for (protocol, over) in TRANSPORTS {
        let (studio, stranger) = (Machine::new(), Machine::new());
        let server = studio.server(&["--open"]);
        let client = stranger.client(&server.address(), &["--protocol", protocol]);
        server.program.wait_for_line(over);
        client.interrupt().assert_code(0);
    }
}

#[test]
fn a_wrong_token_is_refused() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&[]);
    let invite = studio.invite(server.port, &[]);
    let (start, token) = invite.split_at(invite.len() - 26);
    let wrong = format!("{start}{}{}", if token.starts_with('A') { 'B' } else { 'A' }, &token[1..]);
    for (protocol, _) in TRANSPORTS {
        let client = guest.client(&wrong, &["--protocol", protocol]);
        assert_not_let_in(client, &["the server knows no such invite"]);
    }
}

#[test]
fn an_expired_invite_is_refused() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&[]);
    let invite = studio.invite(server.port, &["--expires=0s"]);
    for (protocol, _) in TRANSPORTS {
        let client = guest.client(&invite, &["--protocol", protocol]);
        assert_not_let_in(client, &["the invite has expired", "ask for an invite"]);
    }
}

#[test]
fn a_revoked_invite_is_refused_and_who_came_with_it_is_shut_out() {
    for (protocol, _) in TRANSPORTS {
        let (studio, guest, thief) = (Machine::new(), Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let invite = studio.invite(server.port, &["--name=band"]);
        let options = ["--protocol", protocol];
        let playing = guest.client(&invite, &options);
        server.wait_for_client(1);
        studio.run(&["invite", "--revoke=band"]).assert_says("1 invite revoked, 1 client shut out");
        assert_not_let_in(playing, &["has been taken off the server's list"]);
        server.program.wait_for_line("has been shut out");
        assert_not_let_in(thief.client(&invite, &options), &["the invite has been revoked"]);
        assert_not_let_in(guest.client(&server.address(), &options), &["not on the server's list"]);
    }
}

#[test]
fn logs_carry_no_tokens_no_codes_and_no_keys() {
    for (protocol, _) in TRANSPORTS {
        let (studio, guest, other) = (Machine::new(), Machine::new(), Machine::new());
        let server = studio.server(&["-vvv"]);
        let invite = studio.invite(server.port, &[]);
        let options = ["-vvv", "--protocol", protocol];
        let client = guest.client(&invite, &options);
        server.wait_for_client(1);
        let code = code(&studio);
        let typed = other.client(&server.address(), &[&options[..], &["--code", &code]].concat());
        server.wait_for_client(2);
        let logs = [client, typed, server.program].map(|program| program.interrupt().log).concat();
        let token = &invite[invite.len() - 26..];
        let mut secrets = vec![token.to_owned(), code];
        for machine in [&studio, &guest, &other] {
            let pem = std::fs::read_to_string(machine.file("identity.pem")).expect("it is there");
            secrets.extend(pem.lines().filter(|line| !line.starts_with("---")).map(str::to_owned));
        }
        assert!(logs.len() > 10, "nothing is logged: {logs:#?}");
        for secret in secrets {
            let told = logs.iter().find(|line| line.contains(&secret));
            assert_eq!(told, None, "a secret of {} characters", secret.len());
        }
    }
}

// Who is trusted

#[test]
fn the_servers_key_is_kept_at_the_first_meeting_and_a_changed_one_is_a_hard_stop() {
    for (protocol, _) in TRANSPORTS {
        let (studio, other, guest) = (Machine::new(), Machine::new(), Machine::new());
        let server = studio.server(&["--open"]);
        let (port, address) = (server.port, server.address());
        let options = ["--protocol", protocol];
        let client = guest.client(&address, &options);
        client.wait_for_line(&format!("is new here: its key {}", studio.fingerprint()));
        server.wait_for_client(1);
        client.interrupt().assert_code(0);
        server.stop();
        // The same server is known ...
        let server = studio.server_at(port, &["--open"]);
        let client = guest.client(&address, &options);
        server.wait_for_client(1);
        assert!(client.interrupt().log.iter().all(|line| !line.contains("is new here")));
        server.stop();
        // ... and another one is not.
        let server = other.server_at(port, &["--open"]);
        let (was, is) = (studio.fingerprint(), other.fingerprint());
        let file = guest.file("known_hosts");
        let file = file.to_str().expect("it is plain");
        let changed = format!("the key of {address} has changed: it was {was}, now it is {is}");
        assert_not_let_in(guest.client(&address, &options), &[&changed, file]);
        // An invite of the new one is the way out.
        let client = guest.client(&other.invite(port, &[]), &options);
        server.wait_for_client(1);
        client.interrupt().assert_code(0);
        let client = guest.client(&address, &options);
        server.wait_for_client(2);
        client.interrupt().assert_code(0);
    }
}

#[test]
fn an_invite_of_another_server_is_not_followed() {
    for (protocol, _) in TRANSPORTS {
        let (studio, impostor, guest) = (Machine::new(), Machine::new(), Machine::new());
        let server = impostor.server(&["--open"]);
        let invite = studio.invite(server.port, &[]);
        let client = guest.client(&invite, &["--protocol", protocol]);
        assert_not_let_in(client, &["is not the server that has made this invite", &impostor.fingerprint()]);
        assert!(!guest.file("known_hosts").exists(), "nothing is learnt from an impostor");
    }
}

#[test]
fn a_damaged_list_of_known_servers_is_named_and_kept() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&["--open"]);
    guest.fingerprint();
    let text = format!("{} ABCDEF\n", server.address());
    std::fs::write(guest.file("known_hosts"), &text).expect("it can be written");
    let ended = guest.client(&server.address(), &[]).wait();
    ended.assert_code(6);
    ended.assert_says("known_hosts line 1");
    assert_eq!(std::fs::read_to_string(guest.file("known_hosts")).expect("it is there"), text);
}

#[test]
fn a_damaged_list_of_clients_stops_a_server_from_starting() {
    let studio = Machine::new();
    studio.fingerprint();
    std::fs::write(studio.file("access"), "client band\n").expect("it can be written");
    let ended = studio.run(&["server", "--output=null"]);
    ended.assert_code(6);
    ended.assert_says("access line 1");
}

#[test]
fn half_an_invite_is_a_mistake_of_the_command_line() {
    let ended = Machine::new().run(&["client", "audiostreamer://studio:5004/?key=ABC"]);
    ended.assert_code(2);
    ended.assert_says("fingerprint");
}

// Plain and encrypted ends that meet

#[test]
fn a_plain_client_at_an_encrypted_server_is_told_so() {
    let studio = Machine::new();
    let server = studio.server(&["--open"]);
    for (protocol, _) in TRANSPORTS {
        let client = studio.client(&server.address(), &["--plain", "--protocol", protocol]);
        assert_not_let_in(client, &["accepts encrypted sound only", "--plain"]);
    }
    let silence = server.stop();
    assert!(silence.samples.iter().all(|&sample| sample == 0.0), "it was heard");
}

#[test]
fn an_encrypted_client_at_a_plain_or_raw_server_is_told_so() {
    let (studio, guest) = (Machine::new(), Machine::new());
    for option in ["--plain", "--raw=s16le,48000,2"] {
        let server = studio.server(&[option]);
        server.program.wait_for_line("not encrypted");
        for protocol in ["udp", "tcp", "auto"] {
            let client = guest.client(&server.address(), &["--protocol", protocol]);
            assert_not_let_in(client, &["does not encrypt: it was started with --plain (or --raw)"]);
        }
        let silence = server.stop();
        assert!(silence.samples.iter().all(|&sample| sample == 0.0), "{option}: it was heard");
    }
}

#[test]
fn invites_and_open_doors_make_no_sense_in_the_clear() {
    let studio = Machine::new();
    let invite = studio.invite(5004, &[]);
    for arguments in [
        &["client", &invite, "--plain"][..],
        &["server", "--open", "--plain"],
        &["server", "--open", "--raw=s16le,48000,2"],
    ] {
        studio.run(arguments).assert_code(2);
    }
}

// A short code in place of an invite

/// Has the server show a code.
fn code(server: &Machine) -> String {
    let ended = server.run(&["pair", "--name=band"]);
    ended.assert_code(0);
    String::from_utf8(ended.stdout).expect("it is text").trim().to_owned()
}

/// Another one.
fn wrong(code: &str) -> String {
    let last = if code.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &code[..code.len() - 1])
}

#[test]
fn a_code_that_is_typed_makes_both_know_each_other() {
    for (protocol, over) in TRANSPORTS {
        let (studio, guest) = (Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let options = ["--protocol", protocol];
        let client = guest.client(&server.address(), &[&options[..], &["--code", &code(&studio)]].concat());
        client.wait_for_line(&format!("is new here: its key {}", studio.fingerprint()));
        server.program.wait_for_line(over);
        client.interrupt().assert_code(0);
        let client = guest.client(&server.address(), &options);
        server.wait_for_client(2);
        client.interrupt().assert_code(0);
        studio.run(&["invite", "--revoke=band"]).assert_says("0 invites revoked, 1 client shut out");
    }
}

#[test]
fn a_wrong_code_is_refused_and_after_three_the_right_one_is_too() {
    for (protocol, _) in TRANSPORTS {
        let (studio, guest) = (Machine::new(), Machine::new());
        let server = studio.server(&[]);
        let code = code(&studio);
        let try_code = |code: &str| guest.client(&server.address(), &["--protocol", protocol, "--code", code]);
        for _ in 0..3 {
            assert_not_let_in(try_code(&wrong(&code)), &["the code is wrong", "audiostreamer pair"]);
        }
        assert_not_let_in(try_code(&code), &["has shown no code, or all tries are used up"]);
        assert!(!guest.file("known_hosts").exists(), "nothing is learnt from a server that has proved nothing");
    }
}

#[test]
fn a_server_that_lets_everybody_in_still_has_to_know_the_code() {
    let (impostor, guest) = (Machine::new(), Machine::new());
    let server = impostor.server(&["--open"]);
    let client = guest.client(&server.address(), &["--code=123-456"]);
    assert_not_let_in(client, &["has shown no code"]);
}

#[test]
fn a_code_has_six_digits() {
    let ended = Machine::new().run(&["client", "127.0.0.1", "--code=12345"]);
    ended.assert_code(2);
    ended.assert_says("six digits");
}
