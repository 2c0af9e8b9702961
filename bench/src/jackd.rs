//! A private JACK server on the dummy driver: a sound card without hardware, paced by a timer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::clock::Clock;
use crate::os;
use crate::process::{Process, pause, run};

/// Frames per second of every run.
pub const RATE: u32 = 48_000;

/// Real-time priority of the servers, as desktops set it; their clients' callbacks get five less.
const PRIORITY: u32 = 70;

/// A running JACK server, found by every child through `JACK_DEFAULT_SERVER`.
pub struct Jackd {
    process: Process,
    /// Whether it runs with real-time priority.
    pub realtime: bool,
}

impl Jackd {
    /// Starts a server with this many frames per period, by a clock of its own if need be, and waits
    /// until clients can open it.
    pub fn start(period: u32, clock: Option<&Clock>, logs: &Path) -> Result<Self> {
        let environment = clock.map(Clock::environment).unwrap_or_default();
        let mut jackd = Self::launch("jackd", &server_name(), period, &environment, logs)?;
        let knock = || jack::Client::new("asbench-knock", jack::ClientOptions::NO_START_SERVER).is_ok();
        jackd.wait_until(knock)?;
        Ok(jackd)
    }

    /// Starts another one, by the other clock, for those who live with [`far_environment`].
    pub fn start_far(period: u32, clock: &Clock, logs: &Path) -> Result<Self> {
        let name = far_server_name();
        let mut jackd = Self::launch("jackd-far", &name, period, &clock.environment(), logs)?;
        jackd.wait_until(|| run(&["jack_lsp", "-s", &name]).is_ok())?; // our own library knows one server
        Ok(jackd)
    }

    fn launch(log: &str, name: &str, period: u32, environment: &[(String, String)], logs: &Path) -> Result<Self> {
        let realtime = os::grants_realtime();
        let priority = if realtime { format!("-R -P {PRIORITY}") } else { "-r".into() };
        let line = format!("jackd {priority} -n {name} -d dummy -r {RATE} -p {period}");
        let argv: Vec<String> = line.split(' ').map(String::from).collect();
        Ok(Self { process: Process::start(log, &argv, environment, logs)?, realtime })
    }

    /// Fails when the server has died.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }

    fn wait_until(&mut self, is_open: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            self.process.check_alive()?;
            if is_open() {
                return Ok(());
            }
            pause(Duration::from_millis(50))?;
        }
        bail!("jackd does not answer:\n{}", self.process.log_tail(12))
    }
}

/// Points this process and its children to the private server. Call first, before any thread is there.
pub fn adopt_private_server() {
    // JACK keeps a list of at most eight servers in /dev/shm, and those that were killed stay on it.
    // Users who are not root have to share that list.
    let _ = os::own_shared_memory();
    let settings = [
        ("JACK_DEFAULT_SERVER", server_name()),
        ("JACK_NO_AUDIO_RESERVATION", "1".into()), // no D-Bus needed
        ("JACK_NO_START_SERVER", "1".into()),
    ];
    for (key, value) in settings {
        os::set_environment(key, &value);
    }
    be_quiet();
}

/// Attempts to open a server that is still starting are no news.
pub fn be_quiet() {
    jack::set_logger(jack::LoggerType::None);
}

/// What leads a program to the other server, by its clock.
pub fn far_environment(clock: &Clock) -> Vec<(String, String)> {
    let mut environment = clock.environment();
    environment.push(("JACK_DEFAULT_SERVER".into(), far_server_name()));
    environment
}

fn far_server_name() -> String {
    format!("{}-far", server_name())
}

fn server_name() -> String {
    format!("asbench-{}", std::process::id())
}
