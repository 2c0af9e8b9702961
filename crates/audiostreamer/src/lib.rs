//! A live audio link between machines: a client captures, a server plays at once what arrives.
//!
//! This crate is the program `audiostreamer` and the library under it. The program is a command
//! line ([`cli`]) and a console around two functions, [`server::run`] and [`client::run`]; whoever
//! embeds them has everything that the program has. What happens to samples and packets in between
//! is in the crate [`audiostreamer_core`], without input, output or clock.
//!
//! - [`server`]: listens on UDP and TCP, mixes what arrives into one sink.
//! - [`client`]: sends one source to one server or several, and waits for those that are not there.
//! - [`discovery`]: servers that announce themselves on the local network.
//! - [`device`]: sources and sinks. Sound cards, files, pipes and tones look the same from inside.
//! - [`link`]: packets to and from one peer, encrypted or plain.
//! - [`recording`]: a copy of what is played, captured or sent, in files.
//! - [`stats`]: the same, once a second, for programs: JSON and Prometheus.
//! - [`trust`]: this machine's key, and whom it knows.
//! - [`report`]: what both ends tell while they run, as data, and as text by `Display`.
//! - [`volume`]: how loud something is played or sent.
//! - [`doctor`]: looks at everything that sound has to pass, and says what is wrong.
//! - [`service`]: what systemd is told.
//! - [`sdp`]: session descriptions for and from other programs.
//! - [`clock`], [`random`]: the only places that read a clock and draw random numbers.
//!
//! # Embedding
//!
//! Both ends are futures that run until their source or sink ends, or until the future that they
//! are given completes. They tell a closure of yours what happens, and return what they counted.
//! Here a tone goes over loopback into a file:
//!
//! ```no_run
//! use audiostreamer::device::{SinkFormat, SinkSpec, SourceSpec, Wanted};
//! use audiostreamer::link::{Credentials, DEFAULT_PORT, Protocol, ServerKey};
//! use audiostreamer::report::Report;
//! use audiostreamer::trust::{Gate, Identity, State};
//! use audiostreamer::volume::Volume;
//! use audiostreamer::{client, server};
//! use audiostreamer_core::{ChannelMap, Codec};
//! use audiostreamer_core::playout::{Latency, Profile};
//! use std::time::Duration;
//! use tokio::time::sleep;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), audiostreamer::error::Error> {
//!     let identity = Identity::load_or_make(&State::open()?)?; // here both ends are the same user
//!     let key = identity.fingerprint();
//!     let server = server::Config {
//!         listen: ([127, 0, 0, 1], DEFAULT_PORT).into(),
//!         udp: true,
//!         tcp: false,
//!         sink: SinkSpec::File { path: "tone.wav".into(), format: SinkFormat::default() },
//!         record: None,
//!         trace: None,
//!         idle_release: None,
//!         played: None,
//!         wanted: Wanted::default(),
//!         latency: Latency::Auto,
//!         profile: Profile::Talk,
//!         gain: 0.0,
//!         clients_max: 4,
//!         wire: server::WireFormat::Rtp(Box::default()),
//!         encryption: Some(server::Encryption {
//!             identity: identity.clone(),
//!             gate: Gate { own: key, list: None, open: false },
//!         }),
//!         announce: false,
//!         duplex: None,
//!         limits: server::Limits::default(),
//!     };
//!     let client = client::Config {
//!         destinations: vec![client::Destination {
//!             host: "127.0.0.1".into(),
//!             port: DEFAULT_PORT,
//!             credentials: Some(Credentials {
//!                 identity,
//!                 server: ServerKey::Exactly(key),
//!                 token: None,
//!                 code: Default::default(),
//!             }),
//!             also: Vec::new(),
//!         }],
//!         protocol: Protocol::Auto,
//!         source: SourceSpec::Tone(440.0),
//!         record: None,
//!         wanted: Wanted::default(),
//!         map: ChannelMap::Same,
//!         cleaning: client::Cleaning::default(),
//!         agc: false,
//!         silence: None,
//!         volume: Volume::default(),
//!         media: client::Media {
//!             wire: client::WireFormat::Rtp { codec: Codec::Opus, types: Box::default(), fixed: None },
//!             frame: None, // 5 ms
//!             opus: Default::default(),
//!             ceiling_bps: None,
//!             redundancy: Default::default(),
//!             padding: 0,
//!             falls_back: false,
//!         },
//!         no_wait: false,
//!         duplex: None,
//!     };
//!     let show = |report| match report {
//!         Report::Event(event) => eprintln!("{event}"),
//!         Report::Client(_) | Report::Server(_) => {} // several times a second
//!     };
//!     let (played, sent) = tokio::try_join!(
//!         server::run(server, show, sleep(Duration::from_secs(6))),
//!         client::run(client, show, sleep(Duration::from_secs(5))),
//!     )?;
//!     println!("{} packets sent, {} lost", sent.destinations[0].stats.packets_sent, played.packets_lost);
//!     Ok(())
//! }
//! ```
//!
//! `examples/send_file.rs` and `examples/receive_wav.rs` are whole programs: `cargo run --example receive_wav`.
//!
//! # Threads
//!
//! ```text
//! card's callback -> [ring] -> send thread -> socket ~~> runtime -> [ring] -> card's callback
//! ```
//!
//! The capturing callback copies into a lock-free ring and wakes the send thread, which codes and
//! sends: nothing stands between them. The server reads its sockets on the runtime that awaits
//! [`server::run`]; a current-thread runtime is enough, and nothing on it should block for longer
//! than a packet lasts. Playout and mixing run inside the playing callback itself. Devices are
//! opened, watched and opened again on threads of their own.
//!
//! The callbacks never allocate, free, lock, log or wait. Real-time priority is asked for and done
//! without where it is refused.

pub mod capture;
pub mod cli;
pub mod client;
pub mod clock;
pub mod demo;
pub mod device;
pub mod discovery;
pub mod doctor;
pub mod error;
pub mod link;
pub mod random;
pub mod recording;
pub mod report;
pub mod sdp;
pub mod server;
pub mod service;
pub mod stats;
pub mod trust;
pub mod volume;
