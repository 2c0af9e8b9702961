//! The examples for embedders: they run, and do what they say.

mod harness;

use std::path::PathBuf;

use harness::audio::Audio;
use harness::machine::Machine;
use harness::program::{Launch, other};
use harness::server::Input;
use harness::{signal, wait};

/// An example that `cargo test` has built, at that machine; `None` where it was told to build this test only.
fn example<'a>(machine: &Machine, name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Option<Launch> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_audiostreamer")).with_file_name("examples").join(name);
    if !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} has not been built", path.display());
        eprintln!("skipped, as {} has not been built", path.display());
        return None;
    }
    Some(other(path.to_str().expect("it is plain"), arguments).at_home(machine.home()).keeping_stdout())
}

#[test]
fn a_file_that_is_sent_is_received() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let tone = signal::noise(170, 1.0, 48_000, 1, 16);
    let input = Input::wav(&tone, 16);
    let out = guest.home().join("out.wav");
    let out = out.to_str().expect("it is plain");
    let Some(receive) = example(&studio, "receive_wav", [out, "4"]) else { return };
    let server = receive.start();
    let invite = wait::until("an invite", || {
        let text = String::from_utf8(server.stdout_so_far()).ok()?;
        text.lines().next().filter(|_| text.contains('\n')).map(str::to_owned)
    });
    let Some(send) = example(&guest, "send_file", [input.path.to_str().expect("it is plain"), &invite]) else { return };
    send.start().wait().assert_code(0);
    server.wait().assert_code(0);
    assert!(Audio::read_wav(&PathBuf::from(out)).sound().len() > 40_000, "nothing was heard");
}

#[test]
fn the_core_plays_on_a_socket_and_a_card_of_ones_own() {
    let machine = Machine::new();
    for name in ["own_socket", "own_card"] {
        let Some(launch) = example(&machine, name, []) else { return };
        launch.start().wait().assert_code(0);
    }
}
