//! Child processes of the bench: started with a log, measured through /proc, ended on drop.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::os;

/// A running program whose output goes to a log file.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `argv`; its output goes to `NAME.log` in `logs`.
    pub fn start(name: &str, argv: &[String], env: &[(String, String)], logs: &Path) -> Result<Self> {
        Self::start_between(name, argv, env, logs, Stdio::null(), None)
    }

    /// The same between two pipes: it reads `input`, and writes to `output` where there is one; then only
    /// its errors go to the log.
    pub fn start_between(
        name: &str,
        argv: &[String],
        env: &[(String, String)],
        logs: &Path,
        input: Stdio,
        output: Option<Stdio>,
    ) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let out = File::create(&log)?;
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).envs(env.iter().cloned());
        command.stdin(input).stderr(out.try_clone()?).stdout(output.unwrap_or(out.into()));
        command.process_group(0); // Ctrl-C is for the bench, which ends its children in order
        os::die_with_parent(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {}", argv.join(" ")))?;
        Ok(Self { name: name.into(), child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of the log when the program has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, self.log_tail(12)),
        }
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// The last lines that the program has written.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// CPU time used since the start, user and system, all threads.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc_file("stat");
        // The name in parentheses may hold blanks: count the fields behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|t| t.parse().ok()).unwrap_or(0u64);
        Duration::from_millis((ticks(14) + ticks(15)) * 1000 / TICKS_PER_SECOND)
    }

    /// Resident memory in KiB, without what is shared with the JACK server: its port buffers and
    /// registry, 100 MB and more, which it locks into the memory of every client.
    pub fn resident_kib(&self) -> u64 {
        let status = self.proc_file("status");
        let kib = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        kib("RssAnon") + kib("RssFile")
    }

    /// Bytes and packets that an interface of the process's network namespace has sent and received.
    pub fn traffic(&self, interface: &str) -> Traffic {
        Traffic::parse(&self.proc_file("net/dev"), interface)
    }

    /// Asks the program to end and waits for it; kills it after two seconds.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.stop_within(Duration::from_secs(2))
    }

    /// Likewise, after so long.
    pub fn stop_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        os::terminate(self.pid());
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    fn proc_file(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Counters of one network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    pub received_bytes: u64,
    pub received_packets: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
}

impl Traffic {
    fn parse(dev: &str, interface: &str) -> Self {
        let line = dev.lines().find_map(|l| l.trim().strip_prefix(interface)?.strip_prefix(':'));
        let numbers: Vec<u64> = line.unwrap_or("").split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let at = |i: usize| numbers.get(i).copied().unwrap_or(0);
        Self { received_bytes: at(0), received_packets: at(1), sent_bytes: at(8), sent_packets: at(9) }
    }
}

/// What all cores together have done since the machine's start, in ticks.
pub struct MachineTime {
    busy: u64,
    idle: u64,
}

impl MachineTime {
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = stat.lines().next().unwrap_or("");
        let ticks: Vec<u64> = first.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let idle = ticks.iter().skip(3).take(2).sum(); // idle and waiting for a disk
        Self { busy: ticks.iter().sum::<u64>() - idle, idle }
    }

    /// Percent of all cores that anything, the bench or not, has used since.
    pub fn busy_percent_since(&self, before: &Self) -> f64 {
        let (busy, idle) = (self.busy - before.busy, self.idle.saturating_sub(before.idle));
        100.0 * busy as f64 / (busy + idle).max(1) as f64
    }
}

/// Waits, unless the user interrupts: then everything unwinds, so that children and namespaces go.
pub fn pause(time: Duration) -> Result<()> {
    let deadline = Instant::now() + time;
    loop {
        if INTERRUPTED.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// Runs a short command to its end; an error with what it said when it fails.
pub fn run(argv: &[&str]) -> Result<()> {
    let output =
        Command::new(argv[0]).args(&argv[1..]).output().with_context(|| format!("cannot start {}", argv[0]))?;
    if !output.status.success() {
        bail!("{}: {}", argv.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Whether a program of this name is on the PATH, or at this path.
pub fn is_installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

/// Lets SIGINT and SIGTERM end the bench through `pause`.
pub fn catch_interrupts() -> Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register(signal, INTERRUPTED.clone())?;
    }
    Ok(())
}

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// USER_HZ, which is 100 on every Linux that JACK runs on.
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_an_interface_are_read_from_proc_net_dev() {
        let dev = "Inter-|   Receive\n face |bytes packets\n    lo: 10 2 0 0 0 0 0 0 30 4 0 0 0 0 0 0\n";
        let expected = Traffic { received_bytes: 10, received_packets: 2, sent_bytes: 30, sent_packets: 4 };
        assert_eq!(Traffic::parse(dev, "lo"), expected);
        assert_eq!(Traffic::parse(dev, "eth0"), Traffic::default());
    }
}
