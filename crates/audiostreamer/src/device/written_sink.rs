//! What files and pipes that we write share: one thread renders and encodes in real time, another
//! writes, so that a slow disk or reader never holds up the rendering.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use audiostreamer_core::codec::pcm;

use super::byte_queue::{ByteQueue, Missing};
use super::file_error::FileError;
use super::pcm_format::PcmFormat;
use super::running::Running;
use super::{Gap, Notice, Render, Shape, Wanted, pace, paced_sink};

/// What is to be rendered and how it is written.
pub struct Plan {
    pub name: String,
    pub format: PcmFormat,
    pub wanted: Wanted,
    /// How much sound may wait for the writer.
    pub patience: Duration,
}

/// Why a writer has ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All is written.
    Stopped,
    NobodyReads,
}

/// Starts both threads; `write` is the body of the one that writes.
pub fn start<N: Fn(Notice) + Send + 'static>(
    plan: Plan,
    mut make: impl FnMut(&Shape) -> Render,
    notify: N,
    write: impl FnOnce(&Feed<N>) -> Result<End, FileError> + Send + 'static,
) -> Result<Running, FileError> {
    let Plan { name, format, wanted, patience } = plan;
    let period = pace::period(wanted.period, format.rate);
    let shape = Shape { rate: format.rate, channels: format.channels, period };
    let render = make(&shape);
    let limit = (format.byte_rate() as f64 * patience.as_secs_f64()) as usize;
    let queue = Arc::new(ByteQueue::new(limit));
    let stop = Arc::new(AtomicBool::new(false));

    let feed = Feed { queue: queue.clone(), notify, frame_bytes: format.frame_bytes() };
    let writing = thread::Builder::new()
        .name("write".into())
        .spawn(move || {
            (feed.notify)(Notice::Opened { name, shape });
            feed.finish(write(&feed));
        })
        .map_err(FileError::Thread)?;
    let stopped = stop.clone();
    let rendering = thread::Builder::new()
        .name("render".into())
        .spawn(move || render_into(&queue, &format, &shape, render, &stopped))
        .map_err(FileError::Thread)?;
    Ok(Running::new(stop, vec![rendering, writing]))
}

fn render_into(queue: &ByteQueue, format: &PcmFormat, shape: &Shape, render: Render, stop: &AtomicBool) {
    let mut bytes = Vec::with_capacity(shape.period * format.frame_bytes());
    paced_sink::run(shape, render, stop, |block, skipped| {
        bytes.clear();
        pcm::encode(format.encoding, block, &mut bytes);
        match queue.push(&bytes, skipped) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    queue.finish();
}

/// Where a writer gets its bytes from; tells of what is missing in them.
pub struct Feed<N> {
    queue: Arc<ByteQueue>,
    notify: N,
    frame_bytes: usize,
}

impl<N: Fn(Notice)> Feed<N> {
    /// Waits for `at_least` bytes or the end, then moves up to `at_most`, rounded down to whole
    /// frames, into `bytes`. False at the end.
    pub fn next(&self, at_least: usize, at_most: usize, bytes: &mut Vec<u8>) -> bool {
        let at_most = at_most / self.frame_bytes * self.frame_bytes;
        let Some(missing) = self.queue.take(at_least, at_most, bytes) else {
            return false;
        };
        self.tell(missing);
        true
    }

    /// Tells of what is missing while the reader keeps us waiting.
    pub fn tell_missing(&self) {
        self.tell(self.queue.take_missing());
    }

    /// Whether the sink is being stopped, and only the rest is to be written.
    pub fn is_finished(&self) -> bool {
        self.queue.is_finished()
    }

    fn tell(&self, missing: Missing) {
        Gap::stalled(missing.skipped, &self.notify);
        if missing.dropped > 0 {
            let frames = (missing.dropped / self.frame_bytes) as u64;
            (self.notify)(Notice::Gap(Gap::Dropped { frames }));
        }
    }

    fn finish(&self, end: Result<End, FileError>) {
        self.queue.abandon();
        match end {
            Ok(End::Stopped) => {}
            Ok(End::NobodyReads) => (self.notify)(Notice::Ended),
            Err(error) => (self.notify)(Notice::Failed(error.into())),
        }
    }
}
