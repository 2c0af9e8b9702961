//! What each stage costs for one frame of a stream or one block of a card: `cargo bench`.
//!
//! The items that are counted are sample frames. At 48 kHz a whole core is worth 48 Kitem/s, so
//! 4.8 Mitem/s is 1 % of a core, and the same share of every period.

use std::cell::RefCell;
use std::time::Duration;

use audiostreamer_core::codec::Decoder;
use audiostreamer_core::framing::{Deframer, frame};
use audiostreamer_core::mixer::{Voice, VoiceHandle};
use audiostreamer_core::packet::{Packet, Rtp};
use audiostreamer_core::playout::{self, Unit};
use audiostreamer_core::receiver::Output;
use audiostreamer_core::resample::Resampler;
use audiostreamer_core::rtcp::Ntp;
use audiostreamer_core::sender::{self, Wire};
use audiostreamer_core::{
    Format, Instant, MediaTime, Mixer, Packetizer, PayloadTypes, Playout, Receiver, Sender, duration_of, packetizer,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const RATE: u32 = 48_000;
const CHANNELS: usize = 2;
const PERIOD: usize = 128;
const L16: Format = Format::l16(RATE, CHANNELS as u8);
const L24: Format = Format::l24(RATE, CHANNELS as u8);

/// Frames of 5 ms.
const FRAMES: usize = 240;

/// A minute.
const PERIODS: usize = 22_500;

fn main() {
    divan::main();
    println!("\nOne stream, {PERIOD} frames at a time; whoever preempts the bench is in the last figures:");
    [L16, Format::OPUS, Format::l16(44_100, 2)].into_iter().for_each(print_tail);
}

/// The mean says little of a callback: a single one that is late is a gap.
fn print_tail(format: Format) {
    let mut playout = Playout::new(format, CONFIG).unwrap();
    let mut source = Source::new(format);
    let mut block = [0.0; PERIOD * CHANNELS];
    let mut taken: Vec<Duration> = Vec::with_capacity(PERIODS);
    for _ in 0..PERIODS {
        let units = source.next_period();
        #[expect(clippy::disallowed_methods, reason = "a bench measures the true time")]
        let start = std::time::Instant::now();
        units.into_iter().for_each(|unit| playout.insert(unit));
        playout.fill(source.now, &mut block);
        taken.push(start.elapsed());
        while playout.reclaim().is_some() {}
    }
    taken.sort();
    let [median, p99, p999] = [0.5, 0.99, 0.999].map(|share| taken[(share * PERIODS as f64) as usize]);
    let share = 100.0 * p999.as_secs_f64() / duration_of(PERIOD as u64, RATE).as_secs_f64();
    let most = taken[PERIODS - 1];
    println!(
        "fill {format}: median {median:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?} ({share:.1} % of a period), max {most:.1?}"
    );
}

#[divan::bench(args = [120, 240, 480, 960])]
fn packetizer_opus(bencher: Bencher, frames: usize) {
    packetize(bencher, Format::OPUS, RATE, frames);
}

#[divan::bench]
fn packetizer_l16(bencher: Bencher) {
    packetize(bencher, L16, RATE, FRAMES);
}

#[divan::bench]
fn packetizer_l24(bencher: Bencher) {
    packetize(bencher, L24, RATE, FRAMES);
}

#[divan::bench]
fn packetizer_l16_from_44100(bencher: Bencher) {
    packetize(bencher, L16, 44_100, FRAMES);
}

fn packetize(bencher: Bencher, format: Format, rate: u32, frames: usize) {
    let config = packetizer::Config { rate, channels: 2, format, frames, opus: Default::default() };
    let mut packetizer = Packetizer::new(config).unwrap();
    let captured = noise(frames * rate as usize / RATE as usize);
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        packetizer.push(Instant::default(), &captured);
        packetizer.poll().unwrap().map(|frame| frame.payload.len())
    });
}

#[divan::bench]
fn resampler_44100_to_48000(bencher: Bencher) {
    let mut resampler = Resampler::new(44_100, RATE, CHANNELS, PERIOD).unwrap();
    let input = noise(PERIOD);
    let mut output = [0.0; PERIOD * CHANNELS];
    bencher.counter(ItemsCount::new(PERIOD)).bench_local(|| {
        let needed = resampler.input_frames(PERIOD);
        resampler.process(&input[..needed * CHANNELS], &mut output);
        output[0]
    });
}

#[divan::bench]
fn sender_l16(bencher: Bencher) {
    let mut sender = Sender::new(sender::Config {
        ssrc: 7,
        first_sequence: 0,
        first_timestamp: 0,
        cname: "bench".into(),
        wire: Wire::Rtp { payload_type: 97 },
        rate: RATE,
        beside: None,
        wall_epoch: Ntp(0),
    });
    let (mut packet, mut n) = (Vec::new(), 0);
    let payload = vec![0; L16.frame_bytes().unwrap() * FRAMES];
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        let now = at(n);
        let time = MediaTime((n * FRAMES) as i64);
        sender.handle_frame(
            now,
            &packetizer::Frame { time, frames: FRAMES, captured: now, begins: false, payload: &payload, copy: None },
        );
        n += 1;
        while sender.poll_transmit(now, &mut packet) {
            black_box(&packet);
        }
    });
}

#[divan::bench]
fn receiver_l16(bencher: Bencher) {
    let mut receiver = Receiver::new(Instant::default(), 1, "bench", 7, PayloadTypes::default());
    let (mut packet, mut n) = (Vec::new(), 0);
    rtp(&mut packet);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&((n * FRAMES) as u32).to_be_bytes());
        let Some(Packet::Rtp(rtp)) = Packet::parse(&packet) else { unreachable!() };
        receiver.handle_rtp(at(n), &rtp);
        n += 1;
        while let Some(output) = receiver.poll_output() {
            if let Output::Unit(unit) = output {
                receiver.recycle(unit.payload);
            }
        }
    });
    assert!(n < 3 || receiver.stats().packets_received > 0);
}

#[divan::bench]
fn deframer_l16(bencher: Bencher) {
    let (mut packet, mut record) = (Vec::new(), Vec::new());
    rtp(&mut packet);
    frame(&packet, &mut record);
    let mut deframer = Deframer::default();
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        deframer.handle_bytes(&record);
        while let Some(packet) = deframer.poll_packet() {
            black_box(packet);
        }
    });
}

// From here on one sample is one callback: the median and the slowest show how even they are.

#[divan::bench(args = [L16, Format::OPUS, Format::l16(44_100, 2)], sample_size = 1, sample_count = 4000)]
fn playout(bencher: Bencher, format: Format) {
    let mut playout = Playout::new(format, CONFIG).unwrap();
    let source = RefCell::new(Source::new(format));
    let mut block = [0.0; PERIOD * CHANNELS];
    bencher
        .counter(ItemsCount::new(PERIOD))
        .with_inputs(|| (source.borrow_mut().next_period(), Vec::with_capacity(4)))
        .bench_local_refs(|(units, spent)| {
            units.drain(..).for_each(|unit| playout.insert(unit));
            playout.fill(source.borrow().now, &mut block);
            spent.extend(std::iter::from_fn(|| playout.reclaim()));
        });
    assert_eq!(playout.take_stats().concealed_samples, 0);
}

/// A loss of one unit: blind, and with the next one already there.
#[divan::bench(args = [false, true], sample_size = 1, sample_count = 1000)]
fn loss_l16(bencher: Bencher, followed: bool) {
    let source = Source::new(L16);
    let following = followed.then_some(source.payloads[0].as_slice());
    let decoder = RefCell::new(Decoder::new(L16).unwrap());
    let mut samples = [0.0; FRAMES * CHANNELS];
    let play = || {
        for payload in &source.payloads[1..10] {
            let mut samples = [0.0; FRAMES * CHANNELS];
            decoder.borrow_mut().decode(Some(payload), &mut samples);
            decoder.borrow_mut().remember(&samples);
        }
    };
    bencher
        .counter(ItemsCount::new(FRAMES))
        .with_inputs(play)
        .bench_local_values(|()| decoder.borrow_mut().conceal(&mut samples, following));
}

/// 2.5 ms more of a loss.
#[divan::bench(sample_size = 1, sample_count = 16)]
fn loss_l16_goes_on(bencher: Bencher) {
    let mut decoder = Decoder::new(L16).unwrap();
    decoder.remember(&noise(RATE as usize / 10));
    let mut samples = [0.0; FRAMES / 2 * CHANNELS];
    decoder.conceal(&mut samples, None);
    bencher.counter(ItemsCount::new(FRAMES / 2)).bench_local(|| decoder.conceal(&mut samples, None));
}

#[divan::bench(args = [1, 8, 32], sample_size = 1, sample_count = 4000)]
fn mixer_l16(bencher: Bencher, voices: usize) {
    mix(bencher, L16, voices);
}

#[divan::bench(args = [1, 8, 32], sample_size = 1, sample_count = 4000)]
fn mixer_opus(bencher: Bencher, voices: usize) {
    mix(bencher, Format::OPUS, voices);
}

fn mix(bencher: Bencher, format: Format, voices: usize) {
    let (mut handle, mut mixer) = Mixer::new(RATE, CHANNELS as u16, PERIOD, voices);
    let add = |_| {
        let (voice, boxed) = Voice::new(Playout::new(format, CONFIG).unwrap(), 1.0);
        handle.add(boxed).ok().unwrap();
        voice
    };
    let mut streams: Vec<VoiceHandle> = (0..voices).map(add).collect();
    let mut source = Source::new(format);
    let mut block = [0.0; PERIOD * CHANNELS];
    let arriving = || {
        for unit in source.next_period() {
            streams.iter_mut().for_each(|stream| stream.send(unit.clone()).unwrap());
        }
        streams.iter_mut().for_each(|stream| while stream.reclaim().is_some() {});
        source.now
    };
    bencher
        .counter(ItemsCount::new(PERIOD))
        .with_inputs(arriving)
        .bench_local_values(|now| mixer.fill(now, Duration::ZERO, &mut block));
}

const CONFIG: playout::Config = playout::Config {
    latency: playout::Latency::Auto,
    profile: playout::Profile::Live,
    rate: RATE,
    channels: CHANNELS as u16,
    frames_max: PERIOD,
};

/// A stream of 5 ms units on a perfect network, period by period of the card.
struct Source {
    now: Instant,
    payloads: Vec<Vec<u8>>,
    frames: usize,
    rate: u32,
    sent: usize,
}

impl Source {
    fn new(format: Format) -> Self {
        let (rate, frames) = (format.rate, format.rate as usize / 200);
        let config = packetizer::Config { rate, channels: 2, format, frames, opus: Default::default() };
        let mut packetizer = Packetizer::new(config).unwrap();
        packetizer.push(Instant::default(), &noise(rate as usize));
        let mut payloads = Vec::new();
        while let Some(frame) = packetizer.poll().unwrap() {
            payloads.push(frame.payload.to_vec());
        }
        Self { now: Instant::default(), payloads, frames, rate, sent: 0 }
    }

    fn next_period(&mut self) -> Vec<Unit> {
        self.now += duration_of(PERIOD as u64, RATE);
        let mut units = Vec::new();
        while Instant::default() + duration_of((self.sent * self.frames) as u64, self.rate) <= self.now {
            let time = MediaTime((self.sent * self.frames) as i64);
            let payload = self.payloads[self.sent % self.payloads.len()].clone();
            units.push(Unit {
                time,
                frames: self.frames as u32,
                arrived: self.now,
                origin: Default::default(),
                payload,
            });
            self.sent += 1;
        }
        units
    }
}

/// Stereo that no codec finds easy.
fn noise(frames: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..frames * CHANNELS).map(next).collect()
}

/// A packet of 5 ms of L16.
fn rtp(packet: &mut Vec<u8>) {
    let payload = vec![0; L16.frame_bytes().unwrap() * FRAMES];
    Rtp { ssrc: 7, payload_type: 97, sequence: 0, timestamp: 0, marker: false, payload: &payload }.write(packet);
}

/// When frame `n` is sent.
fn at(n: usize) -> Instant {
    Instant::default() + duration_of((n * FRAMES) as u64, RATE)
}
