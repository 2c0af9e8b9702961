//! Which channels go where.

use std::fmt;
use std::str::FromStr;

use crate::CHANNELS_MAX;

/// Which of a source's channels are sent, in which order.
///
/// ```
/// use audiostreamer_core::ChannelMap;
///
/// let mut sent = Vec::new();
/// "swap".parse::<ChannelMap>()?.apply(&[0.1, 0.2], 2, &mut sent);
/// assert_eq!(sent, [0.2, 0.1]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChannelMap {
    /// All as they are.
    #[default]
    Same,
    /// Only these, the first being 0.
    Pick(Vec<u16>),
    /// That many become that many, as by [`map_channels`].
    Mix(u16, u16),
}

impl ChannelMap {
    /// How many channels are sent of a source with `from`.
    pub fn channels(&self, from: u16) -> u16 {
        match self {
            ChannelMap::Same => from,
            ChannelMap::Pick(picked) => picked.len() as u16, // at most CHANNELS_MAX
            ChannelMap::Mix(_, to) => *to,
        }
    }

    /// How many channels a source would have to have, where one with `from` can't be mapped.
    pub fn channels_needed(&self, from: u16) -> Option<u16> {
        match self {
            ChannelMap::Same => None,
            ChannelMap::Pick(picked) => picked.iter().max().map(|last| last + 1).filter(|&needed| needed > from),
            ChannelMap::Mix(needed, _) => Some(*needed).filter(|&needed| needed != from),
        }
    }

    /// Appends to `output` what is sent of interleaved `input` with `from` channels. A channel that
    /// is not there is silent.
    pub fn apply(&self, input: &[f32], from: usize, output: &mut Vec<f32>) {
        match self {
            ChannelMap::Same => output.extend(input),
            ChannelMap::Pick(picked) => output.extend(input.chunks_exact(from).flat_map(|frame| {
                picked.iter().map(|&channel| frame.get(usize::from(channel)).copied().unwrap_or_default())
            })),
            ChannelMap::Mix(_, to) => {
                let start = output.len();
                output.resize(start + input.len() / from * usize::from(*to), 0.0);
                map_channels(input, from, &mut output[start..], usize::from(*to));
            }
        }
    }
}

/// `left`, `right`, `swap`, `2:1`, or the channels to be sent, counted from 1: `3,4`.
impl FromStr for ChannelMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MEANT: &str = "left, right, swap, a mix like 2:1, or the channels to send, like 3,4";
        let number = |text: &str| {
            let number = text.trim().parse::<u8>().ok().filter(|number| (1..=CHANNELS_MAX).contains(number));
            number.map(u16::from).ok_or_else(|| format!("{MEANT}; at most {CHANNELS_MAX} channels"))
        };
        match (text, text.split_once(':')) {
            ("left", _) => Ok(ChannelMap::Pick(vec![0])),
            ("right", _) => Ok(ChannelMap::Pick(vec![1])),
            ("swap", _) => Ok(ChannelMap::Pick(vec![1, 0])),
            (_, Some((from, to))) => Ok(ChannelMap::Mix(number(from)?, number(to)?)),
            _ => {
                let picked: Vec<u16> =
                    text.split(',').map(|text| number(text).map(|number| number - 1)).collect::<Result<_, _>>()?;
                match picked.len() <= CHANNELS_MAX.into() {
                    true => Ok(ChannelMap::Pick(picked)),
                    false => Err(format!("{MEANT}; at most {CHANNELS_MAX} channels")),
                }
            }
        }
    }
}

/// As it is parsed.
impl fmt::Display for ChannelMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelMap::Same => f.write_str("same"),
            ChannelMap::Mix(from, to) => write!(f, "{from}:{to}"),
            ChannelMap::Pick(picked) => {
                let numbers: Vec<String> = picked.iter().map(|channel| (channel + 1).to_string()).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

/// Writes frames of `from` channels as frames of `to` channels: one channel goes to all of two
/// (and to the first two of more), two mix down to one, otherwise channels keep their place and
/// missing ones are silent. Both slices are interleaved and hold the same number of frames.
pub fn map_channels(input: &[f32], from: usize, output: &mut [f32], to: usize) {
    debug_assert_eq!(input.len() / from, output.len() / to);
    let frames = input.chunks_exact(from).zip(output.chunks_exact_mut(to));
    match (from, to) {
        _ if from == to => output.copy_from_slice(input),
        (1, _) => frames.for_each(|(mono, out)| {
            out.fill(0.0);
            out.iter_mut().take(2).for_each(|sample| *sample = mono[0]);
        }),
        (2, 1) => frames.for_each(|(stereo, out)| out[0] = (stereo[0] + stereo[1]) * 0.5),
        _ => frames.for_each(|(frame, out)| {
            out.fill(0.0);
            out.iter_mut().zip(frame).for_each(|(out, sample)| *out = *sample);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(input: &[f32], from: usize, to: usize) -> Vec<f32> {
        let mut output = vec![9.0; input.len() / from * to];
        map_channels(input, from, &mut output, to);
        output
    }

    #[test]
    fn channels_are_picked_and_mixed() {
        let sent = |map: &str, input: &[f32], from| {
            let mut output = Vec::new();
            map.parse::<ChannelMap>().unwrap().apply(input, from, &mut output);
            output
        };
        let stereo = [0.5, 0.25, 0.5, 0.0];
        assert_eq!(sent("left", &stereo, 2), [0.5, 0.5]);
        assert_eq!(sent("right", &stereo, 2), [0.25, 0.0]);
        assert_eq!(sent("swap", &stereo, 2), [0.25, 0.5, 0.0, 0.5]);
        assert_eq!(sent("2:1", &stereo, 2), [0.375, 0.25]);
        assert_eq!(sent("1:2", &[0.5], 1), [0.5, 0.5]);
        assert_eq!(sent("3,1", &[0.1, 0.2, 0.3], 3), [0.3, 0.1]);
    }

    #[test]
    fn a_map_says_what_it_needs() {
        let map = |text: &str| text.parse::<ChannelMap>();
        assert_eq!(map("4,3").unwrap().channels_needed(2), Some(4));
        assert_eq!(map("2:1").unwrap().channels_needed(1), Some(2));
        assert_eq!((map("swap").unwrap().channels_needed(2), map("swap").unwrap().channels(2)), (None, 2));
        for bad in ["", "middle", "0", "9", "1:0", "2:9", "1,", "1,1,1,1,1,1,1,1,1"] {
            assert!(map(bad).is_err(), "{bad}");
        }
        assert_eq!(map("4,3").unwrap().to_string(), "4,3");
    }

    #[test]
    fn channels_go_where_a_listener_expects_them() {
        assert_eq!(mapped(&[0.5, 0.25], 1, 2), [0.5, 0.5, 0.25, 0.25]);
        assert_eq!(mapped(&[0.5, 0.25], 2, 1), [0.375]);
        assert_eq!(mapped(&[0.5, 0.25], 2, 2), [0.5, 0.25]);
        assert_eq!(mapped(&[0.5], 1, 4), [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(mapped(&[0.1, 0.2], 2, 3), [0.1, 0.2, 0.0]);
        assert_eq!(mapped(&[0.1, 0.2, 0.3], 3, 2), [0.1, 0.2]);
    }
}
