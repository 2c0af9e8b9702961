//! What a receiver tells its source of every packet: when it came, or that it did not.
//!
//! RFC 8888 spends two bytes on each packet that is reported on: with the packets of 1 to 5 ms that
//! we send, 5 to 20 kb/s for as long as nothing happens. So this is its content in another form: a
//! bit for each of the last packets, when the newest and the fastest of them arrived, and the one
//! thing that RFC 8888 doesn't know, how long a packet may still be waited for. It travels as an
//! APP packet (RFC 3550 section 6.7), which everybody else passes over, with each receiver report,
//! and within 100 ms when there is something to tell.

use std::time::Duration;

/// How many packets back a report goes.
pub const WINDOW: usize = 256;

/// Four letters, as RFC 3550 section 6.7 asks for.
pub(crate) const NAME: &str = "ASfb";
pub(crate) const ABILITY_NAME: &str = "ASab";

/// Bytes before the bits.
const FIXED: usize = 20;

/// What is said of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// The source that this is about.
    pub ssrc: u32,
    /// The highest sequence number that has come.
    pub highest: u16,
    /// How long ago that was, in 1/16384 s.
    pub held: u16,
    /// When it came, by the receiver's clock in 1/65536 s.
    pub arrived: u32,
    /// Of those that came since the last report, the one that took the shortest.
    pub fastest: u16,
    /// When it came.
    pub fastest_arrived: u32,
    /// How much later than the fastest a packet may come and still be played, in 1/16 ms; zero
    /// where that is not known.
    pub room: u16,
    /// The last packets that have not come as they were first sent.
    pub missing: Missing,
}

/// What a source can do about what is lost, as it says with its reports where it does anything: it
/// sends once more what it is asked for, and perhaps copies. So the receiver knows what more delay would
/// be good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ability {
    /// Whether it sends copies where they help.
    pub copies: bool,
    /// Whether a copy is as long as its packet: then it can ride in the next one.
    pub copies_as_packets: bool,
}

impl Ability {
    /// The data of the APP packet: bits in a word.
    pub(crate) fn write(&self) -> [u8; 4] {
        [0, 0, 0, u8::from(self.copies) | u8::from(self.copies_as_packets) << 1]
    }

    /// Any bytes; bits that are not known are passed over.
    pub(crate) fn parse(data: &[u8]) -> Option<Ability> {
        let word: [u8; 4] = data.try_into().ok()?;
        Some(Ability { copies: word[3] & 1 != 0, copies_as_packets: word[3] & 2 != 0 })
    }
}

/// A bit for each of the [`WINDOW`] packets before and with the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing([u32; WINDOW / 32]);

impl Missing {
    /// Says that the packet `ago` before the highest is missing.
    pub fn set(&mut self, ago: usize) {
        if let Some(word) = self.0.get_mut(ago / 32) {
            *word |= 1 << (ago % 32);
        }
    }

    /// Whether the packet `ago` before the highest is missing.
    pub fn is_set(&self, ago: usize) -> bool {
        self.0.get(ago / 32).is_some_and(|word| word & (1 << (ago % 32)) != 0)
    }

    /// Whether none is missing.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Words up to the last that says anything.
    fn words(&self) -> &[u32] {
        let words = self.0.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        &self.0[..words]
    }
}

impl Feedback {
    /// A span as [`held`](Self::held) has it.
    pub fn held_of(span: Duration) -> u16 {
        (span.as_nanos() * 16_384 / 1_000_000_000).min(u16::MAX.into()) as u16
    }

    /// What [`held`](Self::held) says.
    pub fn held(&self) -> Duration {
        Duration::from_nanos(u64::from(self.held) * 1_000_000_000 / 16_384)
    }

    /// A span as [`room`](Self::room) has it.
    pub fn room_of(span: Duration) -> u16 {
        (span.as_micros() * 16 / 1000).clamp(1, u16::MAX.into()) as u16
    }

    /// What [`room`](Self::room) says.
    pub fn room(&self) -> Option<Duration> {
        (self.room > 0).then(|| Duration::from_micros(u64::from(self.room) * 1000 / 16))
    }

    /// The data of the APP packet.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(FIXED + WINDOW / 8);
        data.extend(self.ssrc.to_be_bytes());
        data.extend(self.highest.to_be_bytes());
        data.extend(self.held.to_be_bytes());
        data.extend(self.arrived.to_be_bytes());
        data.extend(self.fastest_arrived.to_be_bytes());
        data.extend(self.fastest.to_be_bytes());
        data.extend(self.room.to_be_bytes());
        self.missing.words().iter().for_each(|word| data.extend(word.to_be_bytes()));
        data
    }

    /// Any bytes; `None` where they are not of this form.
    pub(crate) fn parse(data: &[u8]) -> Option<Feedback> {
        let (fixed, words) = data.split_first_chunk::<FIXED>()?;
        let long = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let short = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let mut missing = Missing::default();
        let (words, rest) = words.as_chunks::<4>();
        if words.len() > missing.0.len() || !rest.is_empty() {
            return None;
        }
        missing.0.iter_mut().zip(words).for_each(|(word, bytes)| *word = u32::from_be_bytes(*bytes));
        Some(Feedback {
            ssrc: long(0),
            highest: short(4),
            held: short(6),
            arrived: long(8),
            fastest_arrived: long(12),
            fastest: short(16),
            room: short(18),
            missing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_was_written_and_is_no_longer_than_it_must() {
        let mut feedback = Feedback { ssrc: 7, highest: 65_535, held: 3, room: 900, ..Feedback::default() };
        assert_eq!(feedback.write().len(), FIXED);
        assert_eq!(Feedback::parse(&feedback.write()), Some(feedback));
        feedback.missing.set(0);
        feedback.missing.set(40);
        assert_eq!(feedback.write().len(), FIXED + 8);
        assert_eq!(Feedback::parse(&feedback.write()), Some(feedback));
        feedback.missing.set(WINDOW);
        assert_eq!(Feedback::parse(&feedback.write()), Some(feedback), "too long ago to be said");
    }

    #[test]
    fn what_has_another_length_is_none() {
        let data = Feedback::default().write();
        assert_eq!(Feedback::parse(&data[1..]), None);
        assert_eq!(Feedback::parse(&[data.as_slice(), &[0; 3]].concat()), None);
        assert_eq!(Feedback::parse(&[data.as_slice(), &[0; WINDOW / 8 + 4]].concat()), None);
    }

    #[test]
    fn spans_survive_to_a_sixteenth_of_a_millisecond() {
        let feedback = Feedback { held: Feedback::held_of(Duration::from_millis(250)), ..Feedback::default() };
        assert!(feedback.held().abs_diff(Duration::from_millis(250)) < Duration::from_micros(63));
        let feedback = Feedback { room: Feedback::room_of(Duration::from_micros(12_500)), ..Feedback::default() };
        assert_eq!(feedback.room(), Some(Duration::from_micros(12_500)));
        assert_eq!(Feedback::held_of(Duration::from_secs(100)), u16::MAX);
    }
}
