//! A thin safe face for libopus (RFC 6716). All of the crate's `unsafe` is here.

#![expect(unsafe_code, reason = "libopus is a C library")]

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use opusic_sys as sys;

use crate::Error;

/// Frames of the longest Opus packet at 48 kHz: 120 ms (RFC 6716 section 3.2.5).
pub const PACKET_FRAMES_MAX: usize = 5760;

/// Bytes of the longest Opus frame (RFC 6716 section 3.2.1) with room for its table of contents.
const PACKET_BYTES_MAX: usize = 1275 + 1;

const RATE: i32 = 48_000;

/// What an encoder is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// CELT only: 2.5 ms look-ahead (RESTRICTED_LOWDELAY), good for everything.
    Music,
    /// SILK and hybrid modes for speech at low rates: 6.5 ms look-ahead (VOIP). All packets are of
    /// one size.
    Voice,
}

/// How an [`Encoder`] codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the sound is.
    pub application: Application,
    /// Bits per second of the codec alone, without headers; 6,000 to 510,000.
    pub bitrate_bps: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { application: Application::Music, bitrate_bps: 96_000 }
    }
}

/// Encodes 48 kHz frames of one or two channels.
pub struct Encoder {
    state: NonNull<sys::OpusEncoder>,
    channels: usize,
}

// SAFETY: the C state has no thread affinity and is only reached through `&mut self`.
unsafe impl Send for Encoder {}

impl Encoder {
    /// An encoder for one or two channels.
    pub fn new(channels: u8, settings: Settings) -> Result<Self, Error> {
        let application = match settings.application {
            Application::Music => sys::OPUS_APPLICATION_RESTRICTED_LOWDELAY,
            Application::Voice => sys::OPUS_APPLICATION_VOIP,
        };
        let mut error = 0;
        // SAFETY: plain values and a valid pointer for the error; a null result is refused below.
        let state = unsafe { sys::opus_encoder_create(RATE, c_int::from(channels), application, &mut error) };
        let state = NonNull::new(state).ok_or_else(|| failed(error))?;
        let mut encoder = Self { state, channels: channels.into() };
        encoder.set(sys::OPUS_SET_BITRATE_REQUEST, settings.bitrate_bps as i32)?;
        if settings.application == Application::Voice {
            // The sizes of packets tell, through any encryption, what is said (RFC 6562 section 3).
            encoder.set(sys::OPUS_SET_VBR_REQUEST, 0)?;
        }
        Ok(encoder)
    }

    /// Encodes one packet of interleaved samples into `packet`, which it replaces. The number of
    /// frames must be 120, 240, 480, 960, 1920 or 2880.
    pub fn encode(&mut self, samples: &[f32], packet: &mut Vec<u8>) -> Result<(), Error> {
        packet.resize(PACKET_BYTES_MAX, 0);
        let frames = (samples.len() / self.channels) as c_int;
        // SAFETY: `samples` holds `frames * channels` floats, `packet` the bytes that it says.
        let length = unsafe {
            sys::opus_encode_float(
                self.state.as_ptr(),
                samples.as_ptr(),
                frames,
                packet.as_mut_ptr(),
                packet.len() as i32,
            )
        };
        packet.truncate(checked(length)?);
        Ok(())
    }

    /// Frames by which the coded sound lags behind what was given.
    pub fn lookahead_frames(&mut self) -> u32 {
        let mut frames: i32 = 0;
        // SAFETY: this request writes one i32 through the pointer.
        unsafe { sys::opus_encoder_ctl(self.state.as_ptr(), sys::OPUS_GET_LOOKAHEAD_REQUEST, &mut frames as *mut i32) };
        frames.max(0) as u32
    }

    fn set(&mut self, request: c_int, value: i32) -> Result<(), Error> {
        // SAFETY: all requests passed here take one i32.
        checked(unsafe { sys::opus_encoder_ctl(self.state.as_ptr(), request, value) }).map(drop)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: created by `opus_encoder_create`, not used again.
        unsafe { sys::opus_encoder_destroy(self.state.as_ptr()) }
    }
}

/// Decodes packets to 48 kHz stereo, mono packets to both channels.
///
/// Allocates when it is made and never again.
pub struct Decoder {
    state: NonNull<sys::OpusDecoder>,
}

// SAFETY: as for the encoder.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Channels that come out.
    pub const CHANNELS: usize = 2;

    /// A decoder for any stream.
    pub fn new() -> Result<Self, Error> {
        let mut error = 0;
        // SAFETY: plain values and a valid pointer for the error; a null result is refused below.
        let state = unsafe { sys::opus_decoder_create(RATE, Self::CHANNELS as c_int, &mut error) };
        Ok(Self { state: NonNull::new(state).ok_or_else(|| failed(error))? })
    }

    /// Decodes one packet into `samples` (interleaved), or conceals where there is none: then all
    /// of `samples` is filled, a multiple of 120 frames. Returns the frames written.
    pub fn decode(&mut self, packet: Option<&[u8]>, samples: &mut [f32]) -> Result<usize, Error> {
        let (data, length) = packet.map_or((std::ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len() as i32));
        let frames = (samples.len() / Self::CHANNELS) as c_int;
        // SAFETY: `data` holds `length` bytes or is null, `samples` holds `frames * CHANNELS` floats.
        let written =
            unsafe { sys::opus_decode_float(self.state.as_ptr(), data, length, samples.as_mut_ptr(), frames, 0) };
        checked(written)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: created by `opus_decoder_create`, not used again.
        unsafe { sys::opus_decoder_destroy(self.state.as_ptr()) }
    }
}

/// Frames at 48 kHz that a packet holds, or `None` where it is not a valid Opus packet.
pub fn packet_frames(packet: &[u8]) -> Option<usize> {
    if packet.is_empty() {
        return None;
    }
    // SAFETY: the pointer holds that many bytes, at least one.
    let frames = unsafe { sys::opus_packet_get_nb_samples(packet.as_ptr(), packet.len() as i32, RATE) };
    usize::try_from(frames).ok().filter(|&frames| frames > 0 && frames <= PACKET_FRAMES_MAX)
}

fn checked(result: c_int) -> Result<usize, Error> {
    usize::try_from(result).map_err(|_| failed(result))
}

fn failed(code: c_int) -> Error {
    // SAFETY: libopus returns a static string for every code.
    let reason = unsafe { CStr::from_ptr(sys::opus_strerror(code)) };
    Error::Opus(reason.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_size_decodes_to_its_length() {
        for frames in [120, 240, 480, 960] {
            let mut encoder = Encoder::new(2, Settings::default()).unwrap();
            let mut decoder = Decoder::new().unwrap();
            let mut packet = Vec::new();
            encoder.encode(&vec![0.1; frames * 2], &mut packet).unwrap();
            assert_eq!(packet_frames(&packet), Some(frames));
            let mut samples = vec![0.0; PACKET_FRAMES_MAX * 2];
            assert_eq!(decoder.decode(Some(&packet), &mut samples).unwrap(), frames);
            assert_eq!(decoder.decode(None, &mut samples[..240]).unwrap(), 120);
        }
    }

    #[test]
    fn the_size_of_a_packet_of_voice_says_nothing() {
        let mut encoder = Encoder::new(1, Settings { application: Application::Voice, bitrate_bps: 40_000 }).unwrap();
        let mut packet = Vec::new();
        let mut sizes = Vec::new();
        for block in 0..20 {
            let loud = if block % 4 < 2 { 0.0 } else { 0.5 };
            let samples: Vec<f32> = (0..960).map(|n| loud * (n as f32 * 0.1 * (1 + block) as f32).sin()).collect();
            encoder.encode(&samples, &mut packet).unwrap();
            sizes.push(packet.len());
        }
        assert_eq!(sizes, [100; 20]);
    }

    #[test]
    fn look_ahead_is_what_the_application_promises() {
        let lookahead = |application| {
            let settings = Settings { application, ..Settings::default() };
            Encoder::new(1, settings).unwrap().lookahead_frames()
        };
        assert_eq!(lookahead(Application::Music), 120);
        assert_eq!(lookahead(Application::Voice), 312);
    }

    #[test]
    fn what_is_no_opus_packet_is_refused() {
        assert_eq!(packet_frames(&[]), None);
        assert_eq!(packet_frames(&[0xff, 0xff]), None, "63 frames of 20 ms are more than 120 ms");
        let mut samples = vec![0.0; PACKET_FRAMES_MAX * 2];
        assert!(Decoder::new().unwrap().decode(Some(&[0xff, 0xff]), &mut samples).is_err());
    }

    #[test]
    fn an_unheard_of_bitrate_is_an_error() {
        let settings = Settings { bitrate_bps: 0, ..Settings::default() };
        assert!(Encoder::new(2, settings).is_err());
    }
}
