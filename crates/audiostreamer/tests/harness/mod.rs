//! What the end-to-end tests share: programs to run, sound to send, judges of what came out.
//!
//! The judges look at the audio, never at the clock: a test waits for conditions, with a deadline
//! ([`wait::DEADLINE`]) that only a hang can miss. What the judges themselves are worth is proved in
//! `tests/yardstick.rs`, by known faults and by programs that are not ours.

#![expect(dead_code, reason = "every test binary uses its own part of the harness")]

pub mod align;
pub mod attack;
pub mod audio;
pub mod compare;
pub mod every;
pub mod exact;
pub mod jack;
pub mod loop_card;
pub mod machine;
pub mod netns;
pub mod packets;
pub mod port;
pub mod private;
pub mod program;
pub mod pulse;
pub mod python;
pub mod relay;
pub mod resume;
pub mod server;
pub mod signal;
pub mod stats;
pub mod turn;
pub mod wait;
