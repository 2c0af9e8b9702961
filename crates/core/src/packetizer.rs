//! Captured samples to coded frames with their media time.

use std::time::Duration;

use crate::channels::map_channels;
use crate::codec::{Encoder, opus};
use crate::coding::Coding;
use crate::copies::{self, Copied, Copier};
use crate::resample::Resampler;
use crate::{Codec, Error, Format, Instant, MediaTime, duration_of, frames_in};

/// What a [`Packetizer`] is given and what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Frames per second that are captured.
    pub rate: u32,
    /// Channels that are captured.
    pub channels: u16,
    /// What goes on the wire.
    pub format: Format,
    /// Frames (at the format's rate) in one payload. Opus takes 120, 240, 480 or 960.
    pub frames: usize,
    /// For Opus only.
    pub opus: opus::Settings,
}

/// One payload's worth of coded sound.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Of its first sample, counted from zero at the start of the capture.
    pub time: MediaTime,
    /// Its length at the format's rate.
    pub frames: usize,
    /// When the sound of its first sample, as it comes out of the decoder, was heard by the card.
    pub captured: Instant,
    /// Whether nothing was sent before it, for a [pause](Packetizer::pause).
    pub begins: bool,
    /// Its code.
    pub payload: &'a [u8],
    /// The copy that is complete with it, where copies are [made](Packetizer::set_copies).
    pub copy: Option<Copied<'a>>,
}

/// Collects captured samples, converts their rate and channels, and codes them frame by frame.
///
/// Buffers less than one payload beyond what was pushed, when it is polled after each push.
#[derive(Clone)]
pub struct Packetizer {
    config: Config,
    encoder: Encoder,
    copier: Option<Copier>,
    resampler: Option<Resampler>,
    /// Channels that are coded: of the format, but mono Opus is coded as such.
    channels: usize,
    /// Captured, not yet coded: interleaved, of `channels` channels at the captured rate.
    waiting: Vec<f32>,
    /// When the last captured sample ended.
    captured_until: Instant,
    /// By how much rate conversion and the codec's look-ahead delay the sound.
    held: Duration,
    next: MediaTime,
    /// What was skipped of a frame of the format, in parts of the captured rate.
    skipped: u64,
    paused: bool,
    block: Vec<f32>,
    payload: Vec<u8>,
    peak: f32,
}

impl Packetizer {
    /// A packetizer whose media time begins at zero.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { rate, channels, format, frames, opus } = config;
        if rate == 0 || channels == 0 || frames == 0 {
            return Err(Error::UnsupportedFormat(format!("{rate} Hz, {channels} channels, frames of {frames}")));
        }
        if !format.is_supported() {
            return Err(Error::UnsupportedFormat(format.to_string()));
        }
        let coded = match format.codec {
            Codec::Opus => channels.min(2) as u8,
            Codec::Pcm(_) => format.channels,
        };
        let frames_max = match format.codec {
            Codec::Opus => frames.max(FRAMES_MAX),
            Codec::Pcm(_) => frames,
        };
        let resampler =
            (rate != format.rate).then(|| Resampler::new(rate, format.rate, coded.into(), frames_max)).transpose()?;
        let mut encoder = Encoder::new(format, coded, opus)?;
        let resampling = resampler.as_ref().map_or(0, Resampler::delay_frames) as u64;
        Ok(Self {
            config,
            held: duration_of(resampling + u64::from(encoder.lookahead_frames()), format.rate),
            encoder,
            copier: None,
            resampler,
            channels: coded.into(),
            waiting: Vec::new(),
            captured_until: Instant::default(),
            next: MediaTime(0),
            skipped: 0,
            paused: false,
            block: Vec::new(),
            payload: Vec::new(),
            peak: 0.0,
        })
    }

    /// Takes captured samples, interleaved; `captured` is when their first one was heard.
    pub fn push(&mut self, captured: Instant, samples: &[f32]) {
        let channels = usize::from(self.config.channels);
        let frames = samples.len() / channels;
        let start = self.waiting.len();
        self.waiting.resize(start + frames * self.channels, 0.0);
        map_channels(&samples[..frames * channels], channels, &mut self.waiting[start..], self.channels);
        self.peak = samples.iter().fold(self.peak, |peak, sample| peak.max(sample.abs()));
        self.captured_until = captured + duration_of(frames as u64, self.config.rate);
    }

    /// Lets media time run on by `frames` captured frames that were lost on the way here.
    pub fn skip(&mut self, frames: u64) {
        let captured = u64::from(self.config.rate);
        let skipped = self.skipped + frames * u64::from(self.config.format.rate);
        self.next = self.next + (skipped / captured) as i64;
        self.skipped = skipped % captured;
    }

    /// The same for frames that are not to be sent, because there is nothing in them: the frame that follows
    /// says so, and nobody takes the pause for a loss.
    pub fn pause(&mut self, frames: u64) {
        self.skip(frames);
        self.paused = true;
    }

    /// Says which share of the packets is lost on their way for good, 0 to 1: voice in packets of 20 ms then
    /// tells, within its bitrate, what was said before (see [`opus::Encoder::set_loss`]).
    pub fn set_loss(&mut self, share: f64) -> Result<(), Error> {
        let Config { frames, opus, .. } = self.config;
        let has_room = frames >= opus::DRED_FRAMES_MIN && opus.bitrate_bps >= opus::DRED_BPS_MIN;
        match &mut self.encoder {
            Encoder::Opus(encoder) if opus.application == opus::Application::Voice && has_room => {
                encoder.set_loss((share * 100.0).round().clamp(0.0, 100.0) as u8)
            }
            _ => Ok(()),
        }
    }

    /// Codes Opus like that from the next frame on, without a break; PCM has nothing to change.
    pub fn set_coding(&mut self, coding: Coding) -> Result<(), Error> {
        let Encoder::Opus(encoder) = &mut self.encoder else { return Ok(()) };
        if coding.bitrate_bps != self.config.opus.bitrate_bps {
            encoder.set_bitrate(coding.bitrate_bps)?;
        }
        self.config.opus.bitrate_bps = coding.bitrate_bps;
        self.config.frames = coding.frames;
        self.copier.take_if(|copier| copier.settings().frames < coding.frames);
        Ok(())
    }

    /// What the sound is coded in at the moment, bits per second without headers.
    pub fn target_bps(&self) -> f64 {
        let Config { format, opus, .. } = self.config;
        match format.frame_bytes() {
            None => f64::from(opus.bitrate_bps),
            Some(bytes) => (8 * bytes) as f64 * f64::from(format.rate),
        }
    }

    /// Goes on with the same sound in another format, in payloads of so many frames. Media time runs on,
    /// at the new format's rate.
    pub fn set_format(&mut self, format: Format, frames: usize) -> Result<(), Error> {
        let mut next = Self::new(Config { format, frames, ..self.config })?;
        next.next = MediaTime(self.next.0 * i64::from(format.rate) / i64::from(self.config.format.rate));
        if next.channels == self.channels {
            next.waiting = std::mem::take(&mut self.waiting);
        }
        (next.captured_until, next.peak) = (self.captured_until, self.peak);
        *self = next;
        Ok(())
    }

    /// Whether the other codes alike, and its next frame begins where this one's does.
    pub fn is_in_step_with(&self, other: &Self) -> bool {
        let stand = |it: &Self| (it.config, it.next, it.skipped, it.paused);
        stand(self) == stand(other)
    }

    /// How Opus is coded; `None` for PCM.
    pub fn coding(&self) -> Option<Coding> {
        let Config { format, frames, opus, .. } = self.config;
        (format.codec == Codec::Opus).then_some(Coding { bitrate_bps: opus.bitrate_bps, frames })
    }

    /// Says that nothing more will be pushed: silence follows, enough that the last sample leaves
    /// the resampler, the codec's look-ahead and the last frame.
    pub fn finish(&mut self) {
        let rate = self.config.rate;
        let held = frames_in(self.held, rate) as usize;
        let frame = self.frames_needed();
        let frames = self.waiting.len() / self.channels + held;
        // What a resampled frame takes varies by a few: one more makes sure.
        let spare = if self.resampler.is_some() { frame } else { 0 };
        let silent = frames.next_multiple_of(frame) + spare - self.waiting.len() / self.channels;
        self.waiting.resize(self.waiting.len() + silent * self.channels, 0.0);
        self.captured_until += duration_of(silent as u64, rate);
    }

    /// Codes the sound once more like that, beside its frames, from now on; not where the format
    /// can't have [copies]. Costs nothing where nothing changes.
    pub fn set_copies(&mut self, settings: Option<copies::Settings>) -> Result<(), Error> {
        let Config { format, frames, .. } = self.config;
        let wanted = settings.filter(|settings| copies::are_possible(format) && settings.frames >= frames);
        if wanted == self.copier.as_ref().map(Copier::settings) {
            return Ok(());
        }
        let lookahead = self.encoder.lookahead_frames();
        self.copier = wanted.map(|settings| Copier::new(settings, self.channels, lookahead)).transpose()?;
        Ok(())
    }

    /// The next frame, when enough is there. A frame that the codec refuses is an error, and is
    /// left out of the stream.
    pub fn poll(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let frames = self.config.frames;
        let needed = self.frames_needed();
        let samples = needed * self.channels;
        if self.waiting.len() < samples {
            return Ok(None);
        }
        let captured = self.captured_until - self.waiting_duration() - self.held;
        let time = self.next;
        self.next = self.next + frames as i64;
        let coded = match &mut self.resampler {
            None => &self.waiting[..samples],
            Some(resampler) => {
                self.block.resize(frames * self.channels, 0.0);
                resampler.process(&self.waiting[..samples], &mut self.block);
                &self.block
            }
        };
        let result = self.encoder.encode(coded, &mut self.payload);
        let copy = self.copier.as_mut().and_then(|copier| copier.code(time, coded));
        self.waiting.drain(..samples);
        result?;
        let begins = std::mem::take(&mut self.paused);
        Ok(Some(Frame { time, frames, captured, begins, payload: &self.payload, copy }))
    }

    /// The loudest sample since the last call, full scale 1.0.
    pub fn take_peak(&mut self) -> f32 {
        std::mem::take(&mut self.peak)
    }

    /// Captured frames that make up the next coded one.
    fn frames_needed(&self) -> usize {
        let frames = self.config.frames;
        self.resampler.as_ref().map_or(frames, |resampler| resampler.input_frames(frames))
    }

    fn waiting_duration(&self) -> Duration {
        duration_of((self.waiting.len() / self.channels) as u64, self.config.rate)
    }
}

/// The longest that a packet of Opus may become under way.
const FRAMES_MAX: usize = 960;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoding;
    use crate::codec::pcm;

    fn config(rate: u32, channels: u16, format: Format, frames: usize) -> Config {
        Config { rate, channels, format, frames, opus: opus::Settings::default() }
    }

    #[test]
    fn crumbs_become_whole_frames_with_their_own_time() {
        let mut packetizer = Packetizer::new(config(48_000, 1, Format::l16(48_000, 1), 128)).unwrap();
        let mut frames = Vec::new();
        for crumb in 0..40 {
            let captured = Instant::from_nanos(0) + duration_of(crumb * 24, 48_000);
            let samples: Vec<f32> = (0..24).map(|n| (crumb * 24 + n) as f32 / 32_768.0).collect();
            packetizer.push(captured, &samples);
            while let Some(frame) = packetizer.poll().unwrap() {
                let mut first = [0.0];
                pcm::decode(Encoding::S16Be, frame.payload, &mut first);
                frames.push((frame.time, frame.captured, (first[0] * 32_768.0) as i64));
            }
        }
        assert_eq!(frames.len(), 960 / 128);
        for (index, (time, captured, first)) in frames.into_iter().enumerate() {
            assert_eq!((time, first), (MediaTime(index as i64 * 128), index as i64 * 128));
            let truth = duration_of(index as u64 * 128, 48_000);
            let captured = captured - Instant::from_nanos(0);
            assert!(captured.abs_diff(truth) < Duration::from_micros(1), "{captured:?} for {truth:?}");
        }
    }

    #[test]
    fn any_rate_and_channels_become_the_formats() {
        let mut packetizer = Packetizer::new(config(44_100, 1, Format::l16(48_000, 2), 240)).unwrap();
        packetizer.push(Instant::default(), &vec![0.5; 44_100]);
        let mut frames = 0;
        let mut last = Vec::new();
        while let Some(frame) = packetizer.poll().unwrap() {
            frames += frame.frames;
            last = frame.payload.to_vec();
        }
        assert!((47_000..=48_000).contains(&frames), "{frames}");
        let mut samples = vec![0.0; 480];
        assert_eq!(pcm::decode(Encoding::S16Be, &last, &mut samples), 480);
        assert!(samples.iter().all(|sample| (sample - 0.5).abs() < 0.01));
    }

    #[test]
    fn lost_capture_lets_media_time_run_on() {
        let mut packetizer = Packetizer::new(config(48_000, 2, Format::OPUS, 240)).unwrap();
        packetizer.push(Instant::default(), &[0.0; 480]);
        assert_eq!(packetizer.poll().unwrap().unwrap().time, MediaTime(0));
        packetizer.skip(480);
        packetizer.push(Instant::default(), &[0.0; 480]);
        assert_eq!(packetizer.poll().unwrap().unwrap().time, MediaTime(240 + 480));
    }

    #[test]
    fn a_pause_takes_its_time_to_the_frame_and_says_so() {
        let mut packetizer = Packetizer::new(config(44_100, 1, Format::l16(48_000, 1), 240)).unwrap();
        (0..44_100).for_each(|_| packetizer.pause(1));
        packetizer.push(Instant::default(), &[0.0; 1_000]);
        let first = packetizer.poll().unwrap().unwrap();
        assert_eq!((first.time, first.begins), (MediaTime(48_000), true));
        assert!(!packetizer.poll().unwrap().unwrap().begins);
    }

    #[test]
    fn the_last_sample_is_sent_though_it_fills_no_frame() {
        let mut packetizer = Packetizer::new(config(48_000, 1, Format::l16(48_000, 1), 128)).unwrap();
        packetizer.push(Instant::default(), &[0.5; 200]);
        packetizer.finish();
        let mut sent = 0;
        while let Some(frame) = packetizer.poll().unwrap() {
            sent += frame.frames;
        }
        assert_eq!(sent, 256);
        packetizer.finish();
        assert!(packetizer.poll().unwrap().is_none(), "nothing is left");
    }

    #[test]
    fn opus_changes_its_coding_under_way_and_media_time_runs_on() {
        for rate in [48_000, 44_100] {
            let mut packetizer = Packetizer::new(config(rate, 2, Format::OPUS, 240)).unwrap();
            let mut next = MediaTime(0);
            for frames in [240, 960, 480, 240] {
                packetizer.set_coding(Coding { bitrate_bps: 32_000, frames }).unwrap();
                packetizer.push(Instant::default(), &vec![0.1; 2 * 8_000]);
                while let Some(frame) = packetizer.poll().unwrap() {
                    assert_eq!((frame.time, frame.frames), (next, frames));
                    assert_eq!(opus::packet_frames(frame.payload), Some(frames));
                    next = next + frames as i64;
                }
            }
        }
    }

    #[test]
    fn another_format_goes_on_where_the_one_before_ended() {
        let mut packetizer = Packetizer::new(config(48_000, 2, Format::l16(48_000, 2), 128)).unwrap();
        let mut next = MediaTime(0);
        for (format, frames) in [(Format::l16(48_000, 2), 128), (Format::OPUS, 240), (Format::l16(48_000, 2), 128)] {
            packetizer.set_format(format, frames).unwrap();
            packetizer.push(Instant::default(), &vec![0.1; 2 * 1000]);
            while let Some(frame) = packetizer.poll().unwrap() {
                assert_eq!((frame.time, frame.frames), (next, frames));
                next = next + frames as i64;
            }
        }
        assert!(next.0 > 3 * 1000 - 240);
    }

    #[test]
    fn a_frame_size_that_opus_does_not_know_is_an_error() {
        let mut packetizer = Packetizer::new(config(48_000, 2, Format::OPUS, 100)).unwrap();
        packetizer.push(Instant::default(), &[0.0; 480]);
        assert!(packetizer.poll().is_err());
    }
}
