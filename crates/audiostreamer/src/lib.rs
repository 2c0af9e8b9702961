//! AudioStreamer: a live audio link.
pub mod capture;
pub mod cli;
pub mod client;
pub mod clock;
pub mod demo;
pub mod device;
pub mod error;
pub mod link;
pub mod random;
pub mod report;
pub mod sdp;
pub mod server;
