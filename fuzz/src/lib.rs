//! What is fuzzed: each target takes any bytes and must neither panic nor break its promises.
//!
//! The bodies are here, once: `fuzz_targets/` lets libFuzzer call them, and
//! `crates/core/tests/corpus.rs` includes this file to replay the corpus in the normal test suite.

mod codec;
mod playout;
mod receiver;
mod sender;
mod trace;
mod wire;

pub use codec::{opus_decode, opus_restore, pcm};
pub use playout::playout;
pub use receiver::{raw, receiver};
pub use sender::sender;
pub use trace::trace;
pub use wire::{framing, packet, red, rtcp};

/// Takes any bytes; panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus folder.
pub const TARGETS: [(&str, Target); 12] = [
    ("packet", packet),
    ("rtcp", rtcp),
    ("red", red),
    ("framing", framing),
    ("receiver", receiver),
    ("raw", raw),
    ("playout", playout),
    ("opus_decode", opus_decode),
    ("opus_restore", opus_restore),
    ("pcm", pcm),
    ("sender", sender),
    ("trace", trace),
];

/// Reads a structured input out of any bytes; what is too short for one is no input.
fn input<'a, T: arbitrary::Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(arbitrary::Unstructured::new(bytes)).ok()
}
