//! Where the time goes from mouth to ear.

use std::time::Duration;

use crate::{playout, receiver};

/// The latency of one stream by stage, each measured, none configured.
///
/// The stages add up to the time from a sample's way into the microphone to its way out of the
/// speaker. What the sender does not tell is `None`: bare PCM has no reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Capturing card, queue, codec look-ahead: what the last sample of a packet waits before it
    /// is sent.
    pub capture: Option<Duration>,
    /// One way: half the shortest of the last round trips.
    pub network: Option<Duration>,
    /// What the first sample of a packet waits for the last.
    pub frame: Duration,
    /// What a packet that nothing delayed waits for those that are delayed, and for the block of
    /// the playing card to be whole.
    pub jitter_buffer: Duration,
    /// The filter between the two cards' clocks.
    pub resampling: Duration,
    /// The playing card's own buffer.
    pub playback: Duration,
}

impl Budget {
    /// From what was counted on both sides of a stream's receiver, and what the playing card says.
    pub fn new(received: &receiver::Stats, played: &playout::Stats, playback: Duration) -> Self {
        let playout::Stats { delay, frame, resampling, .. } = *played;
        Self {
            capture: received.capture_delay,
            network: received.network_delay,
            frame,
            jitter_buffer: delay.saturating_sub(frame + resampling),
            resampling,
            playback,
        }
    }

    /// The stages in their order, with their names.
    pub fn stages(&self) -> [(&'static str, Option<Duration>); 6] {
        [
            ("capture", self.capture),
            ("frame", Some(self.frame)),
            ("network", self.network),
            ("jitter buffer", Some(self.jitter_buffer)),
            ("resampling", Some(self.resampling)),
            ("playback", Some(self.playback)),
        ]
    }

    /// All that is known.
    pub fn sum(&self) -> Duration {
        self.stages().iter().filter_map(|(_, delay)| *delay).sum()
    }
}
