//! Tests that use sound cards in their own process, rather than in a program's.
//!
//! Sound servers are found by environment variables, which a process can't change safely while it
//! runs: so such a test runs in a process of its own.

use std::env;
use std::path::Path;
use std::process::Command;

use super::program::installed;
use super::{jack, pulse};

/// The sound server that a test starts, and no other is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// With its home in the directory that the test is given.
    Pulse,
    Jack,
    None,
}

/// Runs `body`, the test called `name`, in a process of its own, with a directory of its own.
/// Skips the test where the programs that it needs are not installed.
pub fn in_private_environment(name: &str, sound: Sound, body: impl FnOnce(&Path)) {
    if let Some(home) = env::var_os(PRIVATE) {
        return body(Path::new(&home));
    }
    let programs = match sound {
        Sound::Pulse => pulse::PROGRAMS.as_slice(),
        Sound::Jack => jack::PROGRAMS.as_slice(),
        Sound::None => &[],
    };
    if !installed(programs) {
        return;
    }
    let home = tempfile::tempdir().expect("there is room");
    let jack = match sound {
        Sound::Jack => jack::environment(),
        Sound::Pulse | Sound::None => jack::environment_of_none(),
    };
    let test = Command::new(env::current_exe().expect("our own path"))
        .args([name, "--exact", "--nocapture"])
        .env(PRIVATE, home.path())
        .envs(pulse::environment(home.path()))
        .envs(jack)
        .status()
        .expect("the test runs again");
    assert!(test.success(), "{name} in its private environment: {test}");
}

/// Set in a private environment, to its directory.
const PRIVATE: &str = "AUDIOSTREAMER_PRIVATE_SOUND";
