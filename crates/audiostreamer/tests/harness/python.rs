//! The original kind of program, as an outside party: a Python client and a Python server that send
//! the bytes of 44.1 kHz mono samples and nothing else.

use std::path::Path;

use super::program::{Launch, other};

/// Debian's interpreter, which has Debian's PyAudio.
const PYTHON: &str = "/usr/bin/python3";

/// What the pair sends.
pub const RATE: u32 = 44_100;

/// Our option for its wire.
pub const RAW: &str = "--raw=s16le,44100,1";

/// The client, that captures from the default device or, with `--wav FILE`, plays a file.
pub fn client(port: u16, protocol: &str, options: &[&str]) -> Launch {
    script("raw_client.py", port, protocol, options)
}

/// The server, that plays on the default device or, with `--wav FILE`, writes a file.
pub fn server(port: u16, protocol: &str, options: &[&str]) -> Launch {
    script("raw_server.py", port, protocol, options)
}

/// Whether Python is there.
pub fn installed() -> bool {
    super::program::installed(&["python3"]) && Path::new(PYTHON).exists()
}

/// Whether Python has PyAudio; see [`program::installed`](super::program::installed).
pub fn has_pyaudio() -> bool {
    let found = installed() && other(PYTHON, ["-c", "import pyaudio"]).start().wait().status.success();
    assert!(found || std::env::var_os("CI").is_none(), "PyAudio is not installed");
    found
}

fn script(name: &str, port: u16, protocol: &str, options: &[&str]) -> Launch {
    let path = format!("{}/tests/python/{name}", env!("CARGO_MANIFEST_DIR"));
    let port = port.to_string();
    // Whoever runs the tests in the background may ignore SIGINT, and Python then would as well.
    // Unbuffered, so that what it prints is seen at once.
    let start = ["--default-signal=INT", PYTHON, "-u", &path, "127.0.0.1", &port, "--protocol", protocol];
    other("env", start.iter().chain(options))
}
