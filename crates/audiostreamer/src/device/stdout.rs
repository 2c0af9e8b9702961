//! Standard output, or any other pipe, as a sink: WAV that is open-ended, or raw samples.
//!
//! A reader that stands still never holds us up: half a second waits for it, then that is
//! dropped. One that goes away ends the sink.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::file_error::FileError;
use super::running::Running;
use super::sink_format::{Container, SinkFormat};
use super::written_sink::{self, End, Feed, Plan};
use super::{Notice, Render, Shape, Wanted, wav_header};

/// Renders in real time and writes it to standard output.
///
/// [`Notice::Ended`] comes when nobody reads it any more. `SIGPIPE` must be ignored, as it is in
/// every Rust program that does not change it.
pub fn start(
    format: SinkFormat,
    wanted: Wanted,
    make: impl FnMut(&Shape) -> Render + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(FileError::StdoutIsTerminal);
    }
    // Not through `Stdout`, which would look for ends of lines in it.
    let output = stdout.as_fd().try_clone_to_owned().map_err(write_error)?;
    start_to(output, format, wanted, make, notify)
}

/// The same with another pipe or socket than standard output.
pub fn start_to(
    output: impl Into<OwnedFd>,
    format: SinkFormat,
    wanted: Wanted,
    make: impl FnMut(&Shape) -> Render + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let output = Output { file: File::from(output.into()) };
    let samples = format.samples(&wanted);
    let header = match format.container {
        Container::Wav => wav_header::of_stream(&samples),
        Container::Raw => Vec::new(),
    };
    let plan = Plan { name: NAME.into(), format: samples, wanted, patience: PATIENCE };
    written_sink::start(plan, make, notify, move |feed| match write(output, header, feed) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(End::NobodyReads),
        other => other.map_err(write_error),
    })
}

fn write(mut output: Output, header: Vec<u8>, feed: &Feed<impl Fn(Notice)>) -> io::Result<End> {
    let mut bytes = header;
    loop {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match output.write(rest)? {
                0 if feed.is_finished() => return Ok(End::Stopped), // the reader had its chance
                0 => feed.tell_missing(),
                written => rest = &rest[written..],
            }
        }
        if !feed.next(1, PIPE_BUF, &mut bytes) {
            return Ok(End::Stopped);
        }
    }
}

/// A pipe that never blocks for long.
struct Output {
    file: File,
}

impl Output {
    /// Writes as much as the pipe has room for, nothing if it has none for [`STOP_CHECK`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let timeout = Timespec::try_from(STOP_CHECK).ok();
        let mut polled = [PollFd::new(&self.file, PollFlags::OUT)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(0),
            // Also with nobody to read it: then this write tells.
            Ok(_) => match self.file.write(&bytes[..bytes.len().min(PIPE_BUF)]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
                written => written,
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn write_error(cause: io::Error) -> FileError {
    FileError::Write { name: NAME.into(), cause }
}

const NAME: &str = "standard output";
/// More than a program needs to get going; what it is behind by, everyone hears later by.
const PATIENCE: Duration = Duration::from_millis(500);
/// A pipe that has room for anything takes this many bytes without blocking (pipe(7)).
const PIPE_BUF: usize = 4096;
/// How soon a stop is noticed while nobody reads.
const STOP_CHECK: Duration = Duration::from_millis(100);
