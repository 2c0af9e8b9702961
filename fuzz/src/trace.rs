//! Traces, which users send.

use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::replay::{Choice, Replay};
use audiostreamer_core::trace::{self, Line, Record};

/// Frames that the card may ask for in all: enough for a stream to begin, pause and end.
const FRAMES_MAX: u64 = 100_000;

/// Any bytes as a trace: what is read survives being written, and can be replayed.
pub fn trace(bytes: &[u8]) {
    let Some(lines) = trace::lines(bytes) else { return };
    let latency = Latency::Auto;
    let mut replay = Replay::new([Profile::Live, Profile::Hifi].map(|profile| Choice { latency, profile }).to_vec());
    let mut asked = 0;
    for line in lines {
        assert_eq!(Line::parse(&line.to_string()), Some(line));
        if let Record::Asked { frames } = line.record {
            asked += u64::from(frames);
            if asked > FRAMES_MAX {
                break;
            }
        }
        replay.handle(&line);
    }
    for run in replay.finish_all() {
        assert_eq!(run.would_be.len(), 2);
        assert!(run.would_be.iter().all(|outcome| outcome.delay(0.5) <= outcome.delay(0.95)));
    }
}
