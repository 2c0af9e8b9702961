//! How far away the ears and the speaker of a PulseAudio stream are.

use std::time::Duration;

use audiostreamer_core::Instant;
use pulseaudio::protocol::{PlaybackLatency, RecordLatency};

/// Follows a stream byte by byte between two answers of the server.
///
/// An answer says where the card stands in the server's count of the stream's bytes. From there
/// on the card runs on at its rate, and we know what we have received or sent, so the time
/// between the card and any byte is known without asking again.
#[derive(Debug)]
pub(super) struct Timing {
    byte_rate: u32,
    card: Option<Card>,
    /// The next byte that we receive or send, in the server's count.
    position: i64,
    sent_since_asked: i64,
}

/// Where the card stands.
#[derive(Clone, Copy, Debug)]
struct Card {
    at: Instant,
    /// The byte at the server's end of the card.
    index: i64,
    /// From there to the air.
    device: Duration,
}

impl Timing {
    /// Of a stream with this many bytes per second.
    pub(super) fn new(byte_rate: u32) -> Self {
        Self { byte_rate, card: None, position: 0, sent_since_asked: 0 }
    }

    /// So many bytes have been received or sent.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.position += bytes as i64;
        self.sent_since_asked += bytes as i64;
    }

    /// The question that [`played`](Self::played) answers is on its way, behind all that has
    /// been sent so far.
    pub(super) fn asked(&mut self) {
        self.sent_since_asked = 0;
    }

    /// The server's answer for a stream that it records. It has sent all before its `read_offset`.
    pub(super) fn captured(&mut self, now: Instant, answer: &RecordLatency) {
        self.position = answer.read_offset;
        self.card =
            Some(Card { at: now, index: answer.write_offset, device: Duration::from_micros(answer.source_usec) });
    }

    /// The server's answer for a stream that it plays. It has seen what was sent before the
    /// question.
    pub(super) fn played(&mut self, now: Instant, answer: &PlaybackLatency) {
        self.position = answer.write_offset + self.sent_since_asked;
        self.card = Some(Card { at: now, index: answer.read_offset, device: Duration::from_micros(answer.sink_usec) });
    }

    /// How long ago the next byte that we receive was heard. Zero when not known.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.card.map_or(Duration::ZERO, |card| {
            let since = now.seconds_since(card.at);
            self.clamped(card.device, self.seconds(card.index - self.position) + since)
        })
    }

    /// How long it takes until the next byte that we send is heard. Zero when not known.
    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.card.map_or(Duration::ZERO, |card| {
            let since = now.seconds_since(card.at);
            self.clamped(card.device, self.seconds(self.position - card.index) - since)
        })
    }

    fn seconds(&self, bytes: i64) -> f64 {
        bytes as f64 / f64::from(self.byte_rate)
    }

    /// Below zero it is a rounding error, above the limit a server that has lost count.
    fn clamped(&self, device: Duration, queue: f64) -> Duration {
        let total = device.as_secs_f64() + queue;
        Duration::from_secs_f64(total.clamp(0.0, LONGEST.as_secs_f64()))
    }
}

/// Network speakers buffer a second or two.
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let timing = Timing::new(RATE);
        assert_eq!(timing.age(at(5)), Duration::ZERO);
        assert_eq!(timing.delay(at(5)), Duration::ZERO);
    }

    #[test]
    fn the_age_of_a_block_grows_until_it_is_received() {
        let mut timing = Timing::new(RATE);
        timing.captured(at(0), &recorded(1_000, 400, 3));
        assert_eq!(timing.age(at(0)), ms(3 + 600));
        assert_eq!(timing.age(at(5)), ms(3 + 600 + 5));
        timing.advance(600);
        assert_eq!(timing.age(at(5)), ms(3 + 5));
    }

    #[test]
    fn the_delay_counts_what_is_on_its_way_to_the_server() {
        let mut timing = Timing::new(RATE);
        timing.advance(100);
        timing.asked();
        timing.advance(20);
        timing.played(at(0), &playing(100, 70, 4));
        assert_eq!(timing.delay(at(0)), ms(4 + 30 + 20));
        assert_eq!(timing.delay(at(10)), ms(4 + 30 + 20 - 10));
        timing.advance(10);
        assert_eq!(timing.delay(at(10)), ms(4 + 30 + 20));
    }

    #[test]
    fn neither_can_be_negative_or_endless() {
        let mut timing = Timing::new(RATE);
        timing.played(at(0), &playing(100, 100, 1));
        assert_eq!(timing.delay(at(500)), Duration::ZERO);
        timing.played(at(0), &playing(i64::MAX / 4, 0, 1));
        assert_eq!(timing.delay(at(0)), LONGEST);
    }

    /// A byte is a millisecond.
    const RATE: u32 = 1_000;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn recorded(write_offset: i64, read_offset: i64, device_ms: u64) -> RecordLatency {
        RecordLatency {
            sink_usec: 0,
            source_usec: device_ms * 1_000,
            playing: true,
            local_time: SystemTime::UNIX_EPOCH,
            remote_time: SystemTime::UNIX_EPOCH,
            write_offset,
            read_offset,
        }
    }

    fn playing(write_offset: i64, read_offset: i64, device_ms: u64) -> PlaybackLatency {
        PlaybackLatency {
            sink_usec: device_ms * 1_000,
            source_usec: 0,
            playing: true,
            local_time: SystemTime::UNIX_EPOCH,
            remote_time: SystemTime::UNIX_EPOCH,
            write_offset,
            read_offset,
            underrun_for: 0,
            playing_for: 0,
        }
    }
}
