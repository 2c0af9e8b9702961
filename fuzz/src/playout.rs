//! The playout, which must cope with any order of calls and any time.

use std::time::Duration;

use arbitrary::Arbitrary;
use audiostreamer_core::codec::{payload_frames, pcm};
use audiostreamer_core::playout::{COPIES_MAX, Config, Latency, Origin, Profile, UNITS_MAX, Unit};
use audiostreamer_core::{Codec, Encoding, Format, Instant, MediaTime, Playout, duration_of};

/// Units plausible and absurd, and blocks of any size at any time: every sample is written, finite
/// and bounded; every payload comes back; what waits is bounded; the end comes.
pub fn playout(bytes: &[u8]) {
    let Some(input) = super::input::<Input>(bytes) else { return };
    let mut bench = Bench::new(&input);
    for step in input.steps {
        match step {
            Step::Next { count, skip, late } => {
                for _ in 0..=count % 64 {
                    bench.insert_next(skip.into(), late.into());
                }
            }
            Step::Unit { time, frames, arrived, payload } => {
                let frames = frames.unwrap_or_else(|| bench.length(payload));
                let (time, arrived) = (MediaTime(time), moment(arrived));
                bench.insert(Unit { time, frames, arrived, origin: origin(payload), payload: payload.to_vec() });
            }
            Step::Near { ahead, payload } => {
                let (frames, arrived) = (bench.length(payload), bench.now);
                let time = MediaTime(bench.next.saturating_add(ahead.into()));
                bench.insert(Unit { time, frames, arrived, origin: origin(payload), payload: payload.to_vec() });
            }
            Step::Fill { frames } => bench.fill(frames.into()),
            Step::Periods { count } => (0..=count % 64).for_each(|_| bench.fill(128)),
            Step::Wait { micros } => bench.now += Duration::from_micros(micros.into()),
            Step::Jump { nanos } => bench.now = moment(nanos),
            Step::Finish => bench.playout.finish(),
        }
    }
    bench.ends();
}

/// Any.
fn origin(payload: &[u8]) -> Origin {
    match payload.len() % 3 {
        0 => Origin::Repair,
        1 if payload.len().is_multiple_of(2) => Origin::Lost,
        1 => Origin::Copy,
        _ => Origin::First,
    }
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    format: u8,
    card: u8,
    latency_millis: u8,
    first: i64,
    start: u64,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// Units as they should be, 5 ms each, after a gap of `skip` units and `late` ms under way.
    Next {
        count: u8,
        skip: u8,
        late: u8,
    },
    /// Anything, its length true or not.
    Unit {
        time: i64,
        frames: Option<u32>,
        arrived: u64,
        payload: &'a [u8],
    },
    /// A payload of any content not far from the timeline.
    Near {
        ahead: i16,
        payload: &'a [u8],
    },
    /// A block of any size.
    Fill {
        frames: u16,
    },
    /// Some time at the card's pace.
    Periods {
        count: u8,
    },
    Wait {
        micros: u32,
    },
    /// To any moment, back too.
    Jump {
        nanos: u64,
    },
    Finish,
}

const FORMATS: [Format; 8] = [
    Format::OPUS,
    Format::l16(48_000, 2),
    Format::l16(44_100, 1),
    Format::l24(96_000, 2),
    Format::l16(8_000, 8),
    Format { codec: Codec::Pcm(Encoding::F32Le), rate: 48_000, channels: 2 },
    Format { codec: Codec::Pcm(Encoding::F32Be), rate: 22_050, channels: 3 },
    Format { codec: Codec::Pcm(Encoding::U8), rate: 11_025, channels: 1 },
];

/// Rates and channels of cards.
const CARDS: [(u32, u16); 5] = [(48_000, 2), (44_100, 2), (96_000, 1), (8_000, 6), (192_000, 2)];

const FRAMES_MAX: usize = 512;

/// A resampler's filter rings beyond what it is given.
const LOUDEST: f32 = pcm::LOUDEST * 4.0;

/// A playout with its card and what went in and out of it.
struct Bench {
    playout: Playout,
    format: Format,
    rate: u32,
    channels: usize,
    now: Instant,
    /// Media time of the next unit as it should be.
    next: i64,
    inserted: usize,
    reclaimed: usize,
    asked: u64,
    last_arrival: Instant,
}

impl Bench {
    fn new(input: &Input<'_>) -> Self {
        let format = FORMATS[usize::from(input.format) % FORMATS.len()];
        let (rate, channels) = CARDS[usize::from(input.card) % CARDS.len()];
        let latency = match input.latency_millis {
            255 => Latency::Auto,
            millis => Latency::Fixed(Duration::from_millis(millis.into())),
        };
        let profile = Profile::Talk;
        let playout =
            Playout::new(format, Config { latency, profile, rate, channels, frames_max: FRAMES_MAX }).unwrap();
        Self {
            playout,
            format,
            rate,
            channels: channels.into(),
            now: moment(input.start),
            next: input.first,
            inserted: 0,
            reclaimed: 0,
            asked: 0,
            last_arrival: Instant::default(),
        }
    }

    fn length(&self, payload: &[u8]) -> u32 {
        let copy = origin(payload) == Origin::Copy;
        payload_frames(if copy { Format::OPUS } else { self.format }, payload).unwrap_or(0) as u32
    }

    fn insert_next(&mut self, skip: i64, late_millis: u64) {
        let frames = i64::from(self.format.rate / 200);
        self.next = self.next.saturating_add(skip * frames);
        let payload = match self.format.frame_bytes() {
            None => OPUS_5_MS.to_vec(),
            Some(frame_bytes) => vec![0x40; frames as usize * frame_bytes],
        };
        let arrived = self.now + Duration::from_millis(late_millis);
        self.insert(Unit {
            time: MediaTime(self.next),
            frames: frames as u32,
            arrived,
            origin: Origin::First,
            payload,
        });
        self.next = self.next.saturating_add(frames);
    }

    fn insert(&mut self, unit: Unit) {
        self.last_arrival = self.last_arrival.max(unit.arrived);
        self.playout.insert(unit);
        self.inserted += 1;
        self.reclaim();
    }

    fn fill(&mut self, frames: usize) {
        let frames = frames % (FRAMES_MAX + 1);
        let mut block = vec![f32::NAN; frames * self.channels];
        self.playout.fill(self.now, &mut block);
        assert!(block.iter().all(|sample| sample.abs() <= LOUDEST), "written, finite, bounded");
        self.now += duration_of(frames as u64, self.rate);
        self.asked += frames as u64;
        self.reclaim();
        let stats = self.playout.take_stats();
        assert_eq!(stats.total_samples_received, self.asked);
        let gone = stats.units_late + stats.units_duplicate + stats.units_overflowed + stats.units_refused;
        let gone = gone + stats.units_lost;
        assert_eq!(stats.units_played + stats.units_waiting + gone, self.inserted as u64, "{stats:?}");
    }

    fn reclaim(&mut self) {
        self.reclaimed += std::iter::from_fn(|| self.playout.reclaim()).count();
        assert!(self.inserted - self.reclaimed <= UNITS_MAX + COPIES_MAX);
    }

    /// Lets it end, where little waits, and asks every payload back. The gap before a unit takes a
    /// second to be cut.
    fn ends(mut self) {
        let waiting = self.inserted - self.reclaimed;
        if waiting > 1 {
            return;
        }
        self.playout.finish();
        self.now = self.now.max(self.last_arrival);
        let blocks = 2 * (waiting + 1) * self.rate as usize / FRAMES_MAX;
        for _ in 0..blocks {
            if self.playout.is_ended() {
                break;
            }
            self.fill(FRAMES_MAX);
        }
        assert!(self.playout.is_ended());
        assert_eq!(self.inserted, self.reclaimed);
    }
}

/// Any moment of the first 292 years, so that there is time left to end.
fn moment(nanos: u64) -> Instant {
    Instant::from_nanos(nanos >> 1)
}

/// A stereo packet of 240 frames.
const OPUS_5_MS: [u8; 8] = [0xec, 0x7f, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];
