use super::*;
use crate::codec::pcm;

const RATE: u32 = 48_000;
const FRAMES: i64 = 240; // 5 ms
const PERIOD: usize = 480; // 10 ms

/// A playout of mono L16 on a mono card, with its own clock and the samples that came out.
struct Bench {
    playout: Playout,
    now: Instant,
    out: Vec<f32>,
}

impl Bench {
    fn new(latency_millis: u64) -> Self {
        Self::at_rates(RATE, RATE, latency_millis)
    }

    fn at_rates(stream: u32, card: u32, latency_millis: u64) -> Self {
        let config = Config {
            latency: Latency::Fixed(Duration::from_millis(latency_millis)),
            profile: Profile::Talk,
            rate: card,
            channels: 1,
            frames_max: PERIOD,
        };
        let playout = Playout::new(Format::l16(stream, 1), config).unwrap();
        Self { playout, now: at(1000), out: Vec::new() }
    }

    /// Inserts unit `n`, whose every sample is `n + 1`, at its time on a perfect path.
    fn insert(&mut self, n: i64) {
        self.insert_at(n, at(1000) + Duration::from_millis(5 * n as u64));
    }

    fn insert_at(&mut self, n: i64, arrived: Instant) {
        let mut payload = Vec::new();
        pcm::encode(crate::Encoding::S16Be, &[(n + 1) as f32 / 32_768.0; FRAMES as usize], &mut payload);
        self.playout.insert(Unit {
            time: MediaTime(n * FRAMES),
            frames: FRAMES as u32,
            arrived,
            origin: Origin::First,
            payload,
        });
        while self.playout.reclaim().is_some() {}
    }

    fn fill(&mut self) {
        self.fill_frames(PERIOD);
    }

    fn fill_frames(&mut self, frames: usize) {
        let mut block = vec![f32::NAN; frames];
        self.playout.fill(self.now, &mut block);
        while self.playout.reclaim().is_some() {}
        self.now += duration(frames as u64);
        self.out.extend(block);
    }

    /// Plays `periods` card periods while units arrive as `arrives` says.
    fn run(&mut self, periods: i64, arrives: impl Fn(i64) -> bool) {
        let first = self.out.len() as i64 / PERIOD as i64 * 2;
        for n in (first..first + periods * 2).step_by(2) {
            self.fill();
            [n, n + 1].into_iter().filter(|&n| arrives(n)).for_each(|n| self.insert(n));
        }
    }

    /// The unit number that each sample is of, 0 for silence and everything in between.
    fn units(&self) -> Vec<i64> {
        let scaled = self.out.iter().map(|sample| sample * 32_768.0);
        scaled.map(|value| if (value - value.round()).abs() < 0.02 { value.round() as i64 } else { 0 }).collect()
    }

    fn runs(&self) -> Vec<(i64, usize)> {
        let mut runs: Vec<(i64, usize)> = Vec::new();
        for unit in self.units() {
            match runs.last_mut() {
                Some((last, count)) if *last == unit => *count += 1,
                _ => runs.push((unit, 1)),
            }
        }
        runs
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn duration(frames: u64) -> Duration {
    crate::duration_of(frames, RATE)
}

#[test]
fn the_first_sample_is_heard_the_latency_after_it_arrived() {
    for latency in [10, 20, 27, 100] {
        let mut bench = Bench::new(latency);
        bench.run(30, |_| true);
        // Unit 0 fades in, so its place is told by unit 1, 5 ms later.
        let first = bench.units().iter().position(|&unit| unit == 2).unwrap();
        // A block must be there, and what the resampler reads ahead.
        let expected = (latency as f64).max(10.0 + 33.0 / 48.0) + 5.0;
        let millis = duration(first as u64).as_secs_f64() * 1e3;
        assert!((-0.2..1.0).contains(&(millis - expected)), "latency {latency} ms: {millis} ms");
        assert_eq!(bench.playout.take_stats().concealment_events, 0);
    }
}

#[test]
fn what_is_buffered_before_the_start_is_what_waits() {
    let mut bench = Bench::new(100);
    (0..4).for_each(|n| bench.insert_at(1_000_000 + n, at(1000)));
    bench.fill();
    assert_eq!(bench.playout.take_stats().buffered, Duration::from_millis(20));
}

#[test]
fn a_latency_below_a_period_plays_as_soon_as_a_period_is_there() {
    let mut bench = Bench::new(0);
    bench.run(30, |_| true);
    let first = bench.units().iter().position(|&unit| unit == 2).unwrap();
    assert!((0..48).contains(&(first - PERIOD - FRAMES as usize - 33)), "{first}");
    assert_eq!(bench.playout.take_stats().concealed_samples, 0);
}

#[test]
fn every_sample_is_played_once_and_in_order() {
    let mut bench = Bench::new(20);
    bench.run(100, |_| true);
    let runs = bench.runs();
    // The resampler rings for a few frames where one unit's height becomes the next one's.
    let whole: Vec<_> = runs[3..runs.len() - 1].iter().filter(|&&(_, count)| count > 10).collect();
    assert!(whole.iter().all(|&&(_, count)| (220..=FRAMES as usize + 1).contains(&count)), "{whole:?}");
    assert!(whole.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
}

#[test]
fn reordered_units_within_the_latency_are_not_missed() {
    let mut bench = Bench::new(30);
    for n in (0..200).step_by(2) {
        bench.fill();
        let arrived = bench.now;
        bench.insert_at(n + 1, arrived);
        bench.insert_at(n, arrived);
        bench.insert_at(n, arrived);
    }
    let stats = bench.playout.take_stats();
    assert_eq!((stats.concealed_samples, stats.units_late), (0, 0));
    assert!(stats.units_duplicate >= 90, "{}", stats.units_duplicate);
}

#[test]
fn every_unit_is_accounted_for() {
    let mut bench = Bench::new(10);
    for n in 0..400i64 {
        if n % 2 == 0 {
            bench.fill();
        }
        let arrived = bench.now;
        // Some lost, some twice, some out of order, some too late.
        let delayed = [0, 0, 1, 0, -1, 0, 4, 0][n as usize % 8];
        bench.insert_at(n - delayed, arrived);
        if n % 7 == 0 {
            bench.insert_at(n, arrived);
        }
        let stats = bench.playout.take_stats();
        let places = [stats.units_played, stats.units_waiting, stats.units_late, stats.units_duplicate];
        assert_eq!(stats.units_received, places.iter().sum::<u64>() + stats.units_overflowed, "{stats:?}");
    }
    let stats = bench.playout.take_stats();
    assert!(stats.units_played > 0 && stats.units_late > 0 && stats.units_duplicate > 0, "{stats:?}");
}

#[test]
fn a_lost_unit_keeps_the_timeline_and_is_counted() {
    let mut bench = Bench::new(20);
    bench.run(50, |n| n != 40);
    let units = bench.units();
    let before = units.iter().rposition(|&unit| unit == 40).unwrap();
    let after = units.iter().position(|&unit| unit == 42).unwrap();
    // What is made up leads to the unit after the loss.
    assert!((after - before - 1).abs_diff(FRAMES as usize) < 12, "{}", after - before);
    let stats = bench.playout.take_stats();
    assert_eq!((stats.concealed_samples, stats.concealment_events), (FRAMES as u64, 1));
}

#[test]
fn a_pause_is_silence_and_what_follows_comes_at_the_same_delay() {
    let mut bench = Bench::new(20);
    bench.run(400, |n| !(100..600).contains(&n));
    let units = bench.units();
    let silent_from = units.iter().rposition(|&unit| unit == 100).unwrap() + 130;
    let back = units.iter().position(|&unit| unit == 602).unwrap();
    assert!(bench.out[silent_from + 2880..back - 480].iter().all(|&sample| sample == 0.0));
    assert!((duration(back as u64).as_secs_f64() - 0.02 - 601.0 * 0.005).abs() < 0.2e-3);
}

#[test]
fn a_path_that_becomes_longer_moves_the_timeline_once() {
    let mut bench = Bench::new(20);
    bench.run(50, |_| true);
    for n in 100..300 {
        // 60 ms later than before: everything comes too late.
        if n % 2 == 0 {
            bench.fill();
        }
        if n >= 112 {
            let arrived = bench.now;
            bench.insert_at(n - 12, arrived);
        }
    }
    let stats = bench.playout.take_stats();
    assert_eq!(stats.moves, 1);
    assert!(stats.units_late <= 10, "{}", stats.units_late);
    assert!(bench.units().contains(&280), "it plays again");
}

#[test]
fn the_past_in_one_burst_does_not_move_the_timeline() {
    let mut bench = Bench::new(20);
    bench.run(50, |n| n < 80);
    let arrived = bench.now;
    (80..100).for_each(|n| bench.insert_at(n, arrived));
    bench.run(50, |_| true);
    let stats = bench.playout.take_stats();
    assert_eq!((stats.moves, stats.concealment_events), (0, 1));
    assert!(stats.units_late > 10, "{}", stats.units_late);
}

#[test]
fn copies_of_what_was_played_are_not_played_again() {
    for silent_periods in [3, 300] {
        let mut bench = Bench::new(20);
        bench.run(50, |_| true);
        (0..silent_periods).for_each(|_| bench.fill());
        let arrived = bench.now;
        let heard = bench.out.len();
        (80..100).for_each(|n| bench.insert_at(n, arrived));
        (0..50).for_each(|_| bench.fill());
        let stats = bench.playout.take_stats();
        assert_eq!((stats.moves, stats.units_late), (0, 20));
        assert!(bench.out[heard + 2880..].iter().all(|&sample| sample == 0.0), "after {silent_periods} periods");
    }
}

#[test]
fn a_backlog_is_cut_down_to_the_latency() {
    let mut bench = Bench::new(20);
    bench.run(10, |_| true);
    // A stall of 500 ms, then all of it at once: the past is late, the newest on time.
    for _ in 0..50 {
        bench.fill();
    }
    let arrived = bench.now;
    (20..120).for_each(|n| bench.insert_at(n, arrived));
    let mut worst = Duration::ZERO;
    for n in (120..600).step_by(2) {
        bench.fill();
        let arrived = bench.now;
        bench.insert_at(n, arrived);
        bench.insert_at(n + 1, arrived);
        if n > 400 {
            worst = worst.max(bench.playout.take_stats().last_delay);
        }
    }
    assert!(worst <= Duration::from_millis(45), "{worst:?}");
}

#[test]
fn the_level_stays_bounded_when_the_sender_is_faster() {
    // 2 % faster than the card: 20 ms more every second.
    let mut bench = Bench::new(20);
    let mut sent = 0;
    for period in 0..3000 {
        bench.fill();
        while f64::from(sent) * 5.0 < f64::from(period) * 10.0 * 1.02 {
            let arrived = bench.now;
            bench.insert_at(sent.into(), arrived);
            sent += 1;
        }
        assert!(bench.playout.take_stats().buffered < Duration::from_millis(120));
    }
    assert!(bench.playout.take_stats().removed_samples_for_acceleration > 0);
}

#[test]
fn the_end_is_played_to_the_last_unit() {
    let mut bench = Bench::new(50);
    bench.run(10, |_| true);
    bench.playout.finish();
    for _ in 0..10 {
        bench.fill();
    }
    assert!(bench.playout.is_ended());
    assert!(bench.units().contains(&20), "unit 19 was the last");
    assert_eq!(bench.out.last(), Some(&0.0));
    assert_eq!(bench.playout.take_stats().concealed_samples, 0, "an end is no loss");
}

#[test]
fn the_end_fades_whatever_the_period() {
    for period in [1, 7, 64, 100] {
        let mut bench = Bench::new(0);
        bench.insert_at(20_000, at(1000));
        bench.playout.finish();
        while !bench.playout.is_ended() {
            bench.fill_frames(period);
        }
        let loud = bench.out.iter().position(|&sample| sample > 0.6).expect("it is heard");
        let steepest = bench.out[loud..].windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.012, "period {period}: {steepest}");
        assert!(bench.out.last().unwrap().abs() < 0.01);
    }
}

#[test]
fn an_end_before_the_start_ends_at_once() {
    let mut bench = Bench::new(50);
    bench.playout.finish();
    assert!(bench.playout.is_ended());
}

#[test]
fn another_rate_is_converted_and_keeps_its_delay() {
    let mut bench = Bench::at_rates(24_000, 48_000, 20);
    // Units are 10 ms long at this rate.
    for n in 0..100 {
        bench.fill();
        let arrived = bench.now;
        bench.insert_at(n, arrived);
    }
    let stats = bench.playout.take_stats();
    assert_eq!(stats.concealed_samples, 0);
    let delay = stats.mean_delay();
    assert!((Duration::from_millis(10)..Duration::from_millis(35)).contains(&delay), "{delay:?}");
    let loudest = bench.out.iter().copied().fold(0.0, f32::max) * 32_768.0;
    assert!((90.0..110.0).contains(&loudest), "{loudest}");
}

#[test]
fn rates_may_be_absurdly_far_apart() {
    for (stream, card) in [(768_000, 1_000), (1_000, 768_000)] {
        let mut bench = Bench::at_rates(stream, card, 100);
        bench.run(30, |_| true);
        assert_eq!(bench.playout.take_stats().units_received, 60);
        assert!(bench.out.iter().all(|sample| sample.is_finite()), "{stream} Hz on {card} Hz");
    }
}

#[test]
fn after_absurd_times_the_stream_is_heard_again() {
    for time in [i64::MIN, -(1 << 60), -1, 1 << 40, 1 << 60, i64::MAX] {
        for arrived in [0, 999_000_000, u64::MAX] {
            let mut bench = Bench::new(20);
            bench.run(4, |_| true);
            let unit = |time| Unit {
                time: MediaTime(time),
                frames: FRAMES as u32,
                arrived: Instant::from_nanos(arrived),
                origin: Origin::First,
                payload: vec![0; FRAMES as usize * 2],
            };
            (0..10).for_each(|n| bench.playout.insert(unit(time.saturating_add(n * FRAMES))));
            // Longer than it takes to cut the gap before them.
            (0..150).for_each(|_| bench.fill());
            bench.run(50, |_| true);
            assert!(bench.units().contains(&(2 * 200)), "{time} {arrived}");
        }
    }
}

#[test]
fn a_unit_that_is_not_what_it_says_is_refused() {
    let mut bench = Bench::new(20);
    let unit =
        Unit { time: MediaTime(0), frames: u32::MAX, arrived: at(1000), origin: Origin::First, payload: vec![0; 480] };
    bench.playout.insert(unit.clone());
    bench.playout.insert(Unit { frames: 0, payload: Vec::new(), ..unit });
    assert_eq!(std::iter::from_fn(|| bench.playout.reclaim()).count(), 2);
    bench.fill();
    let stats = bench.playout.take_stats();
    assert_eq!((stats.units_refused, stats.buffered), (2, Duration::ZERO));
}

/// What comes out of a sine in L16 whose copies are as given, where so many packets are missing.
fn sine_with_copies(format: Format, copies: Option<crate::copies::Settings>, lost: &[i64]) -> (Vec<f32>, Stats) {
    let latency = Latency::Fixed(Duration::from_millis(60));
    let config = Config { latency, profile: Profile::Talk, rate: RATE, channels: 1, frames_max: PERIOD };
    let mut playout = Playout::new(format, config).unwrap();
    let mut packetizer = crate::Packetizer::new(crate::packetizer::Config {
        rate: RATE,
        channels: 1,
        format,
        frames: FRAMES as usize,
        opus: Default::default(),
    })
    .unwrap();
    packetizer.set_copies(copies).unwrap();
    let mut out = Vec::new();
    for n in 0..200 {
        let now = at(1000) + Duration::from_millis(5 * n as u64);
        let sine = |frame: i64| 0.5 * (frame as f32 * 0.05).sin();
        packetizer.push(now, &(n * FRAMES..(n + 1) * FRAMES).map(sine).collect::<Vec<_>>());
        let frame = packetizer.poll().unwrap().unwrap();
        let copy = frame.copy.map(|copied| Unit {
            time: copied.time,
            frames: payload_frames(Format::OPUS, copied.payload).unwrap() as u32,
            arrived: now,
            origin: Origin::Copy,
            payload: copied.payload.to_vec(),
        });
        let (time, frames, payload) = (frame.time, FRAMES as u32, frame.payload.to_vec());
        let unit = Unit { time, frames, arrived: now, origin: Origin::First, payload };
        copy.into_iter().for_each(|copy| playout.insert(copy));
        if !lost.contains(&n) {
            playout.insert(unit);
        }
        if n % 2 == 1 {
            let mut block = vec![0.0; PERIOD];
            playout.fill(now, &mut block);
            out.extend(block);
        }
        while playout.reclaim().is_some() {}
    }
    (out, playout.take_stats())
}

#[test]
fn a_copy_takes_the_place_of_what_is_lost_without_a_click() {
    use crate::codec::opus::{Application, Settings};
    let settings = |frames, bitrate_bps, application| {
        Some(crate::copies::Settings { frames, opus: Settings { application, bitrate_bps } })
    };
    // Six packets in the middle of a copy, one at its end, and two that follow each other.
    let lost = [101, 102, 103, 104, 105, 106, 121, 140, 142];
    for (format, copies, most) in [
        (Format::l16(RATE, 1), settings(480, 64_000, Application::Music), 0.02),
        (Format::l16(RATE, 1), settings(960, 32_000, Application::Music), 0.03),
        // The decoder of the packets has missed some, and a sine is what it predicts most.
        (Format::OPUS, settings(960, 32_000, Application::Music), 0.2),
        (Format::OPUS, settings(960, 16_000, Application::Voice), 0.35),
    ] {
        let (whole, _) = sine_with_copies(format, None, &[]);
        let (mended, stats) = sine_with_copies(format, copies, &lost);
        assert_eq!(stats.concealed_samples, 0, "{stats:?}");
        assert!(stats.copies_heard >= 4 && stats.copied_samples as i64 >= lost.len() as i64 * FRAMES, "{stats:?}");
        let off = whole.iter().zip(&mended).map(|(whole, mended)| (whole - mended).abs()).fold(0.0, f32::max);
        assert!(off < most, "{format} {copies:?}: {off}");
    }
}

/// Units shorter than a splice's fade: what is compared must be decoded ahead.
#[test]
fn a_longer_delay_is_reached_soon_however_short_the_units() {
    const UNIT: i64 = 128;
    let mut bench = Bench::new(20);
    for unit in 0..1_500 {
        bench.fill_frames(UNIT as usize);
        let mut payload = Vec::new();
        let sine = |n: i64| (std::f32::consts::TAU * 220.0 * (unit * UNIT + n) as f32 / RATE as f32).sin() * 0.5;
        pcm::encode(crate::Encoding::S16Be, &(0..UNIT).map(sine).collect::<Vec<_>>(), &mut payload);
        let (time, frames, arrived) = (MediaTime(unit * UNIT), UNIT as u32, bench.now);
        bench.playout.insert(Unit { time, frames, arrived, origin: Origin::First, payload });
        while bench.playout.reclaim().is_some() {}
        if unit == 750 {
            bench.playout.set(Latency::Fixed(Duration::from_millis(80)), Profile::Talk);
        }
    }
    let stats = bench.playout.take_stats();
    assert!(stats.delay > Duration::from_millis(75), "2 s after: {:?}", stats.delay);
    assert_eq!(stats.concealed_samples, 0);
}
