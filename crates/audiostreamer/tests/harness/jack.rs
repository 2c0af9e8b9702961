//! A JACK server of the test's own, with the dummy driver for a sound card.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::audio::Audio;
use super::program::{Program, other};
use super::turn::Turn;
use super::wait;

/// The programs that this needs; the `jack` plugin of GStreamer as well.
pub const PROGRAMS: [&str; 4] = ["jackd", "jack_lsp", "jack_connect", "gst-launch-1.0"];

/// The rate of the dummy card.
pub const RATE: u32 = 48_000;

/// The frames that it moves at once.
pub const PERIOD: usize = 512;

/// The server's name. A machine has room for eight names, and a server that dies without notice
/// leaves its own behind until the next of that name: so it is always the same one.
const NAME: &str = "audiostreamer-test";

/// A running server that nobody else uses.
pub struct Jack {
    server: Option<Program>,
    waits: bool,
    folder: TempDir,
    _turn: Turn,
}

impl Jack {
    /// Starts it, after the one of another test has ended. It waits for clients that a busy machine
    /// holds up, instead of going on without them.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_as(true)
    }

    /// Starts one that waits for nobody, as users have it.
    #[track_caller]
    pub fn start_usual() -> Self {
        Self::start_as(false)
    }

    #[track_caller]
    fn start_as(waits: bool) -> Self {
        let turn = Turn::take();
        let folder = tempfile::tempdir().expect("there is room");
        let mut jack = Self { server: None, waits, folder, _turn: turn };
        jack.revive();
        jack
    }

    /// Kills the server. No other test gets its turn, or who waits for this server would find
    /// that one's.
    #[track_caller]
    pub fn crash(&mut self) {
        self.server.take().map(Program::kill);
    }

    /// Starts another in place of one that has crashed.
    #[track_caller]
    pub fn revive(&mut self) {
        let format = [format!("--rate={RATE}"), format!("--period={PERIOD}")];
        let options = ["--no-realtime", "--name", NAME].iter().chain(self.waits.then_some(&"--sync"));
        let server = other("jackd", options).args(["-d", "dummy"]).args(format).environment(&environment()).start();
        self.server = Some(server);
        wait::until("JACK's answer", || self.ports("system:").first().map(|_| ()));
    }

    /// Has the card miss its time, once.
    #[track_caller]
    pub fn stumble(&self) {
        let server = self.server.as_ref().expect("it runs");
        server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(100)); // about ten periods
        server.signal(Signal::CONT);
    }

    /// What a program must have in its environment to find this server and no other.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment()
    }

    /// The ports whose names begin so.
    pub fn ports(&self, beginning: &str) -> Vec<String> {
        let listing = other("jack_lsp", ["--server", NAME]).unheard().keeping_stdout().start().wait();
        let text = String::from_utf8_lossy(&listing.stdout).into_owned();
        text.lines().filter(|line| line.starts_with(beginning)).map(str::to_owned).collect()
    }

    /// Waits until a client has that many ports.
    #[track_caller]
    pub fn wait_for_ports(&self, client: &str, count: usize) {
        wait::until(format!("{count} ports of {client}"), || (self.ports(client).len() >= count).then_some(()));
    }

    /// Plays a stereo sound into the input ports of a client.
    #[track_caller]
    pub fn play(&self, audio: &Audio, client: &str) -> Program {
        let path = self.folder.path().join("play.wav");
        Audio::silence(0.5, audio.rate, audio.channels).then(audio).write_wav(&path, 24);
        let source = format!("location={}", path.display());
        let pattern = format!("port-pattern={client}:.*");
        let pipeline = ["filesrc", &source, "!", "wavparse", "!", "audioconvert", "!", "audioresample", "!"];
        let sink = ["jackaudiosink", "client-name=reference", &pattern, "buffer-time=200000"];
        other("gst-launch-1.0", pipeline.iter().chain(&sink)).environment(&self.environment()).start()
    }

    /// Records the output ports of a client, stereo.
    #[track_caller]
    pub fn record(&self, client: &str) -> Recorder {
        let path = self.folder.path().join(format!("record-{client}.raw"));
        let target = format!("location={}", path.display());
        let source = ["jackaudiosrc", "client-name=recorder", "connect=none", "buffer-time=200000", "!"];
        let pipeline = ["audio/x-raw,format=F32LE,channels=2", "!", "filesink", "buffer-mode=unbuffered", &target];
        let program = other("gst-launch-1.0", source.iter().chain(&pipeline)).environment(&self.environment()).start();
        let recorder = Recorder { program, path };
        recorder.wait_for_seconds(0.1);
        for (output, input) in self.ports(&format!("{client}:")).iter().zip(self.ports("recorder:")) {
            other("jack_connect", ["--server", NAME, output, &input]).start().wait().assert_code(0);
        }
        recorder
    }
}

impl Drop for Jack {
    fn drop(&mut self) {
        self.server.take().map(Program::interrupt);
    }
}

/// What a program must have in its environment to find the test's server and no other.
pub fn environment() -> Vec<(&'static str, String)> {
    leading_to(NAME)
}

/// What a program must have in its environment to find no server.
pub fn environment_of_none() -> Vec<(&'static str, String)> {
    leading_to("audiostreamer-nowhere")
}

fn leading_to(name: &str) -> Vec<(&'static str, String)> {
    let one = || "1".into();
    vec![
        ("JACK_DEFAULT_SERVER", name.into()),
        ("JACK_NO_START_SERVER", one()),
        ("JACK_NO_AUDIO_RESERVATION", one()), // no D-Bus needed
    ]
}

/// A running recording of 32-bit floats, 48 kHz stereo.
pub struct Recorder {
    program: Program,
    path: PathBuf,
}

impl Recorder {
    /// Ends it once it is `seconds` longer than now; what was heard.
    #[track_caller]
    pub fn recorded(self, seconds: f64) -> Audio {
        self.wait_for_seconds(self.seconds() + seconds);
        self.program.interrupt();
        Audio::from_f32le(&std::fs::read(&self.path).expect("it is there"), RATE, 2)
    }

    #[track_caller]
    fn wait_for_seconds(&self, seconds: f64) {
        wait::until(format!("{seconds} s recorded from JACK"), || (self.seconds() >= seconds).then_some(()));
    }

    fn seconds(&self) -> f64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len()) as f64 / f64::from(RATE * 8)
    }
}
