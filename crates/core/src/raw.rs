//! PCM without any header, as the original Python pair, `nc` and `ffmpeg -f s16le` send it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::playout::{Origin, Unit};
use crate::receiver::Output;
use crate::{Format, Instant, MediaTime, frames_in};

/// Makes units of bare bytes. There is no sequence and no time on the wire: the units' times
/// follow each other, and after a pause jump ahead by its length.
pub struct RawReceiver {
    format: Format,
    frame_bytes: usize,
    /// The start of a frame whose end has not arrived (a stream only).
    rest: Vec<u8>,
    next: MediaTime,
    last_heard: Option<Instant>,
    outputs: VecDeque<Output>,
    bytes_received: u64,
    packets_received: u64,
}

/// Longer than any chunk that a live sender sends: no bytes for this long is a pause.
const PAUSE: Duration = Duration::from_millis(300);

/// The longest unit that is made of bytes that arrive at once.
const UNIT_MILLIS: usize = 10;

impl RawReceiver {
    /// A receiver of PCM of that format; `None` where the format is not PCM or not supported.
    pub fn new(format: Format) -> Option<Self> {
        Some(Self {
            format,
            frame_bytes: format.is_supported().then(|| format.frame_bytes())??,
            rest: Vec::new(),
            next: MediaTime(0),
            last_heard: None,
            outputs: VecDeque::new(),
            bytes_received: 0,
            packets_received: 0,
        })
    }

    /// Takes one datagram: whole frames; what is left over at its end belongs to nobody.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let whole = bytes.len() - bytes.len() % self.frame_bytes;
        self.handle_frames(now, &bytes[..whole]);
    }

    /// Takes the next bytes of a stream, cut anywhere.
    pub fn handle_stream(&mut self, now: Instant, bytes: &[u8]) {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend(bytes);
        let whole = rest.len() - rest.len() % self.frame_bytes;
        self.handle_frames(now, &rest[..whole]);
        rest.drain(..whole);
        self.rest = rest;
    }

    /// What is for the playout now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When bytes last came, `None` before the first.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// Units and bytes so far.
    pub fn received(&self) -> (u64, u64) {
        (self.packets_received, self.bytes_received)
    }

    fn handle_frames(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.last_heard.replace(now) {
            None => self.outputs.push_back(Output::Start(self.format)),
            Some(last) if now - last > PAUSE => {
                self.next = self.next + frames_in(now - last, self.format.rate) as i64;
            }
            Some(_) => {}
        }
        let unit_bytes = self.format.rate as usize * UNIT_MILLIS / 1000 * self.frame_bytes;
        for payload in bytes.chunks(unit_bytes) {
            let frames = (payload.len() / self.frame_bytes) as u32;
            let unit = Unit { time: self.next, frames, arrived: now, origin: Origin::First, payload: payload.to_vec() };
            self.next = self.next + i64::from(frames);
            self.outputs.push_back(Output::Unit(unit));
            self.packets_received += 1;
        }
        self.bytes_received += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, Encoding};

    fn receiver() -> RawReceiver {
        RawReceiver::new(Format { codec: Codec::Pcm(Encoding::S16Le), rate: 44_100, channels: 1 }).unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn units(receiver: &mut RawReceiver) -> Vec<(i64, Vec<u8>)> {
        std::iter::from_fn(|| receiver.poll_output())
            .filter_map(|output| match output {
                Output::Unit(unit) => Some((unit.time.0, unit.payload)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_stream_cut_anywhere_comes_out_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(4001).collect();
        let mut receiver = receiver();
        for piece in bytes.chunks(333) {
            receiver.handle_stream(at(0), piece);
        }
        let mut out = Vec::new();
        for (time, payload) in units(&mut receiver) {
            assert_eq!(time as usize * 2, out.len());
            out.extend(payload);
        }
        assert_eq!(out, bytes[..4000]);
    }

    #[test]
    fn half_a_frame_at_the_end_of_a_datagram_is_dropped() {
        let mut receiver = receiver();
        receiver.handle_datagram(at(0), &[1, 2, 3]);
        receiver.handle_datagram(at(10), &[4, 5]);
        assert_eq!(units(&mut receiver), [(0, vec![1, 2]), (1, vec![4, 5])]);
        receiver.handle_datagram(at(20), &[]);
        assert!(units(&mut receiver).is_empty());
    }

    #[test]
    fn a_pause_moves_the_timeline_by_its_length() {
        let mut receiver = receiver();
        receiver.handle_datagram(at(0), &[0; 882]);
        receiver.handle_datagram(at(10), &[0; 882]);
        receiver.handle_datagram(at(1010), &[0; 882]);
        let times: Vec<i64> = units(&mut receiver).into_iter().map(|(time, _)| time).collect();
        assert_eq!(times, [0, 441, 882 + 44_100]);
    }

    #[test]
    fn a_format_that_cannot_be_is_refused() {
        assert!(RawReceiver::new(Format::OPUS).is_none());
        assert!(RawReceiver::new(Format::l16(44_100, 0)).is_none());
    }
}
