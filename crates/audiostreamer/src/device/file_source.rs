//! Sound files as a source: decoded about a second ahead on one thread, played in real time on
//! another.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::clock;

use super::decode::{Decoder, Sound, name};
use super::file_error::FileError;
use super::pace::{self, Pace};
use super::running::Running;
use super::{Capture, Gap, Notice, Shape, Wanted};

/// Plays the file at `path` once, at its own rate and with its own channels; of `wanted`, only
/// the period counts. [`Notice::Ended`] comes when the last block has had its time.
///
/// Where the sound changes its shape on the way (songs strung together in one Ogg file), it is
/// [`Notice::Opened`] again with a fresh [`Capture`].
pub fn start(
    path: &Path,
    wanted: Wanted,
    make: impl FnMut(&Shape) -> Capture + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let decoder = Decoder::open(path)?;
    let (sender, decoded) = sync_channel(BLOCKS_AHEAD);
    let stop = Arc::new(AtomicBool::new(false));
    let player = Player { name: name(path), wanted, make, notify, stop: stop.clone() };
    let decoding = thread::Builder::new()
        .name("decode".into())
        .spawn(move || {
            let _ = decode(decoder, wanted, &sender); // fails when stopped: nobody listens
        })
        .map_err(FileError::Thread)?;
    let playing =
        thread::Builder::new().name("file".into()).spawn(move || player.run(&decoded)).map_err(FileError::Thread)?;
    Ok(Running::new(stop, vec![playing, decoding]))
}

/// What the decoding thread has to say.
enum Decoded {
    /// The blocks that follow look like this.
    Sound(Sound),
    Block(Vec<f32>),
    /// Packets left out so far.
    Damaged(u64),
    End(Result<(), FileError>),
}

fn decode(mut decoder: Decoder, wanted: Wanted, sender: &SyncSender<Decoded>) -> Result<(), SendError<Decoded>> {
    let mut sound = decoder.sound();
    let mut pending = Vec::new();
    let mut damaged = 0;
    sender.send(Decoded::Sound(sound))?;
    let end = loop {
        match decoder.next_piece() {
            Ok(Some(piece)) => {
                if piece.sound != sound {
                    sound = piece.sound;
                    sender.send(Decoded::Block(std::mem::take(&mut pending)))?;
                    sender.send(Decoded::Sound(sound))?;
                }
                pending.extend(piece.samples);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        let block = block_frames(sound, wanted) * usize::from(sound.channels);
        while pending.len() >= block {
            let rest = pending.split_off(block);
            sender.send(Decoded::Block(std::mem::replace(&mut pending, rest)))?;
        }
        if decoder.damaged() > damaged {
            damaged = decoder.damaged();
            sender.send(Decoded::Damaged(damaged))?;
        }
    };
    sender.send(Decoded::Block(pending))?;
    sender.send(Decoded::End(end))
}

/// Whole periods, about a tenth of a second: fewer wake-ups for the decoding thread.
fn block_frames(sound: Sound, wanted: Wanted) -> usize {
    let period = pace::period(wanted.period, sound.rate);
    (sound.rate as usize / BLOCKS_AHEAD).next_multiple_of(period)
}

/// The thread that plays what is decoded.
struct Player<M, N> {
    name: String,
    wanted: Wanted,
    make: M,
    notify: N,
    stop: Arc<AtomicBool>,
}

impl<M: FnMut(&Shape) -> Capture, N: Fn(Notice)> Player<M, N> {
    fn run(mut self, decoded: &Receiver<Decoded>) {
        if let Some(last) = self.play(decoded) {
            (self.notify)(last);
        }
    }

    /// Returns the last thing to tell, unless it is stopped.
    fn play(&mut self, decoded: &Receiver<Decoded>) -> Option<Notice> {
        let mut output: Option<Output> = None;
        loop {
            match (self.receive(decoded)?, &mut output) {
                (Decoded::Sound(sound), _) => output = Some(self.open(sound)),
                (Decoded::Block(block), Some(output)) => {
                    output.play(&block, &self.notify, &self.stop)?;
                }
                (Decoded::Block(_), None) => unreachable!("it begins with its shape"),
                (Decoded::Damaged(packets), _) => {
                    (self.notify)(Notice::Gap(Gap::Damaged { packets }));
                }
                (Decoded::End(Ok(())), _) => return Some(Notice::Ended),
                (Decoded::End(Err(error)), _) => return Some(Notice::Failed(error.into())),
            }
        }
    }

    fn open(&mut self, sound: Sound) -> Output {
        let shape =
            Shape { rate: sound.rate, channels: sound.channels, period: pace::period(self.wanted.period, sound.rate) };
        let capture = (self.make)(&shape);
        (self.notify)(Notice::Opened { name: self.name.clone(), shape });
        Output { shape, capture, pace: Pace::new(shape.rate, clock::now()) }
    }

    fn receive(&self, decoded: &Receiver<Decoded>) -> Option<Decoded> {
        while !self.stop.load(Ordering::Acquire) {
            match decoded.recv_timeout(STOP_CHECK) {
                Ok(decoded) => return Some(decoded),
                Err(RecvTimeoutError::Timeout) => {} // the disk is slow
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "its decoder has crashed".into();
                    let error = FileError::Damaged { name: self.name.clone(), why };
                    return Some(Decoded::End(Err(error)));
                }
            }
        }
        None
    }
}

struct Output {
    shape: Shape,
    capture: Capture,
    pace: Pace,
}

impl Output {
    /// Plays `samples` and returns when the time of the last one is over; `None` when stopped.
    fn play(&mut self, samples: &[f32], notify: &impl Fn(Notice), stop: &AtomicBool) -> Option<()> {
        let channels = usize::from(self.shape.channels);
        for block in samples.chunks(self.shape.period * channels) {
            let tick = self.pace.wait(stop)?;
            Gap::stalled(tick.skipped, notify);
            (self.capture)(block, tick.late);
            self.pace.advance(block.len() / channels);
        }
        self.pace.wait(stop).map(|_| ())
    }
}

/// Blocks that are decoded before they are played: with a tenth of a second each, about a second,
/// more than most disks ever keep us waiting.
const BLOCKS_AHEAD: usize = 10;
/// How soon a stop is noticed while the disk keeps us waiting.
const STOP_CHECK: Duration = Duration::from_millis(50);
