//! What runs in the playback callback never allocates and never frees, whatever happens.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod allocator;

use std::collections::VecDeque;
use std::time::Duration;

use allocator::real_time;
use audiostreamer_core::codec::opus;
use audiostreamer_core::mixer::{Change, MixerHandle, Voice, VoiceHandle};
use audiostreamer_core::playout::{self, Origin, UNITS_MAX, Unit};
use audiostreamer_core::{Format, Instant, MediaTime, Mixer, Packetizer, Playout, copies, duration_of, packetizer};

const RATE: u32 = 48_000;
const CHANNELS: u16 = 2;
const PERIOD: usize = 128;

const FORMATS: [Format; 4] = [Format::l16(48_000, 2), Format::l16(44_100, 1), Format::l24(48_000, 2), Format::OPUS];

#[test]
fn a_mixer_of_all_formats_in_all_weathers() {
    let mut card = Card::new(FORMATS.len());
    let mut streams: Vec<Stream> = FORMATS.map(|format| card.stream(format)).into();
    card.play(1.0, &mut streams, Weather::Fair);
    card.play(2.0, &mut streams, Weather::Foul);
    for stream in &mut streams {
        let stats = stream.handle.stats();
        assert!(stats.concealed_samples > 0 && stats.units_duplicate > 0 && stats.units_late > 0, "{stats:?}");
    }
    // Nothing for longer than a pause, then all of it later than before.
    card.play(1.5, &mut streams, Weather::Outage);
    assert!(streams.iter_mut().all(|stream| !stream.handle.stats().playing));
    card.play(1.0, &mut streams, Weather::Fair);
    card.play(1.0, &mut streams, Weather::Slow);
    for stream in &mut streams {
        let stats = stream.handle.stats();
        assert!(stats.playing && stats.moves > 0 && stats.peak > 0.1, "{stats:?}");
    }
}

#[test]
fn a_delay_and_a_gain_that_change_and_a_sum_that_is_too_loud() {
    let mut card = Card::new(FORMATS.len());
    let mut streams: Vec<Stream> = FORMATS.map(|format| card.stream(format)).into();
    let profiles = [playout::Profile::Hifi, playout::Profile::Live, playout::Profile::Talk, playout::Profile::Listen];
    for (profile, gain) in profiles.into_iter().zip([8.0, 0.0, 1.0, 4.0]) {
        for stream in &mut streams {
            for latency in [playout::Latency::Fixed(Duration::from_millis(40)), playout::Latency::Auto] {
                // More than there is room for, too.
                (0..10).for_each(|_| stream.handle.change(Change { latency, profile, gain }));
            }
        }
        card.play(0.3, &mut streams, Weather::Fair);
    }
    let levels = card.handle.levels();
    assert!(levels.clipped_samples > 0 && levels.limiter_gain < 1.0, "{levels:?}");
    assert!(card.block.iter().all(|sample| sample.abs() <= 1.0));
}

#[test]
fn voices_that_arrive_and_end() {
    let mut card = Card::new(2);
    for format in FORMATS {
        let mut streams = vec![card.stream(format), card.stream(Format::OPUS)];
        card.play(0.2, &mut streams, Weather::Fair);
        drop(streams);
        card.play(0.2, &mut [], Weather::Fair);
        assert_eq!(card.handle.free_retired(), 2);
    }
}

#[test]
fn a_flood_that_overflows_the_buffer() {
    let mut card = Card::new(1);
    let mut stream = card.stream(Format::l16(48_000, 2));
    for n in 0..3 * UNITS_MAX as i64 {
        let unit = Unit {
            time: MediaTime(n * 16),
            frames: 16,
            arrived: card.now,
            origin: Origin::First,
            payload: vec![0; 64],
        };
        if stream.handle.send(unit).is_err() {
            card.fill();
            while stream.handle.reclaim().is_some() {}
        }
    }
    card.play(0.2, std::slice::from_mut(&mut stream), Weather::Outage);
    assert!(stream.handle.stats().units_overflowed > 0);
}

#[test]
fn a_voice_whose_payloads_nobody_takes_back() {
    let mut card = Card::new(1);
    let mut stream = card.stream(Format::l16(48_000, 2));
    let mut refused = 0;
    for n in 0..4 * UNITS_MAX as i64 {
        let unit = Unit {
            time: MediaTime(n * 64),
            frames: 64,
            arrived: card.now,
            origin: Origin::First,
            payload: vec![0; 256],
        };
        refused += u64::from(stream.handle.send(unit).is_err());
        if n % 2 == 0 {
            card.fill();
        }
    }
    assert!(refused > 0, "the sender is told");
    drop(stream);
    (0..2000).for_each(|_| card.fill());
    assert_eq!(card.handle.free_retired(), 1);
}

#[test]
fn blocks_larger_than_announced() {
    let mut card = Card::new(FORMATS.len());
    let mut streams: Vec<Stream> = FORMATS.map(|format| card.stream(format)).into();
    card.play(0.2, &mut streams, Weather::Fair);
    let mut block = vec![0.0; 10 * PERIOD * usize::from(CHANNELS) + 6];
    real_time(|| card.mixer.fill(card.now, Duration::ZERO, &mut block));
}

#[test]
fn a_playout_by_itself() {
    for format in FORMATS {
        let mut playout = Playout::new(format, CONFIG).unwrap();
        let mut source = Source::new(format);
        let mut block = [0.0; PERIOD * CHANNELS as usize];
        let mut spent = Vec::with_capacity(UNITS_MAX);
        let mut now = Instant::default();
        for n in 0..750 {
            let mut units = if n < 600 { source.capture(now, Weather::Foul) } else { Vec::new() };
            real_time(|| {
                units.drain(..).for_each(|unit| playout.insert(unit));
                playout.fill(now, &mut block);
                spent.extend(std::iter::from_fn(|| playout.reclaim()));
                if n == 600 {
                    playout.finish();
                }
            });
            spent.clear();
            now += duration_of(PERIOD as u64, RATE);
        }
        assert!(playout.is_ended() && playout.take_stats().jitter_buffer_emitted_count > 0);
    }
}

#[test]
fn speech_that_is_lost_and_comes_back_as_a_copy_or_from_dred_or_not_at_all() {
    let settings = |bitrate_bps| opus::Settings { application: opus::Application::Voice, bitrate_bps };
    let config =
        packetizer::Config { rate: RATE, channels: 1, format: Format::OPUS, frames: 960, opus: settings(48_000) };
    let mut packetizer = Packetizer::new(config).unwrap();
    packetizer.set_copies(Some(copies::Settings { frames: 960, opus: settings(24_000) })).unwrap();
    packetizer.set_loss(0.1).unwrap();
    let latency = playout::Latency::Fixed(Duration::from_millis(150));
    let mut playout = Playout::new(Format::OPUS, playout::Config { latency, ..CONFIG }).unwrap();
    let (mut now, mut packets) = (Instant::default(), 0);
    let mut block = [0.0; PERIOD * CHANNELS as usize];
    let mut spent = Vec::with_capacity(UNITS_MAX);
    for period in 0..1500 {
        let sound: Vec<f32> = (0..PERIOD).map(|n| ((period * PERIOD + n) as f32 * 0.02).sin() * 0.3).collect();
        packetizer.push(now, &sound);
        let mut units = Vec::new();
        while let Some(frame) = packetizer.poll().unwrap() {
            let unit = |time, payload: &[u8], origin| Unit {
                time,
                frames: 960,
                arrived: now,
                origin,
                payload: payload.to_vec(),
            };
            packets += 1;
            match packets % 50 {
                11 | 21..24 => {} // told by the next
                31 => units.extend(frame.copy.map(|copy| unit(copy.time, copy.payload, Origin::Copy))),
                41..50 => {} // too much for anybody
                _ => units.push(unit(frame.time, frame.payload, Origin::First)),
            }
        }
        real_time(|| {
            units.drain(..).for_each(|unit| playout.insert(unit));
            playout.fill(now, &mut block);
            spent.extend(std::iter::from_fn(|| playout.reclaim()));
        });
        spent.clear();
        now += duration_of(PERIOD as u64, RATE);
    }
    let stats = playout.take_stats();
    assert!(stats.copies_heard > 1 && stats.restored_samples > 2 * 960, "{stats:?}");
    assert!(stats.concealed_samples > stats.restored_samples, "{stats:?}");
}

#[test]
#[should_panic(expected = "in a real-time section")]
fn an_allocation_of_rust_is_noticed() {
    real_time(|| std::hint::black_box(Vec::<u8>::with_capacity(1)).leak().len());
}

#[test]
#[should_panic(expected = "in a real-time section")]
fn a_free_is_noticed() {
    let memory = std::hint::black_box(Box::new(1));
    real_time(|| drop(memory));
}

#[test]
#[should_panic(expected = "in a real-time section")]
fn an_allocation_of_libopus_is_noticed() {
    real_time(|| std::mem::forget(opus::Decoder::new()));
}

/// A card with a mixer, whose callbacks are real-time sections.
struct Card {
    mixer: Mixer,
    handle: MixerHandle,
    now: Instant,
    block: Vec<f32>,
}

const CONFIG: playout::Config = playout::Config {
    latency: playout::Latency::Auto,
    profile: playout::Profile::Live,
    rate: RATE,
    channels: CHANNELS,
    frames_max: PERIOD,
};

impl Card {
    fn new(voices_max: usize) -> Self {
        let (handle, mixer) = Mixer::new(RATE, CHANNELS, PERIOD, voices_max);
        Self { mixer, handle, now: Instant::default(), block: vec![0.0; PERIOD * usize::from(CHANNELS)] }
    }

    /// Starts a stream whose voice arrives with the next callback.
    fn stream(&mut self, format: Format) -> Stream {
        let (handle, voice) = Voice::new(Playout::new(format, CONFIG).unwrap(), 1.0);
        self.handle.add(voice).ok().unwrap();
        Stream { source: Source::new(format), handle }
    }

    fn play(&mut self, seconds: f64, streams: &mut [Stream], weather: Weather) {
        for _ in 0..(seconds * f64::from(RATE)) as usize / PERIOD {
            for Stream { source, handle } in &mut *streams {
                source.capture(self.now, weather).into_iter().for_each(|unit| handle.send(unit).unwrap());
                while handle.reclaim().is_some() {}
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        real_time(|| self.mixer.fill(self.now, Duration::ZERO, &mut self.block));
        self.now += duration_of(PERIOD as u64, RATE);
    }
}

struct Stream {
    source: Source,
    handle: VoiceHandle,
}

/// A microphone in front of a loud noise, an encoder and a network.
struct Source {
    packetizer: Packetizer,
    captured: f64,
    rate: u32,
    count: u64,
    under_way: VecDeque<(Instant, Unit)>,
}

/// What the network does.
#[derive(Clone, Copy, PartialEq)]
enum Weather {
    Fair,
    /// Losses alone and in a row, swaps, duplicates, units that come too late.
    Foul,
    /// 100 ms more under way.
    Slow,
    Outage,
}

impl Source {
    fn new(format: Format) -> Self {
        let frames = format.rate as usize / 200;
        let config = packetizer::Config { rate: format.rate, channels: 2, format, frames, opus: Default::default() };
        let packetizer = Packetizer::new(config).unwrap();
        Self { packetizer, captured: 0.0, rate: format.rate, count: 0, under_way: VecDeque::new() }
    }

    /// One more period of the card: the units that arrive in it.
    fn capture(&mut self, now: Instant, weather: Weather) -> Vec<Unit> {
        let before = self.captured;
        self.captured += PERIOD as f64 * f64::from(self.rate) / f64::from(RATE);
        let samples: Vec<f32> =
            (before as u64 * 2..self.captured as u64 * 2).map(|n| (n * n % 997) as f32 / 997.0 - 0.5).collect();
        self.packetizer.push(now, &samples);
        while let Some(frame) = self.packetizer.poll().unwrap() {
            let payload = frame.payload.to_vec();
            let unit =
                Unit { time: frame.time, frames: frame.frames as u32, arrived: now, origin: Origin::First, payload };
            self.count += 1;
            let millis = match (weather, self.count % 100) {
                (Weather::Outage, _) | (Weather::Foul, 10 | 30..40) => continue,
                (Weather::Slow, _) | (Weather::Foul, 50..56) => 100,
                (Weather::Foul, 60) => 6,
                _ => 0,
            };
            if weather == Weather::Foul && self.count % 100 == 70 {
                self.under_way.push_back((now, unit.clone()));
            }
            self.under_way.push_back((now + Duration::from_millis(millis), unit));
        }
        self.arriving(now)
    }

    fn arriving(&mut self, now: Instant) -> Vec<Unit> {
        let (here, away) = self.under_way.drain(..).partition(|(arrives, _)| *arrives <= now);
        self.under_way = away;
        Vec::from(here).into_iter().map(|(arrived, unit)| Unit { arrived, ..unit }).collect()
    }
}
