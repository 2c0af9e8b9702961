//! What a source is sent as: the format, and how much of it goes into one packet.

use audiostreamer_core::codec::opus::{self, Application};
use audiostreamer_core::coding::Wish;
use audiostreamer_core::packet::HEADER_BYTES;
use audiostreamer_core::sender::Beside;
use audiostreamer_core::{Codec, Format, PayloadTypes, packetizer, sender};

use super::{Media, WireFormat};
use crate::clock;
use crate::device::Shape;
use crate::error::Error;
use crate::link::OVERHEAD_BYTES;

/// How many captured frames make a packet; what a resampler takes varies, so there each block may.
pub(super) fn frames_worth_sending(media: &Media, shape: &Shape, payload_max: PayloadMax) -> usize {
    let config = packetizer_config(media, shape, payload_max);
    if config.rate == config.format.rate { config.frames } else { 1 }
}

/// The format that a source of `shape` is sent in, and the packetizer that makes it so.
pub(super) fn packetizer_config(media: &Media, shape: &Shape, payload_max: PayloadMax) -> packetizer::Config {
    let format = match &media.wire {
        WireFormat::Raw(format) => *format,
        WireFormat::Rtp { fixed: Some((_, format)), .. } => *format,
        WireFormat::Rtp { codec, types, fixed: None } => rtp_format(*codec, types, shape),
    };
    let frames = match (media.frame, format.codec, payload_max) {
        (Some(frame), Codec::Pcm(_), PayloadMax::Bytes(max)) => {
            fewest_equal_parts(audiostreamer_core::frames_in(frame, format.rate) as usize, &format, max)
        }
        (Some(frame), ..) => audiostreamer_core::frames_in(frame, format.rate) as usize,
        (None, Codec::Opus, _) if media.opus.application == Application::Voice => 960,
        (None, Codec::Opus, _) => 240,
        (None, Codec::Pcm(_), _) => pcm_frames(&format, shape, payload_max),
    };
    let opus =
        opus::Settings { bitrate_bps: bitrate_that_fits(media.opus.bitrate_bps, frames, payload_max), ..media.opus };
    packetizer::Config { rate: shape.rate, channels: shape.channels, format, frames, opus }
}

/// As much as packets of so many frames hold.
fn bitrate_that_fits(bitrate_bps: u32, frames: usize, payload_max: PayloadMax) -> u32 {
    match payload_max {
        PayloadMax::None => bitrate_bps,
        PayloadMax::Bytes(max) => bitrate_bps.min((8 * max * Format::OPUS.rate as usize / frames.max(1)) as u32),
    }
}

/// How it is sent where that takes no more than it may: Opus if need be and wanted.
///
/// # Errors
///
/// [`Error::Usage`] where lossless takes more than it may.
pub(super) fn below_ceiling(media: &Media, shape: &Shape, payload_max: PayloadMax) -> Result<Media, Error> {
    let Some(ceiling) = media.ceiling_bps.map(f64::from) else { return Ok(media.clone()) };
    let packetizer::Config { format, frames, opus, .. } = packetizer_config(media, shape, payload_max);
    let full = Wish { opus, frames, overhead_bytes: HEADER_BYTES + OVERHEAD_BYTES }.full_bps(format);
    match format.codec {
        Codec::Pcm(_) if full > ceiling && media.falls_back => Ok(Media { falls_back: false, ..media.coded() }),
        Codec::Pcm(_) if full > ceiling => Err(Error::Usage(format!(
            "--bitrate {:.0}k: {format} takes {:.0}k with its headers; allow more, or use --codec opus or auto",
            ceiling / 1e3,
            full / 1e3,
        ))),
        _ => Ok(media.clone()),
    }
}

/// The first that has a payload type: as captured, else at 48 kHz, else 48 kHz stereo.
fn rtp_format(codec: Codec, types: &PayloadTypes, shape: &Shape) -> Format {
    if codec == Codec::Opus {
        return Format::OPUS;
    }
    let channels = shape.channels.min(2) as u8;
    let wishes = [(shape.rate, channels), (48_000, channels)];
    wishes
        .into_iter()
        .map(|(rate, channels)| Format { codec, rate, channels })
        .find(|format| types.payload_type(*format).is_some())
        .unwrap_or(Format { codec, rate: 48_000, channels: 2 })
}

/// PCM has no frames of its own: the source's period when it is a good one (nothing then waits
/// for a frame to fill up), else 2.5 ms; never more than fits a packet.
fn pcm_frames(format: &Format, shape: &Shape, payload_max: PayloadMax) -> usize {
    let at_wire_rate = |frames: usize| frames * format.rate as usize / shape.rate as usize;
    let (shortest, longest) = (format.rate as usize / 1000, format.rate as usize / 200);
    let period = at_wire_rate(shape.period);
    let frames = if (shortest..=longest).contains(&period) { period } else { format.rate as usize / 400 };
    let max = match payload_max {
        PayloadMax::Bytes(max) => max,
        PayloadMax::None => UNFRAGMENTED_BYTES,
    };
    fewest_equal_parts(frames, format, max)
}

/// What is too long for one packet is cut.
fn fewest_equal_parts(frames: usize, format: &Format, payload_bytes_max: usize) -> usize {
    let fits = payload_bytes_max / format.frame_bytes().unwrap_or(1);
    frames / frames.div_ceil(fits.max(1))
}

/// What a packet may carry at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadMax {
    /// What is longer is fragmented on its way, or waits in a stream: the user's affair.
    None,
    /// What is longer can't be sent at all.
    Bytes(usize),
}

/// What a packet may carry without being fragmented anywhere: IPv6's least MTU of 1280 bytes less
/// the headers of IPv6, UDP and RTP.
const UNFRAGMENTED_BYTES: usize = 1280 - 40 - 8 - HEADER_BYTES;

pub(super) fn sender_config(media: &Media, format: Format) -> Result<sender::Config, Error> {
    let wire = match &media.wire {
        WireFormat::Raw(_) => sender::Wire::Raw,
        WireFormat::Rtp { types, .. } => match types.payload_type(format) {
            Some(payload_type) => sender::Wire::Rtp { payload_type },
            None => return Err(Error::NoPayloadType(format)),
        },
    };
    let beside = Beside { format, application: media.opus.application };
    let has_copies = matches!(&media.wire, WireFormat::Rtp { types, .. } if types.have_copies());
    let random = crate::random::u64();
    Ok(sender::Config {
        ssrc: random as u32,
        first_sequence: (random >> 32) as u16,
        first_timestamp: crate::random::u64() as u32,
        cname: crate::random::cname(),
        wire,
        rate: format.rate,
        beside: has_copies.then_some(beside),
        wall_epoch: clock::wall_epoch(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use audiostreamer_core::Encoding;

    fn media(codec: Codec) -> Media {
        let wire = WireFormat::Rtp { codec, types: Box::default(), fixed: None };
        Media {
            wire,
            frame: None,
            opus: opus::Settings::default(),
            ceiling_bps: None,
            redundancy: Default::default(),
            padding: 0,
            falls_back: false,
        }
    }

    #[test]
    fn lossless_is_sent_as_captured_where_there_is_a_payload_type() {
        let l16 = media(Codec::Pcm(Encoding::S16Be));
        let format =
            |rate, channels| packetizer_config(&l16, &Shape { rate, channels, period: 128 }, PayloadMax::None).format;
        assert_eq!(format(48_000, 2), Format::l16(48_000, 2));
        assert_eq!(format(44_100, 1), Format::l16(44_100, 1));
        assert_eq!(format(22_050, 1), Format::l16(48_000, 1));
        assert_eq!(format(48_000, 6), Format::l16(48_000, 2));
    }

    #[test]
    fn pcm_frames_are_the_sources_period_where_that_is_a_good_one() {
        let frames = |codec, period| {
            packetizer_config(&media(codec), &Shape { rate: 48_000, channels: 2, period }, PayloadMax::None).frames
        };
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 128), 128);
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 24), 120);
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 1024), 120);
        assert_eq!(frames(Codec::Pcm(Encoding::S24Be), 240), 120, "1440 bytes do not fit a packet");
        assert_eq!(frames(Codec::Opus, 128), 240);
    }

    #[test]
    fn a_frame_that_does_not_fit_an_encrypted_packet_is_cut() {
        let encrypted = PayloadMax::Bytes(1150);
        let frames = |codec, millis| {
            let media = Media { frame: Some(Duration::from_millis(millis)), ..media(codec) };
            packetizer_config(&media, &Shape { rate: 48_000, channels: 2, period: 128 }, encrypted).frames
        };
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 5), 240, "960 bytes");
        assert_eq!(frames(Codec::Pcm(Encoding::S24Be), 5), 120);
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 20), 240);
        assert_eq!(frames(Codec::Opus, 20), 960);
    }
}
