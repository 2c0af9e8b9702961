//! Where samples come from and where they go: sound cards, files, pipes, tones.
//!
//! All of them look the same from inside. A *source* calls a [`Capture`] with each block of
//! samples, a *sink* calls a [`Render`] for each block that it needs; both at the pace of the
//! card, or of real time where there is no card. Samples are interleaved `f32`, full scale 1.0.
//!
//! A source or sink that dies (unplugged, its sound server stopped) is opened again with
//! backoff, each time with a fresh [`Capture`] or [`Render`] made for the [`Shape`] that the
//! device then has; what happens is told by [`Notice`]s. Dropping [`Running`] stops it and
//! releases everything.

use std::time::Duration;

/// What one open stream of samples looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    /// Frames that a callback usually moves. Only a hint: callbacks may be of any size.
    pub period: usize,
}

/// What the caller would like; a device that can't gives what it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub rate: Option<u32>,
    pub channels: Option<u16>,
    /// Frames per callback.
    pub period: Option<usize>,
}

/// Takes a block of captured frames (interleaved) and how long ago its first frame was heard by
/// the card. Runs on the device's thread: it never allocates, frees, locks, logs or waits.
pub type Capture = Box<dyn FnMut(&[f32], Duration) + Send>;

/// Writes every sample of a block (interleaved) that will be heard after the given time. Runs on
/// the device's thread: it never allocates, frees, locks, logs or waits.
pub type Render = Box<dyn FnMut(&mut [f32], Duration) + Send>;

/// What happens to a source or sink while it runs.
#[derive(Debug)]
pub enum Notice {
    /// It is open (again), under this name.
    Opened { name: String, shape: Shape },
    /// It is gone and will be tried again until it is back.
    Lost { name: String, why: String },
    /// The file or pipe has come to its end: there is nothing more to capture, or nobody reads
    /// what is rendered. It will not come back.
    Ended,
    /// It can't go on and will not be tried again.
    Failed(Error),
}
