use super::*;
use crate::codec::{Decoder, pcm};
use crate::{Codec, Encoding};

const RATE: u32 = 48_000;
/// Frames.
const MILLISECOND: usize = 48;

/// A second of a signal of the time in seconds.
fn signal(rate: u32, sample: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..rate).map(|n| sample(f64::from(n) / f64::from(rate)) as f32).collect()
}

fn note(hz: f64, harmonics: i32, seconds: f64) -> f64 {
    (1..=harmonics)
        .map(|n| (std::f64::consts::TAU * hz * f64::from(n) * seconds + f64::from(n * n)).sin() / f64::from(n))
        .sum::<f64>()
}

fn tone() -> Vec<f32> {
    signal(RATE, |seconds| 0.2 * note(440.0, 6, seconds))
}

fn chord() -> Vec<f32> {
    signal(RATE, |seconds| [220.0, 277.18, 329.63, 440.0].iter().map(|hz| 0.06 * note(*hz, 8, seconds)).sum())
}

/// Pulses of 120 Hz through two resonances.
fn voice() -> Vec<f32> {
    let formant = |hz: f64, seconds: f64| {
        let since = seconds.rem_euclid(1.0 / 120.0);
        (std::f64::consts::TAU * hz * since).sin() * (-since * 400.0).exp()
    };
    signal(RATE, |seconds| 0.4 * formant(500.0, seconds) + 0.2 * formant(1500.0, seconds))
}

fn noise(seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..RATE).map(next).collect()
}

/// A decoder of `f32` that has played `samples`.
fn decoder(samples: &[f32], channels: u8) -> Decoder {
    let mut decoder = Decoder::new(Format { codec: Codec::Pcm(Encoding::F32Le), rate: RATE, channels }).unwrap();
    samples.chunks(240 * usize::from(channels)).for_each(|unit| decoder.remember(unit));
    decoder
}

fn payload(samples: &[f32]) -> Vec<u8> {
    let mut payload = Vec::new();
    pcm::encode(Encoding::F32Le, samples, &mut payload);
    payload
}

/// What is made of `gap` in `signal`, when `following` frames after it are known.
fn concealed(signal: &[f32], gap: std::ops::Range<usize>, following: usize) -> Vec<f32> {
    let mut decoder = decoder(&signal[..gap.start], 1);
    let mut made = vec![9.0; gap.len()];
    let payload = payload(&signal[gap.end..][..following]);
    let led = decoder.conceal(&mut made, (following > 0).then_some(payload.as_slice()));
    assert_eq!(led, following > 0);
    made
}

/// The mean over many places of how much louder the sound is than the error, in decibels.
fn decibels(signal: &[f32], gap: usize, following: usize) -> f64 {
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| f64::from(sample * sample)).sum::<f64>();
    let places: Vec<usize> = (5_000..40_000).step_by(3_511).collect();
    let each = places.iter().map(|&start| {
        let made = concealed(signal, start..start + gap, following);
        let true_ones = &signal[start..][..gap];
        let error = energy(&mut made.iter().zip(true_ones).map(|(made, sample)| made - sample));
        10.0 * (energy(&mut true_ones.iter().copied()) / error).log10()
    });
    each.sum::<f64>() / places.len() as f64
}

fn level(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

fn steepest(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

#[test]
fn a_tone_goes_on_and_meets_what_follows() {
    for gap in [64, 120, 240, 480] {
        for following in [0, 64, 120, 240] {
            let decibels = decibels(&tone(), gap, following);
            assert!(decibels > 45.0, "{gap} frames, {following} known: {decibels} dB");
        }
    }
}

#[test]
fn a_chord_and_a_voice_go_on() {
    for (gap, of_chord, of_voice) in [(120, 18.0, 20.0), (240, 16.0, 20.0), (480, 12.0, 20.0)] {
        let (chord, voice) = (decibels(&chord(), gap, 240), decibels(&voice(), gap, 240));
        assert!(chord > of_chord && voice > of_voice, "{gap} frames: {chord} dB, {voice} dB");
    }
}

#[test]
fn noise_keeps_its_level_for_10_ms_and_has_no_hole_before_what_follows() {
    let noise = noise(1);
    let usual = level(&noise);
    for start in (5_000..40_000).step_by(5_000) {
        let made = concealed(&noise, start..start + 480, 0);
        assert!((0.8..1.15).contains(&(level(&made) / usual)), "{}", level(&made) / usual);
        let made = concealed(&noise, start..start + 480, 240);
        let (middle, end) = (level(&made[160..320]) / usual, level(&made[320..]) / usual);
        assert!((0.7..1.3).contains(&middle) && (0.7..1.3).contains(&end), "{middle} {end}");
    }
}

#[test]
fn neither_end_of_a_gap_is_steeper_than_the_sound() {
    for (name, signal) in [("tone", tone()), ("chord", chord()), ("voice", voice())] {
        for gap in [64, 120, 240, 480, 960] {
            for start in (5_000..40_000).step_by(3_511) {
                let made = concealed(&signal, start..start + gap, 120);
                let (before, after) = (&signal[start - 2..start], &signal[start + gap..][..2]);
                let all = [before, &made, after].concat();
                let (steepest, limit) = (steepest(&all), 1.2 * steepest(&signal));
                assert!(steepest < limit, "{name} {gap} {start}: {steepest} > {limit}");
            }
        }
    }
}

#[test]
fn a_change_in_the_gap_is_met_without_a_click() {
    // What follows is another note, of which the past knows nothing.
    let (before, after) =
        (signal(RATE, |seconds| 0.5 * note(100.0, 1, seconds)), signal(RATE, |seconds| 0.5 * note(160.0, 1, seconds)));
    for start in (5_000..10_000).step_by(311) {
        let mut decoder = decoder(&before[..start], 1);
        let mut made = vec![9.0; 240];
        assert!(decoder.conceal(&mut made, Some(&payload(&after[start..][..120]))));
        let all = [&before[start - 10..start], &made, &after[start..][..10]].concat();
        assert!(steepest(&all) < 0.025, "160 Hz itself moves by 0.0105: {}", steepest(&all));
    }
}

#[test]
fn a_long_loss_fades_and_ends_in_silence() {
    let chord = chord();
    let made = concealed(&chord, 10_000..14_000, 0);
    let quieter = |millis: usize| level(&made[millis * MILLISECOND..][..10 * MILLISECOND]) / level(&chord);
    assert!(
        quieter(10) > 0.7 && quieter(30) < 0.9 && quieter(50) < 0.2,
        "{} {} {}",
        quieter(10),
        quieter(30),
        quieter(50)
    );
    assert!(made[60 * MILLISECOND..].iter().all(|&sample| sample == 0.0));
    assert!(steepest(&made) < 1.2 * steepest(&chord));
}

#[test]
fn many_calls_make_what_one_makes() {
    for signal in [chord(), noise(3)] {
        let whole = concealed(&signal, 10_000..14_000, 0);
        for length in [1, 7, 64, 120, 1_000] {
            let mut decoder = decoder(&signal[..10_000], 1);
            let mut made = vec![9.0; 4_000];
            made.chunks_mut(length).for_each(|piece| {
                decoder.decode(None, piece);
                decoder.remember(piece);
            });
            assert!(made == whole, "pieces of {length}");
        }
    }
}

#[test]
fn a_loss_that_began_blind_is_led_to_what_arrives_meanwhile() {
    let signal = chord();
    let mut decoder = decoder(&signal[..10_000], 1);
    let mut made = vec![9.0; 480];
    assert!(!decoder.conceal(&mut made[..240], None));
    assert!(!decoder.conceal(&mut made[240..260], Some(&payload(&signal[10_260..][..120]))), "too short to lead");
    assert!(decoder.conceal(&mut made[260..], Some(&payload(&signal[10_480..][..120]))));
    made.extend_from_slice(&signal[10_480..10_490]);
    assert!(steepest(&made) < 1.2 * steepest(&signal));
}

#[test]
fn the_channels_go_on_each_by_itself() {
    let (left, right) = (tone(), chord());
    let both = |range: std::ops::Range<usize>| range.flat_map(|n| [left[n], right[n]]).collect::<Vec<f32>>();
    let mut decoder = decoder(&both(0..10_000), 2);
    let mut made = vec![9.0; 2 * 240];
    assert!(decoder.conceal(&mut made, Some(&payload(&both(10_240..10_480)))));
    let alone = [&left, &right].map(|signal| concealed(signal, 10_000..10_240, 240));
    assert!(made.chunks(2).zip(alone[0].iter().zip(&alone[1])).all(|(both, (l, r))| both == [*l, *r]));
}

#[test]
fn a_loss_soon_after_a_loss_goes_on_from_what_was_played() {
    let signal = tone();
    let mut decoder = decoder(&signal[..10_000], 1);
    let mut made = Vec::new();
    for n in 0..20 {
        let start = 10_000 + n * 240;
        let mut lost = vec![9.0; 120];
        assert!(decoder.conceal(&mut lost, Some(&payload(&signal[start + 120..][..120]))));
        decoder.remember(&lost);
        let mut heard = vec![9.0; 120];
        decoder.decode(Some(&payload(&signal[start + 120..][..120])), &mut heard);
        decoder.remember(&heard);
        made.extend(lost.into_iter().chain(heard));
    }
    assert!(steepest(&made) < 1.2 * steepest(&signal));
    let error: Vec<f32> = made.iter().zip(&signal[10_000..]).map(|(made, sample)| made - sample).collect();
    assert!(level(&error) < 0.02 * level(&signal), "{}", level(&error) / level(&signal));
}

#[test]
fn whatever_was_played_the_sound_of_a_loss_is_sane() {
    let square = |loud: f32| (0..5_000).map(|n| if n / 50 % 2 == 0 { loud } else { -loud }).collect::<Vec<f32>>();
    let pasts = [
        vec![],
        vec![0.0; 5_000],
        vec![1.0; 5_000],
        vec![LOUDEST; 5_000],
        vec![f32::MIN_POSITIVE / 8.0; 5_000],
        square(1.0),
        square(LOUDEST),
        square(1e-20),
        noise(5),
        noise(6).into_iter().map(|sample| sample * LOUDEST).collect(),
        (0..5_000).map(|n| LOUDEST * (n as f32 / 5_000.0).powi(30)).collect(),
        (0..5_000).map(|n| if n == 4_999 { LOUDEST } else { 0.0 }).collect(),
        (0..5_000).map(|n| (n as f32 * 0.001).exp().min(LOUDEST) * (n as f32 * 0.2).sin()).collect(),
        (0..5_000).map(|n| (-n as f32 * 0.1).exp()).collect(),
    ];
    for (index, past) in pasts.iter().enumerate() {
        let loudest = peak(past.iter().skip(past.len().saturating_sub(1_920)));
        let made = {
            let mut made = vec![f32::NAN; 5_000];
            decoder(past, 1).conceal(&mut made, None);
            made
        };
        assert!(made.iter().all(|sample| sample.abs() <= (1.25 * loudest).min(LOUDEST)), "{index}");
        for follows in &pasts {
            for (gap, known) in [(48, 1), (240, 64), (960, 240), (2_000, 5_000)] {
                let mut made = vec![f32::NAN; gap];
                let payload = payload(&follows[..known.min(follows.len())]);
                assert!(decoder(past, 1).conceal(&mut made, Some(&payload)));
                assert!(made.iter().all(|sample| sample.abs() <= LOUDEST), "{index}");
            }
        }
    }
}

#[test]
fn every_rate_and_number_of_channels_is_concealed() {
    for rate in [1_000, 8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 96_000, 192_000, 768_000] {
        for channels in [1, 2, 8] {
            let format = Format { codec: Codec::Pcm(Encoding::F32Le), rate, channels };
            let mut decoder = Decoder::new(format).unwrap();
            let played: Vec<f32> = signal(rate, |seconds| 0.3 * note(rate.min(8_000) as f64 / 37.0, 3, seconds));
            let all: Vec<f32> = played.iter().flat_map(|sample| vec![*sample; channels.into()]).collect();
            let (frames, at) = (rate as usize / 200, all.len() / 2);
            decoder.remember(&all[..at]);
            let mut made = vec![9.0; frames * usize::from(channels)];
            let following = payload(&all[at + made.len()..][..made.len()]);
            assert!(decoder.conceal(&mut made, Some(&following)));
            let error: Vec<f32> = made.iter().zip(&all[at..]).map(|(made, sample)| made - sample).collect();
            assert!(level(&error) < 0.1 * level(&all), "{rate} {channels}: {}", level(&error) / level(&all));
        }
    }
}
