//! A thin safe face for libopus (RFC 6716). All of the crate's `unsafe` is here.

#![expect(unsafe_code, reason = "libopus is a C library")]

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;
use std::time::Duration;

use opusic_sys as sys;

use crate::Error;
use dred::Dred;

mod dred;

/// Frames of the longest Opus packet at 48 kHz: 120 ms (RFC 6716 section 3.2.5).
pub const PACKET_FRAMES_MAX: usize = 5760;

/// Bytes of the longest Opus frame (RFC 6716 section 3.2.1) with room for its table of contents.
const PACKET_BYTES_MAX: usize = 1275 + 1;

const RATE: i32 = 48_000;

/// How far back DRED reaches in what we send. Half a second sounds hardly better, and takes more bits
/// from the sound itself.
pub const DRED: Duration = Duration::from_millis(200);

/// In shorter packets, and in fewer bits per second, DRED takes too much from the sound itself.
pub const DRED_FRAMES_MIN: usize = 960;
/// See [`DRED_FRAMES_MIN`].
pub const DRED_BPS_MIN: u32 = 40_000;

/// The longest that [`Decoder::restore`] writes at once: 20 ms, the frames that speech comes in.
pub const RESTORED_FRAMES_MAX: usize = 960;

/// The complexity from which on libopus conceals by a neural network; more does nothing here.
const DEEP: i32 = 5;

/// What SILK, and what CELT, conceals at a time: 10 ms and 2.5 ms.
const SILK_FRAMES: usize = 480;
const CELT_FRAMES: usize = 120;

/// What an encoder is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// CELT only: 2.5 ms look-ahead (RESTRICTED_LOWDELAY), good for everything.
    Music,
    /// SILK and hybrid modes for speech at low rates: 6.5 ms look-ahead (VOIP). All packets are of
    /// one size.
    Voice,
}

impl Application {
    /// What is enough for it where nothing else is said: beyond, it sounds hardly better (PESQ-WB of four
    /// voices in frames of 20 ms: 4.43 at 48 kb/s, 4.47 at 64, 4.49 at 96; at losses of 4.5 % with copies 4.33, 4.41
    /// and 4.44).
    pub fn usual_bitrate_bps(self) -> u32 {
        match self {
            Application::Music => 96_000,
            Application::Voice => 64_000,
        }
    }
}

/// libopus' own request for one of its modes, of which SILK's for narrow bands counts as hybrid; not in its public
/// header, but the same since its first release (`opus_private.h`).
const SET_FORCE_MODE: c_int = 11_002;
const MODE_HYBRID: i32 = 1001;

/// More than that no [`Encoder`] puts out, bits per second.
pub const BITRATE_MAX: u32 = 510_000;

/// How an [`Encoder`] codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the sound is.
    pub application: Application,
    /// Bits per second of the codec alone, without headers; 6,000 to [`BITRATE_MAX`].
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
    loss_percent: u8,
}

// SAFETY: the C state has no thread affinity and is only reached through `&mut self`.
unsafe impl Send for Encoder {}

impl Clone for Encoder {
    /// Both go on from the same state, each with what it is given.
    fn clone(&self) -> Self {
        let channels = self.channels as c_int;
        // SAFETY: the size is that of any encoder for so many channels; its state is continuous in memory, and
        // a shallow copy is all that it takes to copy it, as libopus says of it.
        let state = unsafe {
            let mut error = 0;
            let application = sys::OPUS_APPLICATION_VOIP; // is copied as well
            let state = sys::opus_encoder_create(RATE, channels, application, &mut error);
            let state = NonNull::new(state).expect("there is memory for an encoder");
            let bytes = sys::opus_encoder_get_size(channels) as usize;
            std::ptr::copy_nonoverlapping(self.state.as_ptr().cast::<u8>(), state.as_ptr().cast::<u8>(), bytes);
            state
        };
        Self { state, ..*self }
    }
}

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
        let mut encoder = Self { state, channels: channels.into(), loss_percent: 0 };
        encoder.set_bitrate(settings.bitrate_bps)?;
        if settings.application == Application::Voice {
            // The sizes of packets tell, through any encryption, what is said (RFC 6562 section 3).
            encoder.set(sys::OPUS_SET_VBR_REQUEST, 0)?;
            // At high rates Opus would code it like music: it sounds no better then (PESQ-WB 4.41 rather than
            // 4.49 at 96 kb/s), and copies of speech can't stand in for it (4.03 rather than 4.44 at losses of
            // 4.5 %). In frames shorter than 10 ms it does so all the same.
            encoder.set(SET_FORCE_MODE, MODE_HYBRID)?;
        }
        Ok(encoder)
    }

    /// Says which share of the packets is lost, in percent: then a part of the bits goes into deep
    /// redundancy (DRED), which tells in each packet what was said in the [`DRED`] before it. Good for
    /// voice in packets of 20 ms; in shorter ones and for music the bits are better spent otherwise.
    pub fn set_loss(&mut self, percent: u8) -> Result<(), Error> {
        if percent == self.loss_percent {
            return Ok(());
        }
        self.loss_percent = percent;
        let dred = if percent > 0 { DRED.as_millis() as i32 / 10 } else { 0 };
        self.set(sys::OPUS_SET_DRED_DURATION_REQUEST, dred)?;
        self.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, i32::from(percent.min(100)))
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

    /// Codes in so many bits per second from the next packet on, without a break.
    pub fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), Error> {
        self.set(sys::OPUS_SET_BITRATE_REQUEST, bitrate_bps as i32)
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
    dred: Dred,
    /// Whether the last packet was coded as speech, by SILK.
    speech: bool,
    /// Whether losses of speech may be concealed by a neural network.
    deep: bool,
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
        let state = NonNull::new(state).ok_or_else(|| failed(error))?;
        Ok(Self { state, dred: Dred::new()?, speech: false, deep: true })
    }

    /// Whether losses of speech may be concealed by a neural network, as they are where nothing else was
    /// said: it sounds better, but the first 10 ms of each loss cost half a millisecond. Without it
    /// nothing is [restored](Self::restore) from DRED either.
    ///
    /// Never those of what was coded as music: measured on plucked strings and drums it is no nearer to
    /// what was lost, and it knows one channel of 8 kHz only.
    pub fn set_deep(&mut self, deep: bool) {
        self.set_state(self.speech, deep);
    }

    fn set_state(&mut self, speech: bool, deep: bool) {
        let was_deep = self.speech && self.deep;
        (self.speech, self.deep) = (speech, deep);
        if was_deep != (speech && deep) {
            let complexity: i32 = if was_deep { 0 } else { DEEP };
            // SAFETY: this request takes one i32, and these are within its range.
            unsafe { sys::opus_decoder_ctl(self.state.as_ptr(), sys::OPUS_SET_COMPLEXITY_REQUEST, complexity) };
        }
    }

    /// Frames that a concealment must be a multiple of. SILK makes up 10 ms at a time: what is asked
    /// for in shorter pieces comes out as so many beginnings.
    pub fn conceal_step(&self) -> usize {
        if self.speech { SILK_FRAMES } else { CELT_FRAMES }
    }

    /// Whether a packet of another encoder may be decoded in place of a lost one: speech after speech.
    pub fn is_alike(&self, packet: &[u8]) -> bool {
        self.speech && is_speech(packet)
    }

    /// Whether a packet of another encoder is coded as what was decoded last, and so keeps what is known of it.
    pub fn learns_from(&self, packet: &[u8]) -> bool {
        self.speech == is_speech(packet)
    }

    /// Writes what `following`, the packet that comes `gap` frames later, tells of the sound that is
    /// lost before it, over the start of `samples`: its in-band FEC, or DRED. Returns the frames
    /// written, zero where it tells nothing.
    pub fn restore(&mut self, following: &[u8], gap: usize, samples: &mut [f32]) -> usize {
        let room = samples.len() / Self::CHANNELS;
        let written = if gap <= room && has_fec(following) && packet_frames(following) == Some(gap) {
            self.decode_data(Some(following), &mut samples[..gap * Self::CHANNELS], 1)
        } else if self.speech && self.deep && gap.min(room) >= SILK_FRAMES && self.dred.parse(following) >= gap {
            self.dred.decode(self.state, gap, &mut samples[..SILK_FRAMES * Self::CHANNELS])
        } else {
            return 0;
        };
        written.unwrap_or(0)
    }

    /// Decodes one packet into `samples` (interleaved), or conceals where there is none: then all
    /// of `samples` is filled, a multiple of 120 frames. Returns the frames written.
    pub fn decode(&mut self, packet: Option<&[u8]>, samples: &mut [f32]) -> Result<usize, Error> {
        let written = self.decode_data(packet, samples, 0)?;
        if let Some(packet) = packet {
            self.set_state(is_speech(packet), self.deep);
        }
        Ok(written)
    }

    fn decode_data(&mut self, packet: Option<&[u8]>, samples: &mut [f32], fec: c_int) -> Result<usize, Error> {
        let (data, length) = packet.map_or((std::ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len() as i32));
        let frames = (samples.len() / Self::CHANNELS) as c_int;
        // SAFETY: `data` holds `length` bytes or is null, `samples` holds `frames * CHANNELS` floats.
        let written =
            unsafe { sys::opus_decode_float(self.state.as_ptr(), data, length, samples.as_mut_ptr(), frames, fec) };
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

/// Whether a packet holds anything of SILK's (RFC 6716 section 3.1, table 2).
fn is_speech(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc >> 3 < 16)
}

/// Whether a packet says once more, in fewer bits, what the one before it said.
fn has_fec(packet: &[u8]) -> bool {
    // SAFETY: the pointer holds that many bytes, at least one.
    !packet.is_empty() && unsafe { sys::opus_packet_has_lbrr(packet.as_ptr(), packet.len() as i32) } == 1
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
    fn a_clone_goes_on_as_the_encoder_itself_does() {
        let settings = |application| Settings { application, bitrate_bps: 48_000 };
        for application in [Application::Music, Application::Voice] {
            let mut encoder = Encoder::new(2, settings(application)).unwrap();
            let sound =
                |n: usize| (0..2 * 960).map(|i| ((n * 960 + i / 2) as f32 * 0.05).sin() * 0.3).collect::<Vec<_>>();
            let (mut one, mut other) = (Vec::new(), Vec::new());
            (0..10).for_each(|n| encoder.encode(&sound(n), &mut one).unwrap());
            let mut clone = encoder.clone();
            for n in 10..20 {
                encoder.encode(&sound(n), &mut one).unwrap();
                clone.encode(&sound(n), &mut other).unwrap();
                assert_eq!(one, other);
            }
            encoder.set_bitrate(16_000).unwrap();
            (20..30).for_each(|n| encoder.encode(&sound(n), &mut one).unwrap());
            (20..30).for_each(|n| clone.encode(&sound(n), &mut other).unwrap());
            assert!(one.len() < other.len(), "they share nothing");
        }
    }

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

    /// A voice of `seconds` that begins at `from`, mono: harmonics of 150 Hz that come and go.
    fn voice(seconds: f32, from: f32) -> Vec<f32> {
        let frame = |n: usize| {
            let t = n as f32 / RATE as f32;
            let loud = if t < from { 0.0 } else { 0.1 + 0.05 * (t * 20.0).sin() };
            (1..20).map(|k| (t * 942.5 * k as f32).sin() / k as f32).sum::<f32>() * loud
        };
        (0..(seconds * RATE as f32) as usize).map(frame).collect()
    }

    fn packets(sound: &[f32], settings: Settings, prepare: impl FnOnce(&mut Encoder)) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(1, settings).unwrap();
        prepare(&mut encoder);
        let mut code = |block: &[f32]| {
            let mut packet = Vec::new();
            encoder.encode(block, &mut packet).unwrap();
            packet
        };
        sound.chunks_exact(960).map(&mut code).collect()
    }

    const VOICE: Settings = Settings { application: Application::Voice, bitrate_bps: 48_000 };

    fn loudness(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    /// What stands for the 100 ms from 0.5 s on, where a voice has begun at 0.52 s.
    fn made_of_a_loss(packets: &[Vec<u8>], deep: bool) -> (Vec<f32>, usize) {
        let mut decoder = Decoder::new().unwrap();
        decoder.set_deep(deep);
        let mut samples = vec![0.0; 960 * 2];
        packets[..25].iter().for_each(|packet| _ = decoder.decode(Some(packet), &mut samples).unwrap());
        let (mut made, mut restored) = (Vec::new(), 0);
        while made.len() < 4800 * 2 {
            let gap = 4800 - made.len() / 2;
            let told = decoder.restore(&packets[30], gap, &mut samples);
            let frames = if told > 0 { told } else { decoder.decode(None, &mut samples[..960]).unwrap() };
            restored += told;
            made.extend(&samples[..frames * 2]);
        }
        (made, restored)
    }

    #[test]
    fn voice_is_coded_as_speech_at_any_rate_and_stands_in_for_itself() {
        let sound = voice(0.2, 0.0);
        for bitrate_bps in [15_000, 64_000, 256_000] {
            let packets = packets(&sound, Settings { bitrate_bps, ..VOICE }, |_| {});
            assert!(packets.iter().all(|packet| is_speech(packet)), "{bitrate_bps}");
            let mut decoder = Decoder::new().unwrap();
            decoder.decode(Some(&packets[0]), &mut vec![0.0; 960 * 2]).unwrap();
            assert!(decoder.is_alike(&packets[1]) && decoder.learns_from(&packets[1]));
        }
        let music = packets(&sound, Settings::default(), |_| {});
        assert!(!music.iter().any(|packet| is_speech(packet)));
    }

    #[test]
    fn dred_tells_of_a_voice_that_began_in_a_loss() {
        let sound = voice(0.7, 0.52);
        let with = packets(&sound, VOICE, |encoder| encoder.set_loss(10).unwrap());
        let without = packets(&sound, VOICE, |_| {});
        assert_eq!(with[30].len(), without[30].len(), "it takes its bits from the sound");
        let (made, restored) = made_of_a_loss(&with, true);
        assert_eq!(restored, 4800);
        let last_half = |made: &[f32]| loudness(&made[4800..]);
        assert!(last_half(&made) > 0.3 * loudness(&sound[26_400..28_800]), "{}", last_half(&made));
        let (made, restored) = made_of_a_loss(&without, true);
        assert!(restored == 0 && last_half(&made) < 1e-3, "nobody knows");
        assert_eq!(made_of_a_loss(&with, false).1, 0, "where there is no time for it");
    }

    #[test]
    fn in_band_fec_of_others_is_heard() {
        let sound = voice(0.5, 0.0);
        let packets = packets(&sound, VOICE, |encoder| {
            encoder.set(sys::OPUS_SET_INBAND_FEC_REQUEST, 1).unwrap();
            encoder.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, 20).unwrap();
        });
        let mut decoder = Decoder::new().unwrap();
        let mut samples = vec![0.0; 960 * 2];
        packets[..15].iter().for_each(|packet| _ = decoder.decode(Some(packet), &mut samples).unwrap());
        assert_eq!(decoder.restore(&packets[17], 1920, &mut samples), 0, "of the first of two nothing is said");
        decoder.decode(None, &mut samples).unwrap();
        assert_eq!(decoder.restore(&packets[17], 960, &mut samples), 960);
        assert!(loudness(&samples) > 0.5 * loudness(&sound[15_360..16_320]));
    }

    #[test]
    fn what_was_speech_is_concealed_by_ten_milliseconds_at_a_time() {
        let mut samples = vec![0.0; 960 * 2];
        for (settings, step) in [(VOICE, 480), (Settings::default(), 120)] {
            let mut decoder = Decoder::new().unwrap();
            assert_eq!(decoder.conceal_step(), 120);
            for packet in packets(&voice(0.2, 0.0), settings, |_| {}) {
                decoder.decode(Some(&packet), &mut samples).unwrap();
            }
            assert_eq!(decoder.conceal_step(), step);
        }
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
