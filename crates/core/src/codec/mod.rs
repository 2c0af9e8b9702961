//! Samples to packets and back: one enum for all codecs.

pub mod opus;
pub mod pcm;

use crate::{Codec, Encoding, Error, Format, frames_in};
use conceal::Concealment;

mod conceal;

/// Turns frames of interleaved samples into payloads.
#[derive(Clone)]
pub enum Encoder {
    /// Samples as they are, in this encoding.
    Pcm(Encoding),
    /// libopus.
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder for `channels` channels of `format`; Opus needs one or two.
    pub fn new(format: Format, channels: u8, settings: opus::Settings) -> Result<Self, Error> {
        match format.codec {
            Codec::Pcm(encoding) => Ok(Encoder::Pcm(encoding)),
            Codec::Opus => opus::Encoder::new(channels, settings).map(Encoder::Opus),
        }
    }

    /// Replaces `payload` by the code of one packet of interleaved `samples`.
    pub fn encode(&mut self, samples: &[f32], payload: &mut Vec<u8>) -> Result<(), Error> {
        payload.clear();
        match self {
            Encoder::Pcm(encoding) => {
                pcm::encode(*encoding, samples, payload);
                Ok(())
            }
            Encoder::Opus(encoder) => encoder.encode(samples, payload),
        }
    }

    /// Frames by which the decoded sound lags behind the encoded one.
    pub fn lookahead_frames(&mut self) -> u32 {
        match self {
            Encoder::Pcm(_) => 0,
            Encoder::Opus(encoder) => encoder.lookahead_frames(),
        }
    }
}

/// Turns payloads into frames of interleaved samples, and `None` into a concealment.
///
/// Allocates when it is made and never again.
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Decoder {
    /// Samples as they are.
    Pcm { encoding: Encoding, concealment: Box<Concealment> },
    /// libopus.
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder for payloads of `format`; Opus comes out in stereo whatever was put in.
    pub fn new(format: Format) -> Result<Self, Error> {
        match format.codec {
            Codec::Pcm(encoding) => Ok(Decoder::Pcm { encoding, concealment: Box::new(Concealment::new(format)) }),
            Codec::Opus => opus::Decoder::new().map(Decoder::Opus),
        }
    }

    /// Writes the sound of one payload, or of a loss, over `samples`; returns how many samples
    /// are valid, each finite and within [`pcm::LOUDEST`]. A payload that can't be decoded is
    /// concealed like a lost one.
    ///
    /// `samples` must be of the payload's length ([`payload_frames`] times channels). For a loss
    /// it may be of any length; Opus conceals whole steps of 2.5 or 10 ms ([`conceal_step`]).
    ///
    /// [`conceal_step`]: Self::conceal_step
    pub fn decode(&mut self, payload: Option<&[u8]>, samples: &mut [f32]) -> usize {
        match self {
            Decoder::Pcm { encoding, concealment } => {
                match payload {
                    Some(bytes) => {
                        pcm::decode(*encoding, bytes, samples);
                        concealment.end();
                    }
                    None => concealment.go_on(samples),
                }
                samples.len()
            }
            Decoder::Opus(decoder) => {
                let frames =
                    decoder.decode(payload, samples).or_else(|_| decoder.decode(None, samples)).unwrap_or_else(|_| {
                        samples.fill(0.0);
                        samples.len() / opus::Decoder::CHANNELS
                    });
                // A packet made on purpose decodes to a million times full scale.
                samples.iter_mut().for_each(|sample| *sample = pcm::sane(*sample));
                frames * opus::Decoder::CHANNELS
            }
        }
    }

    /// Writes the sound of a loss over all of `samples`, as [`decode`](Self::decode) does for
    /// `None`. `following` is the payload that comes directly after them, where it is known: PCM is
    /// led towards it. Returns whether it is decoded next without a break; where not, see
    /// [`joins_losses`](Self::joins_losses).
    ///
    /// PCM is led best when all of a gap is concealed by one call: see
    /// [`led_frames_max`](Self::led_frames_max).
    pub fn conceal(&mut self, samples: &mut [f32], following: Option<&[u8]>) -> bool {
        match (self, following) {
            (Decoder::Pcm { encoding, concealment }, Some(payload)) => {
                concealment.lead(samples, |following| pcm::decode(*encoding, payload, following))
            }
            (decoder, _) => {
                decoder.decode(None, samples);
                false
            }
        }
    }

    /// Takes note of what was made of the samples: what the next loss is to go on from.
    pub fn remember(&mut self, played: &[f32]) {
        match self {
            Decoder::Pcm { concealment, .. } => concealment.remember(played),
            Decoder::Opus(_) => {} // goes on from what it decoded
        }
    }

    /// Says that something else is played from now on: the next loss goes on from that.
    pub fn yield_to_other(&mut self) {
        match self {
            Decoder::Pcm { concealment, .. } => concealment.end(),
            Decoder::Opus(_) => {} // knows nothing but what it decoded
        }
    }

    /// Whether the start of what is decoded after any loss goes on where its concealment ended.
    pub fn joins_losses(&self) -> bool {
        match self {
            Decoder::Pcm { .. } => false, // only where `conceal` says so
            Decoder::Opus(_) => true,     // its frames overlap
        }
    }

    /// The longest gap, in frames of `rate`, that is worth to be concealed by one
    /// [`conceal`](Self::conceal) when it is known what follows; zero where that makes no difference.
    pub fn led_frames_max(&self, rate: u32) -> usize {
        match self {
            Decoder::Pcm { .. } => frames_in(conceal::LED, rate) as usize,
            Decoder::Opus(_) => 0,
        }
    }

    /// Frames that a concealment must be a multiple of; with Opus that depends on what came last.
    pub fn conceal_step(&self) -> usize {
        match self {
            Decoder::Pcm { .. } => 1,
            Decoder::Opus(decoder) => decoder.conceal_step(),
        }
    }

    /// Whether a payload of another encoder, for the same sound in fewer bits, may be decoded in place of
    /// a lost one. Where it may it should be: of speech at 48 kb/s, lost as in an internet with bursts of
    /// 15 ms, copies at 24 kb/s leave a PESQ-WB of 4.4 through the same decoder, of 3.0 through another,
    /// because of what this one then does not know.
    pub fn is_alike(&self, payload: &[u8]) -> bool {
        match self {
            Decoder::Pcm { .. } => false,
            Decoder::Opus(decoder) => decoder.is_alike(payload),
        }
    }

    /// Whether it knows more of the sound when it has decoded that of another encoder. What is coded another way
    /// (speech beside music) makes Opus forget what it knew, and it is too loud or too quiet for 60 ms.
    pub fn learns_from(&self, payload: &[u8]) -> bool {
        match self {
            Decoder::Pcm { .. } => false,
            Decoder::Opus(decoder) => decoder.learns_from(payload),
        }
    }

    /// Writes what `following`, the payload that comes `gap` frames later, tells of the sound that is
    /// lost before it, over the start of `samples`; returns how many frames that is, zero where it
    /// tells nothing and the loss must be [made up](Self::conceal). With room for
    /// [`opus::RESTORED_FRAMES_MAX`] frames all is found that there is.
    pub fn restore(&mut self, following: &[u8], gap: usize, samples: &mut [f32]) -> usize {
        match self {
            Decoder::Pcm { .. } => 0,
            Decoder::Opus(decoder) => {
                let frames = decoder.restore(following, gap, samples);
                let restored = &mut samples[..frames * opus::Decoder::CHANNELS];
                restored.iter_mut().for_each(|sample| *sample = pcm::sane(*sample));
                frames
            }
        }
    }

    /// Whether losses may take the time that concealing them best takes: see
    /// [`opus::Decoder::set_deep`].
    pub fn set_deep(&mut self, deep: bool) {
        match self {
            Decoder::Pcm { .. } => {}
            Decoder::Opus(decoder) => decoder.set_deep(deep),
        }
    }
}

/// Frames that a payload of `format` holds; `None` where it is not a valid payload: empty, not of
/// whole frames, or longer than [`PAYLOAD_MILLIS_MAX`].
pub fn payload_frames(format: Format, payload: &[u8]) -> Option<usize> {
    match format.frame_bytes() {
        None => opus::packet_frames(payload),
        Some(frame_bytes) => {
            let frames = payload.len() / frame_bytes;
            let whole = payload.len().is_multiple_of(frame_bytes);
            let longest = format.rate as usize * PAYLOAD_MILLIS_MAX / 1000;
            (whole && frames > 0 && frames <= longest).then_some(frames)
        }
    }
}

/// Sound that one payload may hold. Opus ends at 120 ms; nobody sends longer PCM.
pub const PAYLOAD_MILLIS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_longer_than_any_frame_are_refused() {
        let format = Format::l16(8_000, 1);
        assert_eq!(payload_frames(format, &[0; 320]), Some(160));
        assert_eq!(payload_frames(format, &[0; 3200]), Some(1600));
        assert_eq!(payload_frames(format, &[0; 3202]), None);
        assert_eq!(payload_frames(format, &[0; 321]), None, "half a sample");
        assert_eq!(payload_frames(format, &[]), None);
    }

    #[test]
    fn an_undecodable_payload_is_concealed() {
        let mut decoder = Decoder::new(Format::OPUS).unwrap();
        let mut samples = [1.0; 240];
        assert_eq!(decoder.decode(Some(&[0xff, 0xff]), &mut samples), 240);
        assert!(samples.iter().all(|sample| sample.abs() < 1e-3));
    }

    #[test]
    fn a_packet_made_to_be_loud_stays_within_bounds() {
        let packet = [0xb1; 63];
        let mut samples = vec![0.0; payload_frames(Format::OPUS, &packet).unwrap() * 2];
        let mut decoder = Decoder::new(Format::OPUS).unwrap();
        assert_eq!(decoder.decode(Some(&packet), &mut samples), samples.len());
        assert_eq!(samples.iter().copied().fold(0.0, f32::max), pcm::LOUDEST, "libopus gives 673,000");
    }
}
