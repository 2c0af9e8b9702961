//! What is done to captured sound before it is coded: channels, automatic gain and volume.

use audiostreamer_core::{Agc, ChannelMap, Fader, Limiter};

use crate::device::Shape;
use crate::error::Error;
use crate::volume::Volume;

/// Maps and fades blocks of one shape. None of it adds delay.
pub(super) struct Shaping {
    map: ChannelMap,
    captured_channels: u16,
    channels: usize,
    agc: Option<Agc>,
    fader: Fader,
    limiter: Limiter,
    block: Vec<f32>,
}

impl Shaping {
    pub fn new(map: &ChannelMap, shape: &Shape, agc: bool, volume: Volume) -> Result<Self, Error> {
        if let Some(needed) = map.channels_needed(shape.channels) {
            let has = shape.channels;
            return Err(Error::Usage(format!(
                "--map {map}: there are to be {needed} channels, but the source has {has}; see --channels"
            )));
        }
        Ok(Self {
            map: map.clone(),
            captured_channels: shape.channels,
            channels: map.channels(shape.channels).into(),
            agc: agc.then(|| Agc::new(shape.rate)),
            fader: Fader::new(volume.factor(), shape.rate),
            limiter: Limiter::new(shape.rate),
            block: Vec::new(),
        })
    }

    pub fn set(&mut self, volume: Volume) {
        self.fader.set(volume.factor());
    }

    /// What is sent of a captured block.
    pub fn apply(&mut self, captured: &[f32]) -> &[f32] {
        self.block.clear();
        self.map.apply(captured, self.captured_channels.into(), &mut self.block);
        if let Some(agc) = &mut self.agc {
            agc.apply(&mut self.block, self.channels);
        }
        self.fader.apply(&mut self.block, self.channels);
        self.limiter.apply(&mut self.block, self.channels);
        &self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: Shape = Shape { rate: 48_000, channels: 2, period: 128 };

    #[test]
    fn what_is_turned_up_stays_within_full_scale() {
        let volume = Volume { gain: 12.0, muted: false };
        let mut shaping = Shaping::new(&ChannelMap::Pick(vec![0]), &STEREO, false, volume).unwrap();
        assert!((shaping.apply(&[0.1, 0.9])[0] - 0.398).abs() < 1e-3, "the right one is not sent");
        let loud = shaping.apply(&[0.9, 0.0, -0.9, 0.0]);
        assert!((loud[0] - 1.0).abs() < 1e-6 && (loud[1] + 1.0).abs() < 1e-6, "{loud:?}");
    }

    #[test]
    fn automatic_gain_comes_before_the_volume() {
        let quiet: Vec<f32> = (0..48_000).map(|n| 0.01 * (n as f32 * 0.05).sin()).collect();
        let mut shaping = Shaping::new(&ChannelMap::Same, &STEREO, true, Volume::default()).unwrap();
        let last = (0..20).map(|_| peak(shaping.apply(&quiet))).last().unwrap();
        assert!(last > 0.08, "{last}");
        shaping.set(Volume { gain: -20.0, muted: false });
        shaping.apply(&quiet);
        assert!((peak(shaping.apply(&quiet)) - last / 10.0).abs() < 0.01, "what is turned down stays turned down");
    }

    fn peak(samples: &[f32]) -> f32 {
        samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    #[test]
    fn a_channel_that_is_not_there_is_the_users_to_mend() {
        let error = Shaping::new(&ChannelMap::Pick(vec![0, 5]), &STEREO, false, Volume::default()).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--map 1,6"), "{error}");
    }
}
