//! What a playout counts, by the names of W3C webrtc-stats where they exist.

use std::time::Duration;

/// Counters since the start of one run. Samples are counted per channel, that is in frames: of
/// the card for `total_samples_received`, of the stream for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Frames that the card asked for.
    pub total_samples_received: u64,
    /// Frames that were made up because their unit was lost or late, counted when the next unit
    /// is played.
    pub concealed_samples: u64,
    /// Those of them that were not invented, but told by the packet after them (Opus' in-band FEC, DRED).
    pub restored_samples: u64,
    /// How many times sound was concealed.
    pub concealment_events: u64,
    /// Frames cut out to bring the delay down.
    pub removed_samples_for_acceleration: u64,
    /// Frames put in to let the delay grow.
    pub inserted_samples_for_deceleration: u64,
    /// Sum over all played frames of the time from arrival to being asked for, in seconds;
    /// divide by `jitter_buffer_emitted_count`.
    pub jitter_buffer_delay: f64,
    /// Frames that were decoded from units and played.
    pub jitter_buffer_emitted_count: u64,
    /// The last unit's time from arrival to being asked for.
    pub last_delay: Duration,
    /// From the moment at which a frame would arrive as the last of its packet, if nothing delayed
    /// it, to its being asked for: the packet's length and the jitter buffer.
    pub delay: Duration,
    /// How much later than the fastest a packet may come and still be played, at this delay.
    pub room: Duration,
    /// The length of the last packet.
    pub frame: Duration,
    /// How far the resampler is behind.
    pub resampling: Duration,
    /// What [`delay`](Self::delay) is brought to.
    pub target_delay: Duration,
    /// How much faster the sender's card runs than ours, in millionths.
    pub clock_offset_ppm: f64,
    /// Units that were inserted. Each is, or has been, one of the next seven.
    pub units_received: u64,
    /// Units that were decoded.
    pub units_played: u64,
    /// Units that wait at the moment.
    pub units_waiting: u64,
    /// Units that came after their time, or after later ones were played, and were dropped.
    pub units_late: u64,
    /// Units that were there already.
    pub units_duplicate: u64,
    /// Units dropped because more waited than there is room for.
    pub units_overflowed: u64,
    /// Words of units that were lost, and would have come if they had been waited for.
    pub units_lost: u64,
    /// Units whose payload is not as long as they say, or none at all, or whose time is absurd.
    pub units_refused: u64,
    /// Copies of which something was heard, because nothing else had come; `fecPacketsReceived` less
    /// `fecPacketsDiscarded`.
    pub copies_heard: u64,
    /// Frames of copies that were heard. They are not concealed.
    pub copied_samples: u64,
    /// How many times the timeline was moved, forth or back.
    pub moves: u64,
    /// What waits at the moment.
    pub buffered: Duration,
    /// Whether units are being played at the moment.
    pub playing: bool,
    /// The loudest sample since the last look, full scale 1.0.
    pub peak: f32,
}

impl Stats {
    pub(super) fn emitted(&mut self, delay: Duration, frames: u64) {
        self.last_delay = delay;
        self.jitter_buffer_delay += delay.as_secs_f64() * frames as f64;
        self.jitter_buffer_emitted_count += frames;
    }

    pub(super) fn delays(&mut self, delay: f64, target: f64) {
        self.delay = Duration::try_from_secs_f64(delay).unwrap_or_default();
        self.target_delay = Duration::try_from_secs_f64(target).unwrap_or_default();
    }

    /// The timeline was moved forth, or back, by so many frames.
    pub(super) fn moved(&mut self, frames: i64) {
        self.moves += 1;
        let counter = match frames > 0 {
            true => &mut self.removed_samples_for_acceleration,
            false => &mut self.inserted_samples_for_deceleration,
        };
        // Absurd times may add up to more than there is room for.
        *counter = counter.saturating_add(frames.unsigned_abs());
    }

    /// Counts what was missing before a unit. What nothing follows is a pause or the end, no loss.
    pub(super) fn concealed(&mut self, missing_frames: u64) {
        self.concealed_samples += missing_frames;
        self.concealment_events += u64::from(missing_frames > 0);
    }

    /// The mean time from arrival to being asked for, over all that was played.
    pub fn mean_delay(&self) -> Duration {
        match self.jitter_buffer_emitted_count {
            0 => Duration::ZERO,
            count => Duration::from_secs_f64(self.jitter_buffer_delay / count as f64),
        }
    }
}
