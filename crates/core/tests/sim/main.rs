//! The deterministic simulator: the real core between virtual sound cards and virtual links.
//!
//! A scenario is a world, its clients, some time, and what was heard:
//!
//! ```ignore
//! let mut world = World::new(Server::new());
//! let client = world.add(Client::l24(), paths::good_wifi());
//! world.run(seconds(10));
//! let heard = world.heard(client);
//! assert!(heard.delay(0.95) < 40.0, "{:.1} ms", heard.delay(0.95));
//! assert_eq!(heard.repeated_frames, 0);
//! ```
//!
//! Three looks at what came out: `observe` reads a time code sample by sample, `recording` compares
//! other signals with what was said, `report` runs all paths and keeps the figures in `report.md`.
//!
//! At every step, whatever the scenario: all samples that the card asks for are written, finite
//! and within full scale; every packet and every unit is in exactly one counter; every payload
//! that went into a voice comes back.

mod also;
mod arrivals;
mod card;
mod client;
mod netem;
mod observe;
mod paths;
mod recording;
mod report;
mod rng;
mod rules;
mod scenarios;
mod server;
mod signal;
mod tcp;
mod trace;
mod tuning;
mod world;

use std::time::Duration;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn millis(millis: f64) -> Duration {
    Duration::from_secs_f64(millis * 1e-3)
}
