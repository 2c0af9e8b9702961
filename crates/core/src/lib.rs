//! The pure core of AudioStreamer.
mod time;
pub use time::{Instant, MediaTime, duration_of, frames_in};
