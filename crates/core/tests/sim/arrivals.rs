//! What a link did to a stream: which packet came when.

use audiostreamer_core::Instant;
use audiostreamer_core::packet::Packet;

/// A packet that came through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// Counted from the first that came.
    pub sequence: i64,
    /// Of its first frame, in seconds from the first that came.
    pub media: f64,
    /// In seconds of true time.
    pub at: f64,
}

/// Reads arrivals off a link.
#[derive(Clone, Debug)]
pub struct Arrivals {
    rate: u32,
    first: Option<(u16, u32)>,
    all: Vec<Arrival>,
}

impl Arrivals {
    /// Of a stream with that clock rate.
    pub fn new(rate: u32) -> Self {
        Self { rate, first: None, all: Vec::new() }
    }

    pub fn all(&self) -> &[Arrival] {
        &self.all
    }

    pub fn handle(&mut self, now: Instant, bytes: &[u8]) {
        let Some(Packet::Rtp(rtp)) = Packet::parse(bytes) else { return };
        let (sequence, timestamp) = *self.first.get_or_insert((rtp.sequence, rtp.timestamp));
        // Sequence numbers wrap within minutes, timestamps within a day: from the one before.
        let before = self.all.last().map_or(0, |arrival| arrival.sequence);
        let step = rtp.sequence.wrapping_sub(sequence.wrapping_add(before as u16)) as i16;
        self.all.push(Arrival {
            sequence: before + i64::from(step),
            media: f64::from(rtp.timestamp.wrapping_sub(timestamp) as i32) / f64::from(self.rate),
            at: now.as_nanos() as f64 * 1e-9,
        });
    }
}
