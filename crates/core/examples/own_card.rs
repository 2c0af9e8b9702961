//! The core on a card of one's own: two streams are mixed in the callback of something that asks for blocks.
//!
//! The card here is a loop that asks 200 times a second; a real one calls from a thread of its own, and may not
//! be kept waiting. So everything that allocates, frees or waits stays on this side of the rings: the voices
//! are made here, and what they have played comes back here.
//!
//! ```sh
//! cargo run -p audiostreamer-core --example own_card
//! ```

use std::error::Error;
use std::f32::consts::TAU;
use std::thread;
use std::time::Duration;

use audiostreamer_core::mixer::{Mixer, Voice, VoiceHandle};
use audiostreamer_core::playout::{self, Latency, Origin, Playout, Profile, Unit};
use audiostreamer_core::{Codec, Encoding, Format, Instant, MediaTime};

const RATE: u32 = 48_000;
const CHANNELS: u16 = 1;
const FORMAT: Format = Format { codec: Codec::Pcm(Encoding::S16Be), rate: RATE, channels: 1 };
const FRAMES: usize = 240;

/// 5 ms, in nanoseconds.
const BLOCK: u64 = 5_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut handle, mut mixer) = Mixer::new(RATE, CHANNELS, FRAMES, 2);
    let mut streams = Vec::new();
    for hertz in [440.0, 660.0] {
        let (stream, voice) = stream()?;
        handle.add(voice).map_err(|_| "the mixer has no place")?;
        streams.push((hertz, stream));
    }
    // The card's own thread. It shares nothing with us but the rings.
    let card = thread::spawn(move || {
        let mut heard = Vec::new();
        for block in 0..200 {
            let mut out = [0.0; FRAMES];
            mixer.fill(now(block), Duration::from_millis(5), &mut out);
            heard.extend(out);
            thread::sleep(Duration::from_nanos(BLOCK));
        }
        heard
    });
    for block in 0..200 {
        for (hertz, stream) in &mut streams {
            // A unit is what a `Receiver` would give out: a payload with its place in the stream.
            let _ = stream.send(unit(block, *hertz)); // a full ring drops, and counts
            while stream.reclaim().is_some() {} // payloads that were played, to be used again
        }
        thread::sleep(Duration::from_nanos(BLOCK));
    }
    let heard = card.join().map_err(|_| "the card has panicked")?;
    let loudest = heard.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    println!("{} frames heard, the loudest sample {loudest:.2}", heard.len());
    assert!(loudest > 0.3, "two tones of 0.25 each are louder together");
    Ok(())
}

fn stream() -> Result<(VoiceHandle, Box<Voice>), audiostreamer_core::Error> {
    let config = playout::Config {
        latency: Latency::Fixed(Duration::from_millis(60)),
        profile: Profile::Talk,
        rate: RATE,
        channels: CHANNELS,
        frames_max: FRAMES,
    };
    Ok(Voice::new(Playout::new(FORMAT, config)?, 1.0))
}

fn unit(block: u64, hertz: f32) -> Unit {
    let first = block * FRAMES as u64;
    let sample = |frame: u64| 0.25 * (TAU * hertz * frame as f32 / RATE as f32).sin();
    let samples = (first..first + FRAMES as u64).map(|frame| (sample(frame) * 32_767.0) as i16);
    Unit {
        time: MediaTime(first as i64),
        frames: FRAMES as u32,
        arrived: now(block),
        origin: Origin::First,
        payload: samples.flat_map(i16::to_be_bytes).collect(),
    }
}

/// The time is whatever clock both sides agree on.
fn now(block: u64) -> Instant {
    Instant::from_nanos(block * BLOCK)
}
