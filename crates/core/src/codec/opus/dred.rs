//! What a packet tells of the sound before it: Opus' deep redundancy (DRED).

use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys as sys;

use super::{Error, RATE, failed};

/// The features of speech that one packet carries of what was said before it.
///
/// Allocates when it is made and never again.
pub(super) struct Dred {
    parser: NonNull<sys::OpusDREDDecoder>,
    features: NonNull<sys::OpusDRED>,
}

// SAFETY: neither has thread affinity, both are only reached through `&mut self`.
unsafe impl Send for Dred {}

impl Dred {
    pub fn new() -> Result<Self, Error> {
        let mut error = 0;
        // SAFETY: a valid pointer for the error; a null result is refused below.
        let parser = unsafe { sys::opus_dred_decoder_create(&mut error) };
        let parser = NonNull::new(parser).ok_or_else(|| failed(error))?;
        // SAFETY: as above.
        let features = NonNull::new(unsafe { sys::opus_dred_alloc(&mut error) });
        match features {
            Some(features) => Ok(Self { parser, features }),
            None => {
                // SAFETY: created above, not used again.
                unsafe { sys::opus_dred_decoder_destroy(parser.as_ptr()) };
                Err(failed(error))
            }
        }
    }

    /// Reads what `packet` carries; returns how many frames before its own sound that reaches, zero
    /// where there is nothing of the kind.
    pub fn parse(&mut self, packet: &[u8]) -> usize {
        let mut end: c_int = 0;
        // SAFETY: `packet` holds the bytes that it says; both objects are ours, `end` is one i32.
        let reach = unsafe {
            sys::opus_dred_parse(
                self.parser.as_ptr(),
                self.features.as_ptr(),
                packet.as_ptr(),
                packet.len() as i32,
                REACH_MAX,
                RATE,
                &mut end,
                0,
            )
        };
        usize::try_from(reach).unwrap_or(0)
    }

    /// Lets `decoder` speak, for all of `samples`, what was read of the sound that lies `before` frames
    /// before the packet's.
    pub fn decode(
        &mut self,
        decoder: NonNull<sys::OpusDecoder>,
        before: usize,
        samples: &mut [f32],
    ) -> Result<usize, Error> {
        let frames = (samples.len() / super::Decoder::CHANNELS) as c_int;
        // SAFETY: the caller lends its decoder; `samples` holds `frames * CHANNELS` floats.
        let written = unsafe {
            sys::opus_decoder_dred_decode_float(
                decoder.as_ptr(),
                self.features.as_ptr(),
                before as i32,
                samples.as_mut_ptr(),
                frames,
            )
        };
        super::checked(written)
    }
}

impl Drop for Dred {
    fn drop(&mut self) {
        // SAFETY: created by their counterparts, not used again.
        unsafe {
            sys::opus_dred_free(self.features.as_ptr());
            sys::opus_dred_decoder_destroy(self.parser.as_ptr());
        }
    }
}

/// One second, in frames: more is not carried.
const REACH_MAX: i32 = RATE;
