//! The pure core of AudioStreamer: captured samples to packets, packets to samples for the card.
//!
//! It never reads a clock, opens a socket or a file, starts a thread, or draws a random number.
//! Whoever embeds it brings all of these; the crate `audiostreamer` is one who does, the simulator
//! in `tests/sim` another. There is no way to wait here and no way to be called back.
//!
//! # Four nouns
//!
//! ```text
//! samples -> Packetizer -> Frame -> Sender -> packet ~~> Receiver -> Unit -> Playout -> samples
//!                                     ^------- reports <~~---'
//! ```
//!
//! - [`Packetizer`]: captured samples become coded frames with their media time.
//! - [`Sender`]: frames become packets for one receiver, and its reports are read.
//! - [`Receiver`]: the packets of one sender become units for playout, and are reported on.
//! - [`Playout`]: units become continuous samples at the card's pace. It orders, waits, decodes
//!   and conceals. Its two calls are those of WebRTC's NetEq: `insert` and `fill`.
//!
//! Around them: [`Mixer`] feeds a card from several playouts, [`framing`] lays packets into a byte
//! stream (RFC 4571), [`raw`] stands in for a receiver where there is no header at all. [`trace`] is how
//! what arrived is written down, [`replay`] plays it again.
//!
//! `handle_*` takes input, `poll_*` returns output until there is none. Every order of calls is
//! legal. Bad packets are weather: they are counted and dropped, and are never an error.
//!
//! # Time
//!
//! *Now* is an [`Instant`], an argument: nanoseconds since an epoch that the caller chooses, the
//! same for all objects. *Media time* is a [`MediaTime`]: frames since the start of a stream, at
//! its rate. A *frame* in this sense is one sample of every channel. Samples are interleaved
//! `f32`, full scale 1.0.
//!
//! # The whole way, in memory
//!
//! ```
//! use audiostreamer_core::packet::Packet;
//! use audiostreamer_core::playout::{Latency, Profile};
//! use audiostreamer_core::receiver::Output;
//! use audiostreamer_core::rtcp::Ntp;
//! use audiostreamer_core::{Format, Instant, Packetizer, PayloadTypes, Playout, Receiver, Sender};
//! use audiostreamer_core::{packetizer, playout, sender};
//!
//! let (rate, channels, format) = (48_000, 2, Format::l16(48_000, 2));
//! let types = PayloadTypes::default();
//! let payload_type = types.payload_type(format).expect("L16 at 48 kHz is agreed");
//! let mut packetizer =
//!     Packetizer::new(packetizer::Config { rate, channels, format, frames: 240, opus: Default::default() })?;
//! let mut sender = Sender::new(sender::Config {
//!     ssrc: 7, // this and the next two are random in earnest
//!     first_sequence: 65_535,
//!     first_timestamp: u32::MAX,
//!     cname: "microphone".into(),
//!     wire: sender::Wire::Rtp { payload_type },
//!     rate,
//!     beside: None, // no copies
//!     wall_epoch: Ntp::default(),
//! });
//! let mut receiver = Receiver::new(Instant::default(), 8, "speaker", 7, types);
//! let mut playout = None;
//! let mut heard = Vec::new();
//! let mut packet = Vec::new();
//!
//! for millis in (0..100).step_by(5) {
//!     let now = Instant::from_nanos(millis * 1_000_000);
//!     packetizer.push(now, &[0.25; 2 * 240]); // what the microphone's callback does
//!     while let Some(frame) = packetizer.poll()? {
//!         sender.handle_frame(now, &frame);
//!         while sender.poll_transmit(now, &mut packet) {
//!             match Packet::parse(&packet) { // here is where a network would be
//!                 Some(Packet::Rtp(rtp)) => receiver.handle_rtp(now, &rtp),
//!                 Some(Packet::Rtcp(report)) => receiver.handle_rtcp(now, report),
//!                 None => {}
//!             }
//!         }
//!     }
//!     while let Some(output) = receiver.poll_output() {
//!         match output {
//!             Output::Start(format) => {
//!                 let (latency, profile) = (Latency::Auto, Profile::Live);
//!                 let config = playout::Config { latency, profile, rate, channels, frames_max: 240 };
//!                 playout = Some(Playout::new(format, config)?);
//!             }
//!             Output::Unit(unit) => playout.as_mut().expect("a start comes first").insert(unit),
//!             Output::End => {}
//!         }
//!     }
//!     while receiver.poll_transmit(now, &mut packet) {
//!         sender.handle_packet(now, &packet);
//!     }
//!     if let Some(playout) = &mut playout {
//!         let mut block = [0.0; 2 * 240];
//!         playout.fill(now, &mut block); // what the speaker's callback does
//!         heard.extend(block);
//!         std::iter::from_fn(|| playout.reclaim()).for_each(|payload| receiver.recycle(payload));
//!     }
//! }
//! assert!((heard.last().unwrap() - 0.25).abs() < 1e-4);
//! assert_eq!(receiver.stats().packets_lost, 0);
//! # Ok::<(), audiostreamer_core::Error>(())
//! ```
//!
//! `examples/own_socket.rs` does the same over UDP and in real time, `examples/own_card.rs` mixes two streams in
//! a callback.
//!
//! # Threads and real time
//!
//! Everything is `Send`, nothing is shared: each object belongs to one thread at a time.
//! [`Playout::insert`], [`Playout::fill`] and [`Mixer::fill`] are made for the card's callback:
//! once constructed they never allocate, free, lock, log or wait. What has to be freed is handed
//! back. The sending side and the receiver reuse their memory but may allocate while they grow.
//!
//! Not promised: that a packet is genuine (there is no encryption here). That two cards run at one speed
//! is not asked for either: playout follows the sender's clock.

mod agc;
mod budget;
mod channels;
pub mod codec;
pub mod coding;
pub mod copies;
mod error;
pub mod fader;
mod fallback;
pub mod feedback;
mod format;
pub mod framing;
mod history;
pub mod limiter;
pub mod loss;
pub mod mixer;
pub mod outbox;
pub mod packet;
pub mod packetizer;
mod payload_types;
pub mod plan;
pub mod playout;
mod rate;
pub mod raw;
pub mod receiver;
pub mod red;
pub mod redundancy;
mod repair;
pub mod replay;
pub mod resample;
pub mod rtcp;
pub mod rungs;
pub mod sender;
#[cfg(test)]
mod sine;
mod time;
pub mod trace;
mod transit;

pub use agc::Agc;
pub use budget::Budget;
pub use channels::{ChannelMap, map_channels};
pub use error::Error;
pub use fader::Fader;
pub use fallback::Fallback;
pub use format::{CHANNELS_MAX, Codec, Encoding, Format, RATES};
pub use limiter::Limiter;
pub use mixer::Mixer;
pub use outbox::Outbox;
pub use packetizer::Packetizer;
pub use payload_types::PayloadTypes;
pub use playout::Playout;
pub use receiver::Receiver;
pub use rungs::Rungs;
pub use sender::Sender;
pub use time::{Instant, MediaTime, duration_of, frames_in};
