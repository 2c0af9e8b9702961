//! Standard input, or any other pipe, as a source: WAV, which says what it is, or raw samples.
//!
//! A pipe is read no faster than real time, so that `cat song.wav |` plays at the right speed.
//! But behind it may be a card with a clock of its own (`arecord |`), and reading it any slower
//! than it runs would let sound pile up in the pipe and delay it for good. So while there is
//! something to read, it is read 200 millionths faster than our clock, more than cards differ;
//! the pipe of a card then runs dry now and then, which costs nothing: reading goes on when the
//! next samples are there. Nobody hears 200 millionths (a third of a cent). What a card has said by the
//! time that reading begins is old and is read at once, or it would stay as delay for minutes.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use audiostreamer_core::duration_of;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PIPE_BUF;

use crate::clock;

use super::file_error::FileError;
use super::pace::{self, Pace};
use super::pcm_format::PcmFormat;
use super::pcm_reader::{PcmReader, fill};
use super::running::Running;
use super::wav_read::{self, Length, MAGIC_BYTES, WavError};
use super::{Capture, Gap, Notice, Shape, Wanted};

/// Plays standard input: WAV if it begins as WAV, else raw samples as `declared`.
///
/// It is [`Notice::Opened`] when the first bytes have come, and [`Notice::Failed`] if they are
/// neither. Of `wanted`, only the period counts.
pub fn start(
    declared: Option<PcmFormat>,
    wanted: Wanted,
    make: impl FnMut(&Shape) -> Capture + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(FileError::StdinIsTerminal);
    }
    // Not through `Stdin`: what it buffers, `poll` does not see.
    let input = stdin.as_fd().try_clone_to_owned().map_err(read_error)?;
    start_from(input, declared, wanted, make, notify)
}

/// The same with another pipe, file or socket than standard input.
pub fn start_from(
    input: impl Into<OwnedFd>,
    declared: Option<PcmFormat>,
    wanted: Wanted,
    mut make: impl FnMut(&Shape) -> Capture + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let stop = Arc::new(AtomicBool::new(false));
    let input = Input { file: File::from(input.into()), stop: stop.clone(), begin: Vec::new(), waited: false };
    let stopped = stop.clone();
    let thread = thread::Builder::new()
        .name("pipe".into())
        .spawn(move || {
            let end = play(input, declared, wanted, &mut make, &notify);
            if !stopped.load(Ordering::Acquire) {
                notify(end.map_or_else(|error| Notice::Failed(error.into()), |()| Notice::Ended));
            }
        })
        .map_err(FileError::Thread)?;
    Ok(Running::new(stop, vec![thread]))
}

fn play(
    input: Input,
    declared: Option<PcmFormat>,
    wanted: Wanted,
    make: &mut impl FnMut(&Shape) -> Capture,
    notify: &impl Fn(Notice),
) -> Result<(), FileError> {
    let stop = input.stop.clone();
    let mut reader = open(input, declared)?;
    let PcmFormat { rate, channels, .. } = reader.format();
    let shape = Shape { rate, channels, period: pace::period(wanted.period, rate) };
    let mut capture = make(&shape);
    notify(Notice::Opened { name: NAME.into(), shape });
    let waiting = reader.input().waits_live() / reader.format().frame_bytes() as u64;
    let begin = clock::now() - duration_of(waiting, rate).min(BURST);
    let mut pace = Pace::new(rate, begin).faster_by(FASTER_PPM).catching_up(BURST);
    let mut samples = Vec::new();
    while let Some(tick) = pace.wait(&stop) {
        Gap::stalled(tick.skipped, notify);
        reader.read(shape.period, &mut samples).map_err(read_error)?;
        if samples.is_empty() {
            break;
        }
        if reader.input().ran_dry() {
            // It gives the pace: no hurry to make up for the time without samples.
            pace.restart(clock::now());
        }
        capture(&samples, tick.late);
        pace.advance(samples.len() / usize::from(channels));
    }
    Ok(())
}

fn open(mut input: Input, declared: Option<PcmFormat>) -> Result<PcmReader<Input>, FileError> {
    let mut begin = [0; MAGIC_BYTES];
    let read = fill(&mut input, &mut begin).map_err(read_error)?;
    input.put_back(&begin[..read]);
    match declared {
        _ if read == 0 => Err(FileError::StdinEmpty),
        _ if wav_read::is_wav(&begin[..read]) => open_wav(input),
        Some(format) => Ok(PcmReader::new(input, format, Length::UntilEnd)),
        None => Err(FileError::StdinUndeclared),
    }
}

fn open_wav(mut input: Input) -> Result<PcmReader<Input>, FileError> {
    match wav_read::header(&mut input) {
        Ok(wav) => Ok(PcmReader::new(input, wav.format, wav.data)),
        Err(WavError::Unsupported(what)) => Err(FileError::StdinUnsupported { what }),
        Err(WavError::Io(cause)) => Err(read_error(cause)),
        Err(error) => Err(FileError::Damaged { name: NAME.into(), why: error.to_string() }),
    }
}

/// A pipe that ends when it is stopped, even while nobody writes to it.
struct Input {
    file: File,
    stop: Arc<AtomicBool>,
    /// What has been read to see what it is, and is to be read again.
    begin: Vec<u8>,
    waited: bool,
}

impl Input {
    fn put_back(&mut self, bytes: &[u8]) {
        self.begin.extend(bytes);
    }

    /// Whether it had nothing to read at some time since the last call.
    fn ran_dry(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }

    /// Bytes that wait to be read, where somebody writes them as they are captured: what is full or has ended was
    /// there before its time, and none of it is old. That there was nothing to read before is forgotten.
    fn waits_live(&mut self) -> u64 {
        self.waited = false;
        let fds = &mut [PollFd::new(&self.file, PollFlags::IN)];
        let ended = poll(fds, Some(&Timespec::default())).is_err() || fds[0].revents().contains(PollFlags::HUP);
        match (rustix::pipe::fcntl_getpipe_size(&self.file), rustix::io::ioctl_fionread(&self.file)) {
            (Ok(size), Ok(waiting)) if !ended && waiting + PIPE_BUF as u64 <= size as u64 => {
                waiting + self.begin.len() as u64
            }
            _ => 0,
        }
    }

    fn is_ready(&self, within: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(within).ok();
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0), // also at its end, and with an error that `read` tells
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begin.is_empty() {
            let read = (&self.begin[..]).read(buffer)?;
            self.begin.drain(..read);
            return Ok(read);
        }
        let mut patience = Duration::ZERO;
        while !self.stop.load(Ordering::Acquire) {
            if self.is_ready(patience)? {
                match self.file.read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => return read,
                }
            }
            self.waited = true;
            patience = STOP_CHECK;
        }
        Ok(0)
    }
}

fn read_error(cause: io::Error) -> FileError {
    FileError::Read { name: NAME.into(), cause }
}

const NAME: &str = "standard input";
/// Sound cards are within 100 millionths of their rate, seldom within 200.
const FASTER_PPM: u32 = 200;
/// What comes from a card while this machine is busy waits in the pipe, and would wait there for
/// hours: it is read at once. A pipe of 64 KiB holds a third of a second of 48 kHz stereo.
const BURST: Duration = Duration::from_secs(1);
/// How soon a stop is noticed while the pipe is silent.
const STOP_CHECK: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};

    use super::*;

    fn holding(bytes: usize) -> (Input, PipeWriter) {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&vec![0; bytes]).unwrap();
        let file = File::from(OwnedFd::from(reader));
        (Input { file, stop: Arc::default(), begin: vec![0; 4], waited: true }, writer)
    }

    #[test]
    fn only_what_somebody_writes_as_it_is_captured_is_old() {
        let (mut live, writer) = holding(3_200);
        assert_eq!(live.waits_live(), 3_204);
        assert!(!live.ran_dry());
        drop(writer);
        assert_eq!(live.waits_live(), 0, "it was short and is over");
        let (mut full, _writer) = holding(65_536);
        assert_eq!(full.waits_live(), 0, "a file");
    }
}
