//! Sound in memory, and in WAV files.

use std::ops::Range;
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

/// Interleaved samples, full scale 1.0. An `f32` holds every 24-bit sample exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    pub rate: u32,
    pub channels: usize,
    pub samples: Vec<f32>,
}

impl Audio {
    /// The first channel as one of several, the others silent.
    pub fn on_channel(&self, channel: usize, channels: usize) -> Audio {
        let mut samples = vec![0.0; self.frames() * channels];
        samples.iter_mut().skip(channel).step_by(channels).zip(self.channel(0)).for_each(|(to, from)| *to = from);
        Audio { rate: self.rate, channels, samples }
    }

    /// From the first frame that is not silent to the last.
    pub fn sound(&self) -> std::ops::Range<usize> {
        let loud = |&index: &usize| {
            self.samples[index * self.channels..(index + 1) * self.channels].iter().any(|&sample| sample != 0.0)
        };
        let first = (0..self.frames()).find(loud).expect("it is not silent");
        let last = (0..self.frames()).rfind(loud).expect("it is not silent");
        first..last + 1
    }

    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels
    }

    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate)
    }

    pub fn channel(&self, channel: usize) -> Vec<f32> {
        self.samples.iter().skip(channel).step_by(self.channels).copied().collect()
    }

    /// Those frames alone.
    pub fn part(&self, frames: Range<usize>) -> Audio {
        let samples = self.samples[frames.start * self.channels..frames.end * self.channels].to_vec();
        Audio { samples, ..*self }
    }

    /// A mono sound on every one of `channels` channels, as a mono stream is heard on a stereo card.
    pub fn on_channels(&self, channels: usize) -> Audio {
        assert_eq!(self.channels, 1, "only a mono sound can be on several channels");
        let samples = self.samples.iter().flat_map(|&sample| std::iter::repeat_n(sample, channels)).collect();
        Audio { channels, samples, ..*self }
    }

    /// Every sample rounded to what `bits` bits can say.
    pub fn quantised(mut self, bits: u16) -> Audio {
        let scale = full_scale(bits);
        self.samples.iter_mut().for_each(|sample| *sample = (*sample * scale).round() / scale);
        self
    }

    pub fn scaled(mut self, gain: f32) -> Audio {
        self.samples.iter_mut().for_each(|sample| *sample *= gain);
        self
    }

    pub fn silence(seconds: f64, rate: u32, channels: usize) -> Audio {
        let frames = (seconds * f64::from(rate)).round() as usize;
        Audio { rate, channels, samples: vec![0.0; frames * channels] }
    }

    pub fn then(mut self, next: &Audio) -> Audio {
        assert_eq!((self.rate, self.channels), (next.rate, next.channels));
        self.samples.extend(&next.samples);
        self
    }

    /// With `seconds` of silence before and after it. A stream's first milliseconds rise from
    /// silence and its end fades, so where every sample is compared, both must fall on silence.
    pub fn in_silence(self, seconds: f64) -> Audio {
        let silence = Audio::silence(seconds, self.rate, self.channels);
        silence.clone().then(&self).then(&silence)
    }

    /// Loudness over all channels in dB of full scale, a full sine being -3.
    pub fn rms_dbfs(&self) -> f64 {
        let sum: f64 = self.samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
        10.0 * (sum / self.samples.len().max(1) as f64).max(1e-20).log10()
    }

    pub fn from_s16le(bytes: &[u8], rate: u32, channels: usize) -> Audio {
        let samples = bytes.as_chunks().0.iter().map(|&pair| f32::from(i16::from_le_bytes(pair)) / full_scale(16));
        Audio { rate, channels, samples: samples.collect() }
    }

    pub fn from_s24le(bytes: &[u8], rate: u32, channels: usize) -> Audio {
        let sample = |&[low, middle, high]: &[u8; 3]| i32::from_le_bytes([0, low, middle, high]) >> 8;
        let samples = bytes.as_chunks().0.iter().map(|triple| sample(triple) as f32 / full_scale(24));
        Audio { rate, channels, samples: samples.collect() }
    }

    pub fn from_f32le(bytes: &[u8], rate: u32, channels: usize) -> Audio {
        let samples = bytes.as_chunks().0.iter().map(|&quad| f32::from_le_bytes(quad));
        Audio { rate, channels, samples: samples.collect() }
    }

    pub fn to_s16le(&self) -> Vec<u8> {
        let sample = |sample: &f32| (sample * full_scale(16)).round().clamp(-32768.0, 32767.0) as i16;
        self.samples.iter().flat_map(|value| sample(value).to_le_bytes()).collect()
    }

    pub fn to_f32le(&self) -> Vec<u8> {
        self.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    /// Reads a WAV file that must be whole: its header says exactly what it holds.
    pub fn read_wav(path: &Path) -> Audio {
        let fail = |error: hound::Error| -> ! { panic!("{}: {error}", path.display()) };
        let reader = WavReader::open(path).unwrap_or_else(|error| fail(error));
        let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
        let samples: hound::Result<Vec<f32>> = match sample_format {
            SampleFormat::Float => reader.into_samples::<f32>().collect(),
            SampleFormat::Int => {
                let scale = full_scale(bits_per_sample);
                reader.into_samples::<i32>().map(|sample| sample.map(|value| value as f32 / scale)).collect()
            }
        };
        let samples = samples.unwrap_or_else(|error| fail(error));
        Audio { rate: sample_rate, channels: channels.into(), samples }
    }

    /// Writes a WAV file of 16 or 24 bits.
    pub fn write_wav(&self, path: &Path, bits: u16) {
        let spec = WavSpec {
            channels: self.channels as u16,
            sample_rate: self.rate,
            bits_per_sample: bits,
            sample_format: SampleFormat::Int,
        };
        let scale = full_scale(bits);
        let mut writer = WavWriter::create(path, spec).expect("the WAV can be made");
        for &sample in &self.samples {
            let value = (sample * scale).round().clamp(-scale, scale - 1.0);
            writer.write_sample(value as i32).expect("the WAV can be written");
        }
        writer.finalize().expect("the WAV can be finished");
    }
}

fn full_scale(bits: u16) -> f32 {
    (1u32 << (bits - 1)) as f32
}
