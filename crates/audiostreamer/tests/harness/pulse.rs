//! A PulseAudio daemon of the test's own, with null sinks for sound cards.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use super::audio::Audio;
use super::program::{Launch, Program, other};
use super::turn::Turn;
use super::wait;

/// The programs that this needs.
pub const PROGRAMS: [&str; 4] = ["pulseaudio", "pactl", "pacat", "parec"];

/// Of all sinks.
const FORMAT: &str = "rate=48000 channels=2 format=float32le norewinds=1";

/// A running daemon that nobody else knows. What its first sink plays is heard on that sink's
/// monitor, which is the default input; its last sink is the default output. The sink `room` is
/// described as `Room`.
pub struct Pulse {
    daemon: Program,
    sinks: Vec<String>,
    home: PathBuf,
    /// Where nobody else has given it a home.
    folder: Option<TempDir>,
    _turn: Turn,
}

impl Pulse {
    #[track_caller]
    pub fn start(sinks: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let mut pulse = Self::start_in(folder.path(), sinks);
        pulse.folder = Some(folder);
        pulse
    }

    /// Starts it where [`environment`] leads with that home.
    #[track_caller]
    pub fn start_in(home: &Path, sinks: &[&str]) -> Self {
        let sinks: Vec<String> = sinks.iter().map(|sink| sink.to_string()).collect();
        let turn = Turn::take();
        let daemon = start_daemon(&sinks, home);
        let pulse = Self { daemon, sinks, home: home.into(), folder: None, _turn: turn };
        pulse.set_up();
        pulse
    }

    /// Kills the daemon and starts another in its place, with the same sinks.
    #[track_caller]
    pub fn restart(&mut self) {
        self.crash();
        self.revive();
    }

    /// Kills the daemon.
    #[track_caller]
    pub fn crash(&mut self) {
        self.daemon.signal(Signal::KILL);
        wait::until("the daemon's end", || (!self.daemon.is_running()).then_some(()));
    }

    /// Starts another in place of one that has crashed, with the same sinks.
    #[track_caller]
    pub fn revive(&mut self) {
        self.daemon = start_daemon(&self.sinks, &self.home);
        self.set_up();
    }

    /// Takes a sink away, with its monitor, as when somebody pulls a plug.
    #[track_caller]
    pub fn unplug(&self, sink: &str) {
        let list = other("pactl", ["list", "short", "modules"]).keeping_stdout().environment(&self.environment());
        let list = String::from_utf8(list.start().wait().stdout).expect("it is text");
        let is_it = |line: &&str| line.contains(&format!("sink_name={sink} "));
        let module = list.lines().find(is_it).and_then(|line| line.split_whitespace().next());
        self.run("pactl", &["unload-module", module.unwrap_or_else(|| panic!("{sink} is not there: {list}"))]);
    }

    /// Gives it back, at that rate.
    #[track_caller]
    pub fn plug(&self, sink: &str, rate: u32) {
        let format = FORMAT.replace("48000", &rate.to_string());
        let sink_name = format!("sink_name={sink}");
        self.run("pactl", &["load-module", "module-null-sink", &sink_name, &described_as(sink), &format]);
    }

    /// Has the daemon hang.
    pub fn freeze(&self) {
        self.daemon.signal(Signal::STOP);
    }

    /// Has it go on.
    pub fn thaw(&self) {
        self.daemon.signal(Signal::CONT);
    }

    #[track_caller]
    fn set_up(&self) {
        let (Some(first), Some(last)) = (self.sinks.first(), self.sinks.last()) else { panic!("there is no sink") };
        wait::until("PulseAudio's answer", || self.answers().then_some(()));
        self.run("pactl", &["set-default-source", &format!("{first}.monitor")]);
        self.run("pactl", &["set-default-sink", last]);
    }

    /// What a program must have in its environment to find this daemon and no other.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        environment(&self.home)
    }

    /// Plays a sound into a sink, after and before a moment of silence: a sink that has idled
    /// does not take the first of it at the pace of a card.
    #[track_caller]
    pub fn play(&self, audio: &Audio, sink: &str) -> Program {
        let file = self.home.join(format!("play-{sink}.raw"));
        let silence = Audio::silence(1.0, audio.rate, audio.channels);
        let whole = silence.clone().then(audio).then(&silence);
        std::fs::write(&file, whole.to_f32le()).expect("there is room");
        let format = [format!("--rate={}", audio.rate), format!("--channels={}", audio.channels)];
        let file = file.to_str().expect("it is plain");
        self.launch("pacat", ["--playback", "--raw", "--format=float32le", "--latency-msec=20"], sink)
            .args(format)
            .args([file])
            .start()
    }

    /// Records a source until it is ended, 48 kHz stereo, see [`recorded`].
    #[track_caller]
    pub fn record(&self, source: &str) -> Program {
        let options = ["--raw", "--format=float32le", "--rate=48000", "--channels=2"];
        let recorder = self.launch("parec", options, source).args(["--latency-msec=20"]).keeping_stdout().start();
        recorder.wait_for_stdout(1);
        recorder
    }

    /// Whether the daemon has something of that kind that is called so.
    #[track_caller]
    pub fn lists(&self, what: &str, name: &str) -> bool {
        let list = other("pactl", ["list", what]).keeping_stdout().environment(&self.environment()).start().wait();
        list.assert_code(0);
        String::from_utf8_lossy(&list.stdout).contains(name)
    }

    fn launch(&self, program: &str, options: [&str; 4], device: &str) -> Launch {
        other(program, options).args([format!("--device={device}")]).environment(&self.environment())
    }

    fn answers(&self) -> bool {
        Path::new(&socket(&self.home)).exists()
            && other("pactl", ["info"]).unheard().environment(&self.environment()).start().wait().status.success()
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) {
        other(program, arguments).environment(&self.environment()).start().wait().assert_code(0);
    }
}

/// Ends a [`Pulse::record`] once it is `seconds` longer than now; what was heard.
#[track_caller]
pub fn recorded(recorder: Program, seconds: f64) -> Audio {
    recorder.wait_for_stdout(recorder.stdout_len() + (seconds * 48_000.0 * 8.0) as usize);
    Audio::from_f32le(&recorder.interrupt().stdout, 48_000, 2)
}

fn start_daemon(sinks: &[String], home: &Path) -> Program {
    let options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm"];
    let options = options.iter().chain(&["--log-target=stderr", "--realtime=no", "--high-priority=no"]);
    let sinks =
        sinks.iter().map(|name| format!("--load=module-null-sink sink_name={name} {} {FORMAT}", described_as(name)));
    // What a daemon that was killed has left behind would stop the next one.
    let _ = std::fs::remove_file(socket(home));
    let door = format!("--load=module-native-protocol-unix auth-anonymous=1 socket={}", socket(home));
    let arguments = options.map(|option| option.to_string()).chain(sinks).chain([door]);
    other("pulseaudio", arguments).environment(&environment(home)).start()
}

/// With a capital letter, so that it is told from the name.
fn described_as(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("sink_properties=device.description={}{rest}", first.to_uppercase())
}

fn socket(home: &Path) -> String {
    format!("{}/native", home.display())
}

/// What a program must have in its environment to find the daemon with that home and no other.
pub fn environment(home: &Path) -> Vec<(&'static str, String)> {
    let home_text = home.display().to_string();
    vec![
        ("HOME", home_text.clone()),
        ("XDG_RUNTIME_DIR", home_text.clone()),
        ("XDG_CONFIG_HOME", home_text.clone()),
        ("PULSE_RUNTIME_PATH", home_text.clone()),
        ("PULSE_STATE_PATH", home_text.clone()),
        ("PULSE_SERVER", format!("unix:{}", socket(home))),
        // ALSA's default device leads to the daemon, for programs that know only ALSA.
        ("ALSA_CONFIG_PATH", alsa_config(home)),
        ("DBUS_SESSION_BUS_ADDRESS", "disabled:".into()),
    ]
}

fn alsa_config(home: &Path) -> String {
    let path = home.join("asound.conf");
    let text = "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n";
    if !path.exists() {
        std::fs::write(&path, text).expect("there is room");
    }
    path.display().to_string()
}
