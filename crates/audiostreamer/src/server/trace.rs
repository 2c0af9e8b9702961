//! `--trace`: writes what arrives and what becomes of it into a file that can be replayed.
//!
//! The server's loop and the card's callback put lines into bounded rings; a thread of its own brings them
//! in order and writes them. What finds no room is counted, and told in the trace.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiostreamer_core::Instant;
use audiostreamer_core::trace::{HEADER, Line, Record};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::clock;
use crate::device::file_error::FileError;
use crate::device::{self, Shape};
use crate::report::{Event, Report};

/// So often it is written: as much is lost when the program is killed, twice.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// Lines of the loop between two writes: 20,000 a second, and at most 1 MB/s. Sixteen clients with the
/// shortest packets are 13,000.
const LINES: usize = 2_000;

/// Blocks that the card asked for between two writes, and while the thread is held up: four seconds at
/// the shortest periods.
const ASKED: usize = 8_192;

/// A trace that is being written; dropping it writes what is left.
#[derive(Debug)]
pub(super) struct Trace {
    tracer: Tracer,
    cards: Sender<Card>,
    stop: Arc<AtomicBool>,
    writing: Option<JoinHandle<()>>,
}

/// The end that is in the server's loop.
#[derive(Clone, Debug)]
pub(super) struct Tracer {
    lines: SyncSender<Line>,
    missing: Arc<AtomicU64>,
}

/// A card that was opened, and what it asks for.
#[derive(Debug)]
struct Card {
    opened: Line,
    asked: Consumer<Asked>,
}

/// The end that is in the card's callback.
pub(super) struct Asking(Producer<Asked>);

#[derive(Debug)]
struct Asked {
    at: Instant,
    frames: u32,
}

impl Trace {
    /// Starts one where one is wanted.
    pub fn of(
        path: Option<&Path>,
        report: &(impl Fn(Report) + Send + Clone + 'static),
    ) -> Result<Option<Self>, device::Error> {
        Ok(path.map(|path| Self::start(path, report.clone())).transpose()?)
    }

    /// Creates or replaces the file at `path`.
    fn start(path: &Path, report: impl Fn(Report) + Send + 'static) -> Result<Self, FileError> {
        let failed = |cause| FileError::Create { path: path.into(), cause };
        let mut file = File::create(path).map_err(failed)?;
        file.write_all(format!("{HEADER}\n").as_bytes()).map_err(failed)?;
        let (lines, of_loop) = sync_channel(LINES);
        let (cards, new_cards) = channel();
        let (missing, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let tracer = Tracer { lines, missing: missing.clone() };
        let mut writer = Writer {
            path: path.into(),
            file,
            start: clock::now(),
            of_loop,
            new_cards,
            missing,
            asked: None,
            waiting: Vec::new(),
        };
        let stopped = stop.clone();
        let write = move || {
            loop {
                let last = stopped.load(Ordering::Acquire); // asked before the rings are emptied
                if let Err(error) = writer.write(last) {
                    return report(Report::Event(Event::TraceEnded { why: error.to_string() }));
                }
                if last {
                    return;
                }
                thread::park_timeout(WRITE_INTERVAL);
            }
        };
        let writing = thread::Builder::new().name("trace".into()).spawn(write).map_err(FileError::Thread)?;
        Ok(Self { tracer, cards, stop, writing: Some(writing) })
    }

    /// For the loop.
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// For the callbacks of the cards that are opened.
    pub fn cards(&self) -> impl Fn(&Shape) -> Asking + Send + use<> {
        let cards = self.cards.clone();
        move |&Shape { rate, channels, .. }| {
            let (asking, asked) = RingBuffer::new(ASKED);
            let opened = Line { at: clock::now(), record: Record::Card { rate, channels } };
            let _ = cards.send(Card { opened, asked }); // a trace that has failed has told so
            Asking(asking)
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(writing) = self.writing.take() {
            writing.thread().unpark();
            let _ = writing.join(); // it has told what it could not do
        }
    }
}

impl Tracer {
    /// Takes a line; never waits.
    pub fn trace(&self, at: Instant, record: Record) {
        if self.lines.try_send(Line { at, record }).is_err() {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Asking {
    /// Takes a block that is asked for. Never allocates, frees, locks or waits.
    pub fn ask(&mut self, at: Instant, frames: usize) {
        let _ = self.0.push(Asked { at, frames: frames as u32 }); // seconds behind: it is no use any more
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    start: Instant,
    of_loop: Receiver<Line>,
    new_cards: Receiver<Card>,
    missing: Arc<AtomicU64>,
    asked: Option<Consumer<Asked>>,
    /// What may yet be overtaken by what the other ring holds.
    waiting: Vec<Line>,
}

impl Writer {
    fn write(&mut self, last: bool) -> Result<(), FileError> {
        let now = clock::now();
        self.waiting.extend(self.of_loop.try_iter());
        self.take_asked();
        while let Ok(card) = self.new_cards.try_recv() {
            self.waiting.push(card.opened);
            self.asked = Some(card.asked);
            self.take_asked();
        }
        match self.missing.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => self.waiting.push(Line { at: now, record: Record::Missing { lines } }),
        }
        self.waiting.sort_by_key(|line| line.at); // stable: what is of one moment stays as it came
        let ready =
            if last { self.waiting.len() } else { self.waiting.partition_point(|line| line.at + WRITE_INTERVAL < now) };
        let mut text = String::new();
        for line in self.waiting.drain(..ready) {
            let since = Instant::default() + (line.at - self.start);
            text.push_str(&Line { at: since, ..line }.to_string());
            text.push('\n');
        }
        let name = || self.path.display().to_string();
        self.file.write_all(text.as_bytes()).map_err(|cause| FileError::Write { name: name(), cause })
    }

    fn take_asked(&mut self) {
        let Some(asked) = &mut self.asked else { return };
        while let Ok(Asked { at, frames }) = asked.pop() {
            self.waiting.push(Line { at, record: Record::Asked { frames } });
        }
    }
}
