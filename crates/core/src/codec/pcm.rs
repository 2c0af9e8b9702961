//! PCM samples to and from bytes.
//!
//! Full scale: an integer of `n` bits is divided by `2^(n-1)`, so that 16 and 24 bit samples
//! survive the way through `f32` bit by bit.

use crate::Encoding;

/// Decodes `bytes` into `samples`, one `f32` for each whole sample; returns how many were written
/// (the lesser of what the bytes hold and `samples.len()`). Floats that are not finite come out as
/// silence, absurd ones are clamped to [`LOUDEST`].
pub fn decode(encoding: Encoding, bytes: &[u8], samples: &mut [f32]) -> usize {
    let pairs = bytes.chunks_exact(encoding.bytes()).zip(samples.iter_mut());
    let count = pairs.len();
    match encoding {
        Encoding::U8 => each(pairs, |b: [u8; 1]| (f32::from(b[0]) - 128.0) / 128.0),
        Encoding::S16Le => each(pairs, |b| f32::from(i16::from_le_bytes(b)) / I16_SCALE),
        Encoding::S16Be => each(pairs, |b| f32::from(i16::from_be_bytes(b)) / I16_SCALE),
        Encoding::S24Le => each(pairs, |[a, b, c]: [u8; 3]| from_i32([0, a, b, c])),
        Encoding::S24Be => each(pairs, |[a, b, c]: [u8; 3]| from_i32([0, c, b, a])),
        Encoding::S32Le => each(pairs, from_i32),
        Encoding::S32Be => each(pairs, |[a, b, c, d]: [u8; 4]| from_i32([d, c, b, a])),
        Encoding::F32Le => each(pairs, |b| sane(f32::from_le_bytes(b))),
        Encoding::F32Be => each(pairs, |b| sane(f32::from_be_bytes(b))),
    }
    count
}

/// Appends `samples` to `bytes`, rounded to the nearest step and clamped to full scale.
pub fn encode(encoding: Encoding, samples: &[f32], bytes: &mut Vec<u8>) {
    bytes.reserve(samples.len() * encoding.bytes());
    for &sample in samples {
        match encoding {
            Encoding::U8 => bytes.push((quantise(sample, 128.0) + 128) as u8),
            Encoding::S16Le => bytes.extend((quantise(sample, 32_768.0) as i16).to_le_bytes()),
            Encoding::S16Be => bytes.extend((quantise(sample, 32_768.0) as i16).to_be_bytes()),
            Encoding::S24Le => bytes.extend(&quantise(sample, 8_388_608.0).to_le_bytes()[..3]),
            Encoding::S24Be => bytes.extend(&quantise(sample, 8_388_608.0).to_be_bytes()[1..]),
            Encoding::S32Le => bytes.extend(quantise(sample, 2_147_483_648.0).to_le_bytes()),
            Encoding::S32Be => bytes.extend(quantise(sample, 2_147_483_648.0).to_be_bytes()),
            Encoding::F32Le => bytes.extend(sane(sample).to_le_bytes()),
            Encoding::F32Be => bytes.extend(sane(sample).to_be_bytes()),
        }
    }
}

/// The loudest sample that is decoded: 60 dB above full scale is beyond all headroom, and far from where sums
/// in filters and mixers overflow to infinity and from there to NaN.
pub const LOUDEST: f32 = 1_000.0;

const I16_SCALE: f32 = 32_768.0;

fn each<'a, const N: usize>(pairs: impl Iterator<Item = (&'a [u8], &'a mut f32)>, convert: impl Fn([u8; N]) -> f32) {
    for (bytes, sample) in pairs {
        let bytes = bytes.try_into().expect("chunks are of the encoding's size");
        *sample = convert(bytes);
    }
}

fn from_i32(little_endian: [u8; 4]) -> f32 {
    // By way of f64: an i32 does not fit the 24 bits of an f32 before it is scaled.
    (f64::from(i32::from_le_bytes(little_endian)) / 2_147_483_648.0) as f32
}

/// A sample that nothing behind can choke on.
pub(crate) fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-LOUDEST, LOUDEST) } else { 0.0 }
}

/// The integer nearest to `sample * scale`, within `-scale ..= scale - 1`; NaN gives zero.
fn quantise(sample: f32, scale: f64) -> i32 {
    (f64::from(sample) * scale).round().clamp(-scale, scale - 1.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let mut samples = vec![0.0; bytes.len() / encoding.bytes()];
        assert_eq!(decode(encoding, bytes, &mut samples), samples.len());
        let mut back = Vec::new();
        encode(encoding, &samples, &mut back);
        back
    }

    #[test]
    fn every_16_bit_sample_survives() {
        let all: Vec<u8> = (i16::MIN..=i16::MAX).flat_map(i16::to_be_bytes).collect();
        assert_eq!(round_trip(Encoding::S16Be, &all), all);
        assert_eq!(round_trip(Encoding::S16Le, &all), all);
    }

    #[test]
    fn samples_of_24_bits_survive() {
        // A stride that meets every last byte; all sixteen million take a debug build ten seconds.
        let many: Vec<u8> = (-0x80_0000..=0x7f_ffff_i32)
            .step_by(51)
            .flat_map(|v| v.to_le_bytes().into_iter().take(3))
            .chain([0xff, 0xff, 0x7f])
            .collect();
        assert!(round_trip(Encoding::S24Le, &many) == many);
        assert!(round_trip(Encoding::S24Be, &many) == many);
    }

    #[test]
    fn other_encodings_survive_where_a_float_holds_them() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(round_trip(Encoding::U8, &bytes), bytes);
        let floats: Vec<u8> = [0.0f32, 0.5, -1.0, 1e-9].iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(round_trip(Encoding::F32Be, &floats), floats);
        let ints: Vec<u8> = [0i32, 1 << 30, i32::MIN].iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(round_trip(Encoding::S32Be, &ints), ints);
    }

    #[test]
    fn too_loud_is_clamped_and_not_finite_is_silent() {
        let mut bytes = Vec::new();
        encode(Encoding::S16Le, &[2.0, -2.0, f32::NAN, f32::INFINITY], &mut bytes);
        let expected: Vec<u8> = [i16::MAX, i16::MIN, 0, i16::MAX].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(bytes, expected);
        let mut samples = [1.0; 2];
        let odd: Vec<u8> = [f32::NAN, f32::NEG_INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
        decode(Encoding::F32Le, &odd, &mut samples);
        assert_eq!(samples, [0.0, 0.0]);
        let absurd: Vec<u8> = [f32::MAX, f32::MIN].iter().flat_map(|v| v.to_le_bytes()).collect();
        decode(Encoding::F32Le, &absurd, &mut samples);
        assert_eq!(samples, [LOUDEST, -LOUDEST]);
    }

    #[test]
    fn half_a_sample_is_left_alone() {
        let mut samples = [9.0; 3];
        assert_eq!(decode(Encoding::S16Le, &[0, 64, 7], &mut samples), 1);
        assert_eq!(samples, [0.5, 9.0, 9.0]);
    }
}
