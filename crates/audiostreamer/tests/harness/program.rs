//! Programs under test and beside it: started, fed, listened to, ended.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiostreamer::clock;
use rustix::process::{Pid, Signal, kill_process};

use super::wait;

/// A program about to be started. Its stdin is empty and its stdout goes nowhere, if nothing else
/// is said.
pub struct Launch {
    command: Command,
    feed: Option<Feed>,
    keep_stdout: bool,
    unheard: bool,
}

/// What a program is given on stdin.
enum Feed {
    AtOnce(Vec<u8>),
    /// So many bytes per second, as from a live source.
    Paced(Vec<u8>, u32),
    /// Nothing, and it stays open.
    Open,
}

/// The program that this suite is about. All that a test binary starts have one identity, as if
/// they were one user's; see [`Launch::at_home`].
pub fn ours<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_audiostreamer"), arguments).at_home(home())
}

/// Where the programs of this test binary keep who they are; empty at its start.
fn home() -> &'static Path {
    static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
        let binary = std::env::current_exe().expect("it runs");
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(binary.file_name().expect("it has a name"));
        let _ = std::fs::remove_dir_all(&home); // of the last run, if there was one
        home
    });
    &HOME
}

/// Some other program, found on the path.
pub fn other<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Launch {
    Launch::new(name, arguments)
}

/// Whether those programs are there. A test that needs one which is not says so and passes, unless
/// the environment variable `CI` is set: there it must not be missing.
pub fn installed(names: &[&str]) -> bool {
    let missing: Vec<&str> = names.iter().copied().filter(|name| which(name).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "not installed: {missing:?}");
    eprintln!("skipped, as these programs are not installed: {missing:?}");
    false
}

fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Launch {
    fn new<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self { command, feed: None, keep_stdout: false, unheard: false }
    }

    /// Has another program start it: `around` is that one and its arguments. Say it first of all but
    /// the arguments and the environment.
    pub fn within(mut self, around: &[&str]) -> Self {
        let mut command = Command::new(around[0]);
        command.args(&around[1..]).arg(self.command.get_program()).args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn environment<'a>(mut self, variables: impl IntoIterator<Item = &'a (&'static str, String)>) -> Self {
        self.command.envs(variables.into_iter().map(|(name, value)| (name, value)));
        self
    }

    /// Gives it a folder of its own for who it is and whom it knows: another machine's, so to speak.
    pub fn at_home(mut self, home: &Path) -> Self {
        self.command.env("XDG_STATE_HOME", home).env("XDG_CONFIG_HOME", home);
        self
    }

    pub fn fed(mut self, bytes: Vec<u8>) -> Self {
        self.feed = Some(Feed::AtOnce(bytes));
        self
    }

    pub fn fed_at_pace(mut self, bytes: Vec<u8>, bytes_per_second: u32) -> Self {
        self.feed = Some(Feed::Paced(bytes, bytes_per_second));
        self
    }

    /// Its stdin is a pipe into which nothing comes.
    pub fn fed_nothing(mut self) -> Self {
        self.feed = Some(Feed::Open);
        self
    }

    /// Keeps what it writes to stdout, see [`Program::stdout_len`] and [`Ended::stdout`].
    pub fn keeping_stdout(mut self) -> Self {
        self.keep_stdout = true;
        self
    }

    /// What it says is not printed when the test fails: it only asks whether something is there.
    pub fn unheard(mut self) -> Self {
        self.unheard = true;
        self
    }

    pub fn stdout_to(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stdout(target);
        self
    }

    #[track_caller]
    pub fn start(mut self) -> Program {
        let name = format!("{:?}", self.command);
        if self.feed.is_some() {
            self.command.stdin(Stdio::piped());
        }
        if self.keep_stdout {
            self.command.stdout(Stdio::piped());
        }
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let feeder = self.feed.map(|feed| start_feeder(&mut child, feed));
        let stderr = child.stderr.take().expect("it is a pipe");
        let log = Log::default();
        if !self.unheard {
            print_if_this_test_fails(&name, &log);
        }
        let log_reader = thread::spawn({
            let log = log.clone();
            move || read_lines(stderr, &log)
        });
        let stdout = Arc::new(Mutex::new(Vec::new()));
        let stdout_reader = self.keep_stdout.then(|| {
            let (pipe, stdout) = (child.stdout.take().expect("it is a pipe"), stdout.clone());
            thread::spawn(move || read_bytes(pipe, &stdout))
        });
        Program { name, child, log, log_reader: Some(log_reader), stdout, stdout_reader, _feeder: feeder }
    }
}

/// The lines that a program has said.
type Log = Arc<Mutex<Vec<String>>>;

/// A running program; killed when dropped. If a test fails, what it said is printed, also where
/// it has ended long before.
pub struct Program {
    name: String,
    child: Child,
    log: Log,
    log_reader: Option<JoinHandle<()>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stdout_reader: Option<JoinHandle<()>>,
    _feeder: Option<JoinHandle<()>>,
}

/// What is left of a program.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Lines on stderr.
    pub log: Vec<String>,
    pub stdout: Vec<u8>,
}

impl Program {
    /// Waits for a line on stderr that contains `needle`.
    #[track_caller]
    pub fn wait_for_line(&self, needle: &str) -> String {
        self.wait_for_lines(needle, 1).remove(0)
    }

    /// Waits until so many lines on stderr contain `needle`.
    #[track_caller]
    pub fn wait_for_lines(&self, needle: &str, count: usize) -> Vec<String> {
        wait::until(format!("{count} lines with {needle:?} from {}", self.name), || {
            let silent_now = self.log_reader.as_ref().is_none_or(JoinHandle::is_finished);
            let lines = self.lines_with(needle);
            if lines.len() >= count {
                return Some(lines);
            }
            assert!(!silent_now, "{} has ended without {count} lines with {needle:?}", self.name);
            None
        })
    }

    /// The lines on stderr so far that contain `needle`.
    pub fn lines_with(&self, needle: &str) -> Vec<String> {
        let log = self.log.lock().expect("no reader panics");
        log.iter().filter(|line| line.contains(needle)).cloned().collect()
    }

    /// How much it has written to stdout.
    pub fn stdout_len(&self) -> usize {
        self.stdout.lock().expect("no reader panics").len()
    }

    /// What it has written to stdout.
    pub fn stdout_so_far(&self) -> Vec<u8> {
        self.stdout.lock().expect("no reader panics").clone()
    }

    /// Waits until it has written so much to stdout.
    #[track_caller]
    pub fn wait_for_stdout(&self, bytes: usize) {
        wait::until(format!("{bytes} bytes on stdout of {}", self.name), || (self.stdout_len() >= bytes).then_some(()));
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Memory that it holds, in KiB.
    pub fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number")
    }

    /// Time of a core that it has used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, the same on every Linux
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it is running");
        // Its name, in parentheses, may hold blanks; user and system time are fields 14 and 15.
        let fields = stat.rsplit(')').next().expect("there is one").split_whitespace();
        let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("it is a number")).sum();
        f64::from(ticks) / TICKS_PER_SECOND
    }

    pub fn signal(&self, signal: Signal) {
        // Gone already is as good.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// As Ctrl-C does, and waits for the end.
    #[track_caller]
    pub fn interrupt(self) -> Ended {
        self.signal(Signal::INT);
        self.wait()
    }

    #[track_caller]
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let status =
            wait::until(format!("the end of {}", self.name), || self.child.try_wait().expect("it can be asked"));
        for reader in [self.log_reader.take(), self.stdout_reader.take()].into_iter().flatten() {
            reader.join().expect("no reader panics");
        }
        let log = self.log.lock().expect("no reader panics").clone();
        let stdout = std::mem::take(&mut *self.stdout.lock().expect("no reader panics"));
        Ended { status, log, stdout }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Panics unless it ended by itself with exit code `code`.
    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.status.code(), Some(code), "signal {:?}, stderr: {:#?}", self.status.signal(), self.log);
    }

    /// Panics unless some line on stderr contains `needle`, in any case of letters.
    #[track_caller]
    pub fn assert_says(&self, needle: &str) {
        let says = |line: &String| line.to_lowercase().contains(&needle.to_lowercase());
        assert!(self.log.iter().any(says), "no line with {needle:?} in {:#?}", self.log);
    }

    /// Panics unless it ended by itself, without complaint of the Rust runtime.
    #[track_caller]
    pub fn assert_no_panic(&self) {
        let panicked = |line: &String| line.contains("panicked at");
        assert!(!self.log.iter().any(panicked), "{:#?}", self.log);
    }
}

thread_local! {
    /// Each test has a thread of its own.
    static LOGS: RefCell<Vec<(String, Log)>> = const { RefCell::new(Vec::new()) };
}

/// A hook, because it runs where a test fails and before anything is cleaned up.
fn print_if_this_test_fails(name: &str, log: &Log) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            LOGS.with_borrow(|logs| logs.iter().for_each(|(name, log)| print_log(name, log)));
        }));
    });
    LOGS.with_borrow_mut(|logs| logs.push((name.into(), log.clone())));
}

fn print_log(name: &str, log: &Log) {
    match log.lock() {
        Ok(log) if log.is_empty() => eprintln!("{name} said nothing"),
        Ok(log) => eprintln!("{name} said:\n  {}", log.join("\n  ")),
        Err(_) => {} // its reader has said enough
    }
}

fn start_feeder(child: &mut Child, feed: Feed) -> JoinHandle<()> {
    let mut stdin = child.stdin.take().expect("it is a pipe");
    let id = child.id();
    thread::spawn(move || {
        // An early end of the reader is the test's affair, not the feeder's.
        let _ = match feed {
            Feed::AtOnce(bytes) => stdin.write_all(&bytes),
            Feed::Paced(bytes, bytes_per_second) => write_paced(&mut stdin, &bytes, bytes_per_second),
            Feed::Open => {
                wait_for_end(id);
                Ok(())
            }
        };
    })
}

/// Writes 10 ms at a time, each when it is due.
fn write_paced(stdin: &mut impl Write, bytes: &[u8], bytes_per_second: u32) -> std::io::Result<()> {
    let chunk = (bytes_per_second / 100) as usize;
    let start = clock::now();
    for (index, bytes) in bytes.chunks(chunk).enumerate() {
        let due = start + Duration::from_millis(10) * (index as u32 + 1);
        thread::sleep(due - clock::now());
        stdin.write_all(bytes)?;
        stdin.flush()?;
    }
    Ok(())
}

fn wait_for_end(id: u32) {
    while Path::new(&format!("/proc/{id}")).exists() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn read_lines(pipe: impl Read, log: &Mutex<Vec<String>>) {
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(line) = line else { return };
        log.lock().expect("no reader panics").push(String::from_utf8_lossy(&line).into_owned());
    }
}

fn read_bytes(mut pipe: impl Read, bytes: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 65_536];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        bytes.lock().expect("no reader panics").extend(&chunk[..count]);
    }
}
