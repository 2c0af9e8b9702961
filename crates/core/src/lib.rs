//! The pure core of AudioStreamer.
mod channels;
pub mod codec;
mod error;
mod format;
pub mod framing;
pub mod mixer;
pub mod packet;
pub mod packetizer;
mod payload_types;
pub mod playout;
pub mod raw;
pub mod receiver;
pub mod resample;
pub mod rtcp;
pub mod sender;
mod time;

pub use channels::map_channels;
pub use error::Error;
pub use format::{CHANNELS_MAX, Codec, Encoding, Format, RATES};
pub use mixer::Mixer;
pub use packetizer::Packetizer;
pub use payload_types::PayloadTypes;
pub use playout::Playout;
pub use receiver::Receiver;
pub use sender::Sender;
pub use time::{Instant, MediaTime, duration_of, frames_in};
