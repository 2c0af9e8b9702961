//! How Opus codes when it may not use as many bits as the user allows.
//!
//! | what is left for the sound | bitrate | frames |
//! | --- | --- | --- |
//! | all that was wished for | as wished | as wished |
//! | less, but enough to sound well | what is left | as wished |
//! | less than that | what fewer headers leave | longer, to 20 ms |
//! | next to nothing | the least that is sound | 20 ms |

use crate::Format;
use crate::codec::opus::{Application, Settings};

/// How a stream of Opus is coded at the moment; see [`Packetizer::set_coding`](crate::Packetizer::set_coding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Of the codec alone, without headers.
    pub bitrate_bps: u32,
    /// In a packet, at 48 kHz.
    pub frames: usize,
}

/// What the user wants, at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The codec as it was asked for.
    pub opus: Settings,
    /// The frames of a packet as they were asked for.
    pub frames: usize,
    /// Bytes of all headers of a packet.
    pub overhead_bytes: usize,
}

/// Lengths of frames that save headers.
const LONGER: [usize; 2] = [480, 960];

/// So much more than enough must be left before frames get shorter again: not to and fro.
const SPARE: f64 = 1.25;

impl Wish {
    /// As it is coded where nothing limits it.
    pub fn full(&self) -> Coding {
        Coding { bitrate_bps: self.opus.bitrate_bps, frames: self.frames }
    }

    /// What that takes in `format`, bits per second with headers.
    pub fn full_bps(&self, format: Format) -> f64 {
        match format.frame_bytes() {
            None => f64::from(self.opus.bitrate_bps) + self.headers_bps(self.frames, format.rate),
            Some(bytes) => (bytes * 8) as f64 * f64::from(format.rate) + self.headers_bps(self.frames, format.rate),
        }
    }

    /// How to code where so many bits per second are left, with headers, after it was coded like `now`.
    pub fn coding(&self, now: Coding, budget_bps: Option<f64>) -> Coding {
        let Some(budget) = budget_bps else { return self.full() };
        let wished = f64::from(self.opus.bitrate_bps);
        let (well, least) = match self.opus.application {
            Application::Music => (48e3, 16e3),
            Application::Voice => (24e3, 12e3),
        };
        let lengths = [self.frames].into_iter().chain(LONGER.into_iter().filter(|frames| *frames > self.frames));
        let mut coding = self.full();
        for frames in lengths {
            let left = budget - self.headers_bps(frames, Format::OPUS.rate);
            coding = Coding { bitrate_bps: left.clamp(least, wished.max(least)) as u32, frames };
            let enough = wished.min(well) * if frames < now.frames { SPARE } else { 1.0 };
            if left >= enough.min(wished) {
                break;
            }
        }
        coding
    }

    fn headers_bps(&self, frames: usize, rate: u32) -> f64 {
        (self.overhead_bytes * 8) as f64 * f64::from(rate) / frames as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(bitrate_bps: u32, frames: usize) -> Wish {
        Wish { opus: Settings { bitrate_bps, ..Settings::default() }, frames, overhead_bytes: 40 }
    }

    #[test]
    fn the_bitrate_gives_way_first_and_then_the_frames() {
        let wish = wish(128_000, 240);
        let full = wish.full();
        assert_eq!(wish.full_bps(Format::OPUS), 192e3);
        assert_eq!(wish.full_bps(Format::l16(48_000, 2)), 1600e3);
        assert_eq!(wish.coding(full, None), full);
        assert_eq!(wish.coding(full, Some(500e3)), full);
        assert_eq!(wish.coding(full, Some(160e3)), Coding { bitrate_bps: 96_000, frames: 240 });
        assert_eq!(wish.coding(full, Some(100e3)), Coding { bitrate_bps: 68_000, frames: 480 });
        assert_eq!(wish.coding(full, Some(64e3)), Coding { bitrate_bps: 48_000, frames: 960 });
        assert_eq!(wish.coding(full, Some(120e3)), Coding { bitrate_bps: 56_000, frames: 240 });
        assert_eq!(wish.coding(full, Some(1e3)), Coding { bitrate_bps: 16_000, frames: 960 });
    }

    #[test]
    fn frames_get_shorter_when_there_is_some_to_spare() {
        let wish = wish(128_000, 240);
        let long = Coding { bitrate_bps: 68_000, frames: 480 };
        assert_eq!(wish.coding(long, Some(120e3)).frames, 480);
        assert_eq!(wish.coding(long, Some(130e3)).frames, 240);
    }

    #[test]
    fn what_is_modest_stays_as_it_is() {
        let wish = wish(32_000, 960);
        assert_eq!(wish.coding(wish.full(), Some(60e3)), wish.full());
    }
}
