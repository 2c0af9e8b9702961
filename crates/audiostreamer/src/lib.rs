//! AudioStreamer: a live audio link.
pub mod clock;
pub mod device;
