//! Payloads of any content.

use arbitrary::Arbitrary;
use audiostreamer_core::codec::{Decoder, opus, payload_frames, pcm};
use audiostreamer_core::{Encoding, Format};

/// A run of payloads and losses through one decoder: each is as long as it says and sounds finite.
pub fn opus_decode(bytes: &[u8]) {
    let Some(payloads) = super::input::<Vec<Payload>>(bytes) else { return };
    let mut decoder = Decoder::new(Format::OPUS).unwrap();
    for payload in payloads {
        let (frames, payload) = match payload {
            Payload::Lost { steps } => (usize::from(steps % 12 + 1) * decoder.conceal_step(), None),
            Payload::Arrived(bytes) => match payload_frames(Format::OPUS, bytes) {
                Some(frames) => (frames, Some(bytes)),
                None => continue,
            },
        };
        assert!(frames <= opus::PACKET_FRAMES_MAX);
        let mut samples = vec![f32::NAN; frames * opus::Decoder::CHANNELS];
        assert_eq!(decoder.decode(payload, &mut samples), samples.len());
        assert!(samples.iter().all(|sample| sample.abs() <= pcm::LOUDEST));
    }
}

#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Arrived(&'a [u8]),
    Lost { steps: u8 },
}

/// A voice, then a loss that is ended by a packet of any content, or by one with DRED of which bits were
/// changed: whatever that tells of the loss is finite, and within its room.
pub fn opus_restore(bytes: &[u8]) {
    let Some(Loss { gap, changed, bytes }) = super::input::<Loss>(bytes) else { return };
    let settings = opus::Settings { application: opus::Application::Voice, bitrate_bps: 48_000 };
    let mut encoder = opus::Encoder::new(1, settings).unwrap();
    encoder.set_loss(10).unwrap();
    let mut decoder = Decoder::new(Format::OPUS).unwrap();
    let mut samples = vec![0.0; opus::PACKET_FRAMES_MAX * opus::Decoder::CHANNELS];
    let mut packet = Vec::new();
    for block in 0..8u16 {
        let sound: Vec<f32> = (0..960u16).map(|n| (f32::from(n) * 0.02 * f32::from(block)).sin() * 0.3).collect();
        encoder.encode(&sound, &mut packet).unwrap();
        decoder.decode(Some(&packet), &mut samples[..960 * opus::Decoder::CHANNELS]);
    }
    if changed {
        packet.iter_mut().zip(bytes).for_each(|(byte, change)| *byte ^= change);
    } else {
        packet = bytes.into();
    }
    for gap in (0..=usize::from(gap)).rev().step_by(480) {
        let room = opus::RESTORED_FRAMES_MAX * opus::Decoder::CHANNELS;
        samples.fill(f32::NAN);
        let frames = decoder.restore(&packet, gap, &mut samples[..room]);
        let (restored, rest) = samples.split_at(frames * opus::Decoder::CHANNELS);
        assert!(frames <= opus::RESTORED_FRAMES_MAX && rest[room - restored.len()..].iter().all(|s| s.is_nan()));
        assert!(restored.iter().all(|sample| sample.abs() <= pcm::LOUDEST));
    }
}

#[derive(Arbitrary, Debug)]
struct Loss<'a> {
    gap: u16,
    changed: bool,
    bytes: &'a [u8],
}

/// Any bytes in any encoding: finite samples, that code to bytes which decode to the same.
pub fn pcm(bytes: &[u8]) {
    let Some((which, room, bytes)) = super::input::<(u8, u16, &[u8])>(bytes) else { return };
    let name = Encoding::names().nth(usize::from(which) % Encoding::names().count()).unwrap();
    let encoding = Encoding::from_name(name).unwrap();
    let mut samples = vec![f32::NAN; room.into()];
    let count = pcm::decode(encoding, bytes, &mut samples);
    assert_eq!(count, samples.len().min(bytes.len() / encoding.bytes()));
    assert!(samples[..count].iter().all(|sample| sample.abs() <= pcm::LOUDEST));
    assert!(samples[count..].iter().all(|sample| sample.is_nan()), "the rest is untouched");
    let mut coded = Vec::new();
    pcm::encode(encoding, &samples[..count], &mut coded);
    let mut again = vec![f32::NAN; count];
    assert_eq!(pcm::decode(encoding, &coded, &mut again), count);
    assert_eq!(again, samples[..count]);
}
