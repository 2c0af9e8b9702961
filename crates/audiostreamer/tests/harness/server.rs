//! Our server with a recording as its output, and our client at it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::audio::Audio;
use super::program::{Ended, Launch, Program, ours};
use super::{port, wait};

/// The playout delay where every sample is compared: more than a busy machine holds packets up.
pub const SAFE: &str = "--latency=500ms";

/// Longer than that delay, in seconds.
pub const SAFELY_LATER: f64 = 0.7;

/// A running server that records what it plays.
pub struct Server {
    pub program: Program,
    pub port: u16,
    recording: PathBuf,
    _folder: TempDir,
}

impl Server {
    /// Starts one at a free port, with further options.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        Self::start_at(port::free(), options)
    }

    #[track_caller]
    pub fn start_at(port: u16, options: &[&str]) -> Self {
        Self::start_at_home(None, port, options)
    }

    /// Starts one with a home of its own, see [`Launch::at_home`](super::program::Launch::at_home).
    #[track_caller]
    pub fn start_at_home(home: Option<&Path>, port: u16, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let recording = folder.path().join("out.wav");
        let listen = format!("--listen=127.0.0.1:{port}");
        let output = format!("--output={}", recording.display());
        let launch = ours(["server", &listen, &output, SAFE].iter().chain(options));
        let program = home.into_iter().fold(launch, Launch::at_home).start();
        program.wait_for_line("listening on");
        Self { program, port, recording, _folder: folder }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until so many clients have begun to play.
    #[track_caller]
    pub fn wait_for_client(&self, count: usize) {
        self.program.wait_for_lines(", over ", count);
    }

    /// Waits until all that the ended client had sent has been played. The server plays on its
    /// own clock, so the recording tells how far it is.
    #[track_caller]
    pub fn finish_client(&self, count: usize) {
        self.program.wait_for_lines("has ended", count);
        self.play_out();
    }

    /// Waits until all that has arrived has been played.
    #[track_caller]
    pub fn play_out(&self) {
        self.play_on(SAFELY_LATER);
    }

    /// Waits until the recording is so many seconds longer.
    #[track_caller]
    pub fn play_on(&self, seconds: f64) {
        wait_for_growth(&self.recording, seconds);
    }

    /// Ends it as Ctrl-C does; the recording.
    #[track_caller]
    pub fn stop(self) -> Audio {
        self.stop_and_tell().0
    }

    /// As [`stop`](Self::stop), with what it has said.
    #[track_caller]
    pub fn stop_and_tell(self) -> (Audio, Ended) {
        let Server { program, recording, _folder, .. } = self;
        let ended = program.interrupt();
        ended.assert_no_panic();
        ended.assert_code(0);
        (Audio::read_wav(&recording), ended)
    }

    /// Kills it at once; what is left of the recording.
    #[track_caller]
    pub fn kill(self) -> Audio {
        let Server { program, recording, _folder, .. } = self;
        program.kill();
        Audio::read_wav(&recording)
    }
}

/// A file for a client to play, and the client's command line.
pub struct Input {
    pub path: PathBuf,
    _folder: TempDir,
}

impl Input {
    /// A WAV file of 16 or 24 bits.
    pub fn wav(audio: &Audio, bits: u16) -> Self {
        Self::new("in.wav", |path| audio.write_wav(path, bits))
    }

    pub fn new(name: &str, write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join(name);
        write(&path);
        Self { path, _folder: folder }
    }

    /// Starts our client with it.
    #[track_caller]
    pub fn stream_to(&self, address: &str, options: &[&str]) -> Program {
        let input = format!("--input={}", self.path.display());
        ours(["client", address, &input].iter().chain(options)).start()
    }

    /// Streams it to its end; the client must think that all went well.
    #[track_caller]
    pub fn stream_all_to(&self, address: &str, options: &[&str]) -> Ended {
        let ended = self.stream_to(address, options).wait();
        ended.assert_no_panic();
        ended.assert_code(0);
        ended
    }
}

/// Streams `input` through a server and a client with those options; what was recorded.
#[track_caller]
pub fn record(input: &Input, server: &[&str], client: &[&str]) -> Audio {
    let server = Server::start(server);
    input.stream_all_to(&server.address(), client);
    server.finish_client(1);
    server.stop()
}

/// Waits until the WAV file is so many seconds longer than it is.
#[track_caller]
pub fn wait_for_growth(path: &Path, seconds: f64) {
    let bytes_per_second = wait::until(format!("a header in {}", path.display()), || byte_rate(path));
    let length = || std::fs::metadata(path).map_or(0, |file| file.len());
    let goal = length() + (seconds * f64::from(bytes_per_second)) as u64;
    wait::until(format!("{seconds} s more in {}", path.display()), || (length() >= goal).then_some(()));
}

/// How long the sound in the WAV file is, as far as it has been written.
pub fn recorded_seconds(path: &Path) -> Option<f64> {
    let length = std::fs::metadata(path).ok()?.len().checked_sub(HEADER_BYTES)?;
    Some(length as f64 / f64::from(byte_rate(path)?))
}

/// What our files begin with, nearly: what is more is less than a frame of time.
const HEADER_BYTES: u64 = 44;

/// What a second takes, out of the header's `fmt` chunk; `None` while there is none.
fn byte_rate(path: &Path) -> Option<u32> {
    let bytes = std::fs::read(path).ok()?;
    let fmt = bytes.windows(4).position(|id| id == b"fmt ")?;
    Some(u32::from_le_bytes(*bytes.get(fmt + 16..)?.first_chunk()?))
}
