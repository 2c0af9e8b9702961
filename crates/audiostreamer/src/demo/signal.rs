//! What the demo plays: a little tune that never repeats itself, so that it lines up with its
//! recording in one place only.

use std::path::Path;

use crate::error::{Error, plain};

pub const RATE: u32 = 48_000;

/// Semitones above A3, one every [`NOTE_FRAMES`]; two voices make it stereo.
const LEFT: [i32; 16] = [0, 7, 12, 16, 5, 9, 14, 17, 2, 11, 15, 19, 4, 8, 13, 21];
const RIGHT: [i32; 16] = [-12, -12, -5, -5, -7, -7, 2, 2, -10, -10, -1, -1, -8, -8, -3, -12];
const NOTE_FRAMES: usize = RATE as usize / 4;

/// Writes the tune as a stereo WAV of 16 bits, four seconds and its fading out.
pub fn write(path: &Path) -> Result<(), Error> {
    let spec =
        hound::WavSpec { channels: 2, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let failed = |error: hound::Error| Error::Demo { path: path.display().to_string(), why: plain(&error) };
    let mut writer = hound::WavWriter::create(path, spec).map_err(failed)?;
    let (left, right) = (voice(&LEFT), voice(&RIGHT));
    for (left, right) in left.into_iter().zip(right) {
        for sample in [0.7 * left + 0.3 * right, 0.3 * left + 0.7 * right] {
            writer.write_sample((sample * 0.5 * 32_767.0) as i16).map_err(failed)?;
        }
    }
    writer.finalize().map_err(failed)
}

/// Plucked strings: a few harmonics, the higher ones fading faster.
fn voice(notes: &[i32]) -> Vec<f32> {
    let mut samples = vec![0.0; NOTE_FRAMES * (notes.len() + 4)];
    for (index, &note) in notes.iter().enumerate() {
        let hz = 220.0 * 2f32.powf(note as f32 / 12.0);
        for (n, sample) in samples[index * NOTE_FRAMES..].iter_mut().enumerate() {
            let time = n as f32 / RATE as f32;
            let attack = (time * 200.0).min(1.0);
            let harmonics = (1..=5).map(|k| {
                let k = k as f32;
                (std::f32::consts::TAU * hz * k * time).sin() * (-time * (2.0 + 2.0 * k)).exp() / k
            });
            *sample += attack * 0.5 * harmonics.sum::<f32>();
        }
    }
    samples.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
    samples
}
