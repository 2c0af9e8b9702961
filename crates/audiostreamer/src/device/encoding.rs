//! How one sample is written in bytes, and blocks of samples to and from `f32`.
//!
//! Full scale is 1.0: an integer of `n` bits is divided by `2^(n-1)`. On the way back it is
//! rounded to the nearest and clamped, so that 8, 16 and 24 bits survive the round trip exactly.

use std::fmt;
use std::str::FromStr;

use super::pcm_format::FormatError;

/// How one sample is written in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Unsigned 8 bits, silence is 128.
    U8,
    /// Signed 16 bits, little-endian.
    S16Le,
    /// Signed 16 bits, big-endian.
    S16Be,
    /// Signed 24 bits in 3 bytes, little-endian.
    S24Le,
    /// Signed 24 bits in 3 bytes, big-endian.
    S24Be,
    /// Signed 32 bits, little-endian.
    S32Le,
    /// Signed 32 bits, big-endian.
    S32Be,
    /// 32-bit float, little-endian.
    F32Le,
    /// 32-bit float, big-endian.
    F32Be,
}

impl Encoding {
    /// Bytes in a sample.
    pub const fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::S16Le | Self::S16Be => 2,
            Self::S24Le | Self::S24Be => 3,
            Self::S32Le | Self::S32Be | Self::F32Le | Self::F32Be => 4,
        }
    }

    /// Reads `bytes` into `samples`. Neither allocates nor fails.
    ///
    /// # Panics
    ///
    /// When `bytes` is not exactly [`width`](Self::width) times as long as `samples`.
    pub fn decode(self, bytes: &[u8], samples: &mut [f32]) {
        assert_eq!(bytes.len(), samples.len() * self.width());
        match self {
            Self::U8 => read(bytes, samples, |[byte]| (f32::from(byte) - 128.0) / 128.0),
            Self::S16Le => read(bytes, samples, |b| from_16(i16::from_le_bytes(b))),
            Self::S16Be => read(bytes, samples, |b| from_16(i16::from_be_bytes(b))),
            Self::S24Le => read(bytes, samples, |[a, b, c]| from_24([0, a, b, c])),
            Self::S24Be => read(bytes, samples, |[c, b, a]| from_24([0, a, b, c])),
            Self::S32Le => read(bytes, samples, |b| from_32(i32::from_le_bytes(b))),
            Self::S32Be => read(bytes, samples, |b| from_32(i32::from_be_bytes(b))),
            Self::F32Le => read(bytes, samples, f32::from_le_bytes),
            Self::F32Be => read(bytes, samples, f32::from_be_bytes),
        }
    }

    /// Writes `samples` into `bytes`. Integers are rounded and clamped, a NaN becomes silence;
    /// floats stay as they are. Neither allocates nor fails.
    ///
    /// # Panics
    ///
    /// When `bytes` is not exactly [`width`](Self::width) times as long as `samples`.
    pub fn encode(self, samples: &[f32], bytes: &mut [u8]) {
        assert_eq!(bytes.len(), samples.len() * self.width());
        match self {
            Self::U8 => write(samples, bytes, |x| [to_8(x)]),
            Self::S16Le => write(samples, bytes, |x| to_16(x).to_le_bytes()),
            Self::S16Be => write(samples, bytes, |x| to_16(x).to_be_bytes()),
            Self::S24Le => write(samples, bytes, to_24),
            Self::S24Be => write(samples, bytes, |x| {
                let [a, b, c] = to_24(x);
                [c, b, a]
            }),
            Self::S32Le => write(samples, bytes, |x| to_32(x).to_le_bytes()),
            Self::S32Be => write(samples, bytes, |x| to_32(x).to_be_bytes()),
            Self::F32Le => write(samples, bytes, f32::to_le_bytes),
            Self::F32Be => write(samples, bytes, f32::to_be_bytes),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::S16Le => "s16le",
            Self::S16Be => "s16be",
            Self::S24Le => "s24le",
            Self::S24Be => "s24be",
            Self::S32Le => "s32le",
            Self::S32Be => "s32be",
            Self::F32Le => "f32le",
            Self::F32Be => "f32be",
        }
    }

    const ALL: [Self; 9] = [
        Self::U8,
        Self::S16Le,
        Self::S16Be,
        Self::S24Le,
        Self::S24Be,
        Self::S32Le,
        Self::S32Be,
        Self::F32Le,
        Self::F32Be,
    ];
}

impl FromStr for Encoding {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let known = Self::ALL
            .into_iter()
            .find(|encoding| encoding.name() == text);
        known.ok_or_else(|| FormatError::Encoding(text.into()))
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn read<const N: usize>(bytes: &[u8], samples: &mut [f32], sample: impl Fn([u8; N]) -> f32) {
    for (bytes, to) in bytes.as_chunks().0.iter().zip(samples) {
        *to = sample(*bytes);
    }
}

fn write<const N: usize>(samples: &[f32], bytes: &mut [u8], sample: impl Fn(f32) -> [u8; N]) {
    for (from, to) in samples.iter().zip(bytes.as_chunks_mut().0) {
        *to = sample(*from);
    }
}

fn from_16(value: i16) -> f32 {
    f32::from(value) / 32_768.0
}

/// `bytes` holds the value in the upper 24 bits, so that its sign lands in the right place.
fn from_24(bytes: [u8; 4]) -> f32 {
    (i32::from_le_bytes(bytes) >> 8) as f32 / 8_388_608.0
}

fn from_32(value: i32) -> f32 {
    value as f32 / 2_147_483_648.0
}

// `as` clamps to the range of the integer and makes 0 of NaN.

fn to_8(sample: f32) -> u8 {
    ((sample * 128.0).round() as i8)
        .cast_unsigned()
        .wrapping_add(128)
}

fn to_16(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

fn to_24(sample: f32) -> [u8; 3] {
    let value = (sample * 8_388_608.0)
        .round()
        .clamp(-8_388_608.0, 8_388_607.0) as i32;
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}

fn to_32(sample: f32) -> i32 {
    (sample * 2_147_483_648.0).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_8_and_16_bit_value_survives_the_round_trip() {
        for value in u8::MIN..=u8::MAX {
            assert_eq!(round_trip(Encoding::U8, &[value]), [value]);
        }
        for value in i16::MIN..=i16::MAX {
            assert_eq!(
                round_trip(Encoding::S16Le, &value.to_le_bytes()),
                value.to_le_bytes()
            );
            assert_eq!(
                round_trip(Encoding::S16Be, &value.to_be_bytes()),
                value.to_be_bytes()
            );
        }
    }

    #[test]
    fn all_24_bits_survive_the_round_trip() {
        let values: Vec<u8> = (0..1_u32 << 24)
            .step_by(61) // odd, so that every bit takes part
            .chain([0x7F_FFFF, 0x80_0000, 0xFF_FFFF])
            .flat_map(|value| value.to_le_bytes().into_iter().take(3))
            .collect();
        assert!(round_trip(Encoding::S24Le, &values) == values);
        assert!(round_trip(Encoding::S24Be, &values) == values);
    }

    #[test]
    fn floats_pass_unchanged_even_above_full_scale() {
        let bytes = 1.5_f32.to_be_bytes();
        assert_eq!(round_trip(Encoding::F32Be, &bytes), bytes);
        assert_eq!(decoded(Encoding::F32Be, &bytes), [1.5]);
    }

    #[test]
    fn byte_order_and_sign_are_right() {
        assert_eq!(decoded(Encoding::U8, &[0, 128, 192]), [-1.0, 0.0, 0.5]);
        assert_eq!(decoded(Encoding::S16Le, &[0x00, 0x40]), [0.5]);
        assert_eq!(decoded(Encoding::S16Be, &[0xC0, 0x00]), [-0.5]);
        assert_eq!(decoded(Encoding::S24Le, &[0x00, 0x00, 0xC0]), [-0.5]);
        assert_eq!(decoded(Encoding::S24Be, &[0x40, 0x00, 0x00]), [0.5]);
        assert_eq!(decoded(Encoding::S32Le, &[0, 0, 0, 0x80]), [-1.0]);
        assert_eq!(decoded(Encoding::S32Be, &[0x40, 0, 0, 0]), [0.5]);
    }

    #[test]
    fn integers_are_clamped_and_rounded_to_the_nearest() {
        assert_eq!(encoded(Encoding::U8, &[-2.0, 2.0]), [0, 255]);
        assert_eq!(
            encoded(Encoding::S16Be, &[1.0, -1.0]),
            [0x7F, 0xFF, 0x80, 0x00]
        );
        assert_eq!(
            encoded(Encoding::S24Be, &[2.0, -2.0]),
            [0x7F, 0xFF, 0xFF, 0x80, 0, 0]
        );
        assert_eq!(encoded(Encoding::S32Be, &[1.0]), [0x7F, 0xFF, 0xFF, 0xFF]);
        assert_eq!(
            encoded(Encoding::S16Be, &[0.6 / 32_768.0, 0.4 / 32_768.0]),
            [0, 1, 0, 0]
        );
    }

    #[test]
    fn a_nan_becomes_silence() {
        assert_eq!(encoded(Encoding::U8, &[f32::NAN]), [128]);
        assert_eq!(encoded(Encoding::S24Le, &[f32::NAN]), [0, 0, 0]);
    }

    fn round_trip(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        encoded(encoding, &decoded(encoding, bytes))
    }

    fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<f32> {
        let mut samples = vec![0.0; bytes.len() / encoding.width()];
        encoding.decode(bytes, &mut samples);
        samples
    }

    fn encoded(encoding: Encoding, samples: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; samples.len() * encoding.width()];
        encoding.encode(samples, &mut bytes);
        bytes
    }
}
