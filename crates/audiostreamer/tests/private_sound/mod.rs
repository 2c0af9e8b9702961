//! Sound servers of our own, in processes that nobody else's sound reaches.

use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use audiostreamer::device::host::Host;
use audiostreamer::device::list::devices;

/// Runs `body`, the test called `name`, in a process of its own whose environment leads to its
/// own sound servers only. They are found by environment variables, which a process can't change
/// safely while it runs.
///
/// Skips the test where `program` is not installed.
pub fn in_private_environment(name: &str, program: &str, body: impl FnOnce()) {
    if env::var_os(PRIVATE).is_some() {
        return body();
    }
    if !is_installed(program) {
        eprintln!("skipped: {program} is not installed");
        return;
    }
    let temporary = tempfile::Builder::new().prefix("audiostreamer-").tempdir();
    let temporary = temporary.expect("there is room for temporary files");
    let directory = temporary.path();
    let jack = directory.file_name().expect("it has one").to_string_lossy();
    let test = Command::new(env::current_exe().expect("our own path"))
        .args([name, "--exact", "--nocapture"])
        .env(PRIVATE, directory)
        .env("HOME", directory)
        .env("XDG_RUNTIME_DIR", directory)
        .env("XDG_CONFIG_HOME", directory)
        .env("PULSE_SERVER", format!("unix:{}", directory.join(SOCKET).display()))
        .env("JACK_DEFAULT_SERVER", &*jack)
        .env("JACK_NO_AUDIO_RESERVATION", "1")
        .env("JACK_NO_START_SERVER", "1")
        .status()
        .expect("the test runs again");
    sweep_up_after(&jack);
    assert!(test.success(), "{name} in its private environment: {test}");
}

/// A sound server that is killed at the end.
pub struct Server(Child);

impl Server {
    /// PulseAudio with one sink, called `room`, that swallows what it plays.
    pub fn pulse() -> Self {
        let socket = directory().join(SOCKET);
        let _ = fs::remove_file(&socket); // of a server that was killed
        let module = format!("module-native-protocol-unix auth-anonymous=1 socket={}", socket.display());
        let child = Command::new("pulseaudio")
            .args(["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"])
            .arg("--load=module-null-sink sink_name=room sink_properties=device.description=Room")
            .arg(format!("--load={module}")) // last, so that who gets in finds the sink
            .stderr(Stdio::null())
            .spawn();
        let server = Self(child.expect("PulseAudio starts"));
        wait_until("PulseAudio is there", || UnixStream::connect(&socket).is_ok());
        server
    }

    /// JACK with a card that does not exist.
    pub fn jack() -> Self {
        let child = Command::new("jackd")
            .args(["--no-realtime", "-d", "dummy", "--rate", "48000", "--period", "256"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = Self(child.expect("JACK starts"));
        wait_until("JACK is there", || devices().iter().any(|device| device.host == Host::Jack));
        server
    }

    /// Ends it as a crash does.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Has it hang.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on after it was frozen.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it has not been waited for");
    }
}

impl Drop for Server {
    /// Has it end by itself: JACK lists at most eight servers in the machine, and one that is
    /// killed stays in that list.
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.thaw();
            self.signal(Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

/// Waits as long as a busy machine might take.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..MANY_LOOKS {
        if holds() {
            return;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    panic!("waited in vain until {what}");
}

/// The directory of this test's private environment.
pub fn directory() -> PathBuf {
    PathBuf::from(env::var_os(PRIVATE).expect("only in a private environment"))
}

/// Removes what a JACK server leaves in shared memory when it is killed.
fn sweep_up_after(jack: &str) {
    let litter = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for file in litter.filter(|file| file.file_name().to_string_lossy().contains(jack)) {
        let _ = fs::remove_file(file.path()); // litter is no failure
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Set in a private environment, to its directory.
const PRIVATE: &str = "AUDIOSTREAMER_PRIVATE_SOUND";

/// Where PulseAudio listens in that directory.
const SOCKET: &str = "pulse.socket";

/// A minute all in all.
const MANY_LOOKS: u32 = 3_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
