//! How alike two recordings are, and where one begins in the other.

use std::path::Path;

use crate::error::{Error, plain};

/// What a comparison found.
pub struct Comparison {
    /// Where the original begins in the recording, in seconds.
    pub offset: f64,
    /// Normalised correlation of the two over the original's length: 1 is the same wave.
    pub correlation: f64,
    /// How much louder the recording is.
    pub gain_decibels: f64,
    /// Length of the original.
    pub seconds: f64,
}

/// Coarse search on every eighth sample, then on all of them around the best place.
const COARSE: usize = 8;

/// What has one place, and how far that may be from the place before, in samples.
const PIECE: usize = 2_400;
const REACH: usize = 480;

/// Compares two WAV files of the same rate, both mixed to mono.
pub fn compare(original: &Path, recording: &Path) -> Result<Comparison, Error> {
    let (original, rate) = read_mono(original)?;
    let (recording, _) = read_mono(recording)?;
    let coarse = best_offset(&decimated(&original), &decimated(&recording), 0, usize::MAX) * COARSE;
    let Sums { offset, both, one, other } = follow(&original, &recording, coarse);
    Ok(Comparison {
        offset: offset as f64 / rate,
        correlation: both / (one * other).sqrt().max(f64::MIN_POSITIVE),
        gain_decibels: 10.0 * (other / one.max(f64::MIN_POSITIVE)).max(1e-12).log10(),
        seconds: original.len() as f64 / rate,
    })
}

/// Where the original begins, its product with what was recorded of it, and the energies of both.
struct Sums {
    offset: usize,
    both: f64,
    one: f64,
    other: f64,
}

/// Goes through both piece by piece: the playout brings the delay where it belongs while it plays,
/// so one place does not fit all.
fn follow(original: &[f32], recording: &[f32], coarse: usize) -> Sums {
    let mut place = coarse;
    let mut sums = Sums { offset: coarse, both: 0.0, one: 0.0, other: 0.0 };
    for (index, piece) in original.chunks(PIECE).enumerate() {
        let start = index * PIECE;
        let first = (start + place).saturating_sub(REACH);
        let from = recording.get(first..).unwrap_or_default();
        let found = most_alike(piece, from);
        let heard = from.get(found..).unwrap_or_default();
        let heard = &heard[..heard.len().min(piece.len())];
        if energy(piece) > 0.0 && !heard.is_empty() {
            place = (first + found).saturating_sub(start);
            if sums.one == 0.0 {
                sums.offset = place;
            }
        }
        sums.both += product(piece, heard);
        sums.one += energy(piece);
        sums.other += energy(heard);
    }
    sums
}

/// The offset between `first` and `last` at which the original fits best.
fn best_offset(original: &[f32], recording: &[f32], first: usize, last: usize) -> usize {
    let last = last.min(recording.len().saturating_sub(original.len() / 2));
    (first..=last.max(first))
        .map(|offset| (offset, product(original, recording.get(offset..).unwrap_or_default())))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0, |(offset, _)| offset)
}

/// The offset up to twice the reach at which a piece is most like what was recorded, whatever its
/// loudness.
fn most_alike(piece: &[f32], recording: &[f32]) -> usize {
    let likeness = |offset: usize| {
        let heard = recording.get(offset..offset + piece.len()).unwrap_or_default();
        product(piece, heard) / energy(heard).sqrt().max(1e-9)
    };
    (0..=2 * REACH).map(|offset| (offset, likeness(offset))).max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |best| best.0)
}

fn decimated(samples: &[f32]) -> Vec<f32> {
    samples.chunks_exact(COARSE).map(|chunk| chunk.iter().sum::<f32>() / COARSE as f32).collect()
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
}

fn energy(samples: &[f32]) -> f64 {
    product(samples, samples)
}

fn read_mono(path: &Path) -> Result<(Vec<f32>, f64), Error> {
    let failed = |error: hound::Error| Error::Demo { path: path.display().to_string(), why: plain(&error) };
    let mut reader = hound::WavReader::open(path).map_err(failed)?;
    let hound::WavSpec { channels, sample_rate, bits_per_sample, .. } = reader.spec();
    let scale = 1.0 / (1u64 << (bits_per_sample - 1)) as f32;
    let samples: Result<Vec<i32>, _> = reader.samples::<i32>().collect();
    let samples = samples.map_err(failed)?;
    let mono = samples
        .chunks_exact(channels.into())
        .map(|frame| frame.iter().map(|&sample| sample as f32 * scale).sum::<f32>() / f32::from(channels));
    Ok((mono.collect(), sample_rate.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delayed_copy_is_found_where_it_is() {
        let original: Vec<f32> =
            (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as f32 / 32_768.0 - 1.0).collect();
        let mut recording = vec![0.0; 1003];
        recording.extend(&original);
        recording.extend([0.0; 500]);
        assert_eq!(best_offset(&original, &recording, 0, usize::MAX), 1003);
    }
}
