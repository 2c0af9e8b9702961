//! What arrived at a server, when its card asked, and what was made of it: without any sound, so that it
//! can be given to others, and can be [replayed](crate::replay).
//!
//! A trace is text, a record in each line, fields separated by a space. The first line is [`HEADER`].
//! A letter says what a line is; its first number is the time in microseconds since the trace began.
//! Lines are in the order of time, nearly.
//!
//! | line | |
//! | --- | --- |
//! | `c TIME RATE CHANNELS` | a card was opened |
//! | `a TIME FRAMES` | it asked for so many frames |
//! | `s TIME STREAM CODEC RATE CHANNELS LATENCY PROFILE` | a run of packets of one format begins; a stream has one at a time. LATENCY is `auto` or microseconds |
//! | `u TIME STREAM MEDIA FRAMES BYTES ORIGIN` | a unit came: media time and length in frames, bytes of its payload; ORIGIN is [`Origin`]'s letter |
//! | `p TIME STREAM DELAY TARGET CONCEALED EVENTS LATE MOVES` | what the playout did: delay and target in microseconds, frames made up and how many times that began, units that came too late, how many times the timeline was moved, since the run began |
//! | `e TIME STREAM` | the run has ended |
//! | `x TIME COUNT` | so many lines are missing here, because there were too many at once |
//!
//! A version that only adds kinds of lines keeps the number: what is not known is passed over. A last line
//! without an end was cut off when the program was killed, and is none.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::playout::{Latency, Origin, Profile, Stats};
use crate::{CHANNELS_MAX, Codec, Encoding, Format, Instant, MediaTime};

/// The first line.
pub const HEADER: &str = "audiostreamer-trace 1";

/// A line of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Since the trace began, in whole microseconds.
    pub at: Instant,
    /// What happened.
    pub record: Record,
}

/// What happened. A stream is a number, which is not used again.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the table above says what the fields are")]
pub enum Record {
    Card { rate: u32, channels: u16 },
    Asked { frames: u32 },
    Start { stream: u64, format: Format, latency: Latency, profile: Profile },
    Unit { stream: u64, time: MediaTime, frames: u32, bytes: u32, origin: Origin },
    Played { stream: u64, decisions: Decisions },
    End { stream: u64 },
    Missing { lines: u64 },
}

/// What a playout has decided; counted since its run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Its delay, in whole microseconds.
    pub delay: Duration,
    /// What that is brought to.
    pub target: Duration,
    /// Frames of the stream that were made up.
    pub concealed: u64,
    /// How many times that began.
    pub events: u64,
    /// Units that came too late.
    pub late: u64,
    /// How many times the timeline was moved.
    pub moves: u64,
}

impl From<&Stats> for Decisions {
    fn from(stats: &Stats) -> Self {
        Self {
            delay: stats.delay,
            target: stats.target_delay,
            concealed: stats.concealed_samples,
            events: stats.concealment_events,
            late: stats.units_late,
            moves: stats.moves,
        }
    }
}

/// The lines of a trace: any bytes. `None` where it does not begin as one.
pub fn lines(bytes: &[u8]) -> Option<impl Iterator<Item = Line>> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    let begins = lines.next()? == HEADER.as_bytes();
    begins.then(|| lines.filter_map(|line| Line::parse(std::str::from_utf8(line).ok()?)))
}

impl Line {
    /// Reads a line without its end; `None` where it is none that is known, or says what can't be.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = Fields(line.split(' '));
        let kind = fields.0.next()?;
        let at = micros(fields.number()?)?;
        let record = match kind {
            "c" => Record::Card {
                rate: fields.number().filter(|rate| CARD_RATES.contains(rate))?,
                channels: fields.number().filter(|channels| (1..=CHANNELS_MAX.into()).contains(channels))?,
            },
            "a" => Record::Asked { frames: fields.number().filter(|frames| *frames <= ASKED_MAX)? },
            "s" => Record::Start {
                stream: fields.number()?,
                format: fields.format()?,
                latency: fields.latency()?,
                profile: fields.profile()?,
            },
            "u" => Record::Unit {
                stream: fields.number()?,
                time: MediaTime(fields.number()?),
                frames: fields.number()?,
                bytes: fields.number().filter(|bytes| *bytes <= u16::MAX.into())?,
                origin: fields.origin()?,
            },
            "p" => Record::Played {
                stream: fields.number()?,
                decisions: Decisions {
                    delay: fields.duration()?,
                    target: fields.duration()?,
                    concealed: fields.number()?,
                    events: fields.number()?,
                    late: fields.number()?,
                    moves: fields.number()?,
                },
            },
            "e" => Record::End { stream: fields.number()? },
            "x" => Record::Missing { lines: fields.number()? },
            _ => return None,
        };
        Some(Self { at, record })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_nanos() / 1_000;
        match self.record {
            Record::Card { rate, channels } => write!(f, "c {at} {rate} {channels}"),
            Record::Asked { frames } => write!(f, "a {at} {frames}"),
            Record::Start { stream, format: Format { codec, rate, channels }, latency, profile } => {
                write!(f, "s {at} {stream} {codec} {rate} {channels} ")?;
                match latency {
                    Latency::Auto => write!(f, "auto {profile}"),
                    Latency::Fixed(latency) => write!(f, "{} {profile}", latency.as_micros()),
                }
            }
            Record::Unit { stream, time, frames, bytes, origin } => {
                write!(f, "u {at} {stream} {} {frames} {bytes} {}", time.0, letter(origin))
            }
            Record::Played { stream, decisions: Decisions { delay, target, concealed, events, late, moves } } => {
                let [delay, target] = [delay, target].map(|time| time.as_micros());
                write!(f, "p {at} {stream} {delay} {target} {concealed} {events} {late} {moves}")
            }
            Record::End { stream } => write!(f, "e {at} {stream}"),
            Record::Missing { lines } => write!(f, "x {at} {lines}"),
        }
    }
}

/// The rates that a card may have.
const CARD_RATES: RangeInclusive<u32> = 8_000..=384_000;

/// The most frames that a card is believed to ask for at once: a second and more.
const ASKED_MAX: u32 = 65_536;

/// A hundred years: far from where arithmetic with moments ends.
const MICROS_MAX: u64 = 100 * 365 * 86_400 * 1_000_000;

fn micros(micros: u64) -> Option<Instant> {
    (micros <= MICROS_MAX).then(|| Instant::from_nanos(micros * 1_000))
}

fn letter(origin: Origin) -> char {
    match origin {
        Origin::First => 'f',
        Origin::Begin => 'b',
        Origin::Repair => 'r',
        Origin::Copy => 'c',
        Origin::Lost => 'l',
        Origin::OtherWay => 'o',
    }
}

/// The fields of a line, from the left.
struct Fields<'a>(std::str::Split<'a, char>);

impl Fields<'_> {
    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn duration(&mut self) -> Option<Duration> {
        self.number().filter(|micros| *micros <= MICROS_MAX).map(Duration::from_micros)
    }

    fn latency(&mut self) -> Option<Latency> {
        match self.0.next()? {
            "auto" => Some(Latency::Auto),
            micros => Some(Latency::Fixed(Duration::from_micros(micros.parse().ok().filter(|n| *n <= MICROS_MAX)?))),
        }
    }

    fn profile(&mut self) -> Option<Profile> {
        let name = self.0.next()?;
        [Profile::Live, Profile::Talk, Profile::Listen, Profile::Hifi]
            .into_iter()
            .find(|profile| profile.to_string() == name)
    }

    fn origin(&mut self) -> Option<Origin> {
        let letter_there = self.0.next()?;
        [Origin::First, Origin::Begin, Origin::Repair, Origin::Copy, Origin::Lost, Origin::OtherWay]
            .into_iter()
            .find(|origin| letter_there == letter(*origin).to_string())
    }

    fn format(&mut self) -> Option<Format> {
        let name = self.0.next()?;
        let codec = CODECS.into_iter().find(|codec| codec.to_string() == name)?;
        let format = Format { codec, rate: self.number()?, channels: self.number()? };
        format.is_supported().then_some(format)
    }
}

/// All that a stream may have.
const CODECS: [Codec; 10] = [
    Codec::Opus,
    Codec::Pcm(Encoding::U8),
    Codec::Pcm(Encoding::S16Le),
    Codec::Pcm(Encoding::S16Be),
    Codec::Pcm(Encoding::S24Le),
    Codec::Pcm(Encoding::S24Be),
    Codec::Pcm(Encoding::S32Le),
    Codec::Pcm(Encoding::S32Be),
    Codec::Pcm(Encoding::F32Le),
    Codec::Pcm(Encoding::F32Be),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let decisions = Decisions {
            delay: Duration::from_micros(21_437),
            target: Duration::from_millis(20),
            concealed: 480,
            events: 2,
            late: 1,
            moves: 3,
        };
        let (latency, profile) = (Latency::Fixed(Duration::from_millis(12)), Profile::Hifi);
        let mut records = vec![
            Record::Card { rate: 44_100, channels: 2 },
            Record::Asked { frames: 128 },
            Record::Start { stream: 7, format: Format::OPUS, latency: Latency::Auto, profile: Profile::Talk },
            Record::Unit { stream: 7, time: MediaTime(-240), frames: 240, bytes: 61, origin: Origin::Repair },
            Record::Played { stream: 7, decisions },
            Record::End { stream: 7 },
            Record::Missing { lines: 12 },
        ];
        let pcm =
            |codec| Record::Start { stream: 1, format: Format { codec, ..Format::l16(96_000, 1) }, latency, profile };
        records.extend(CODECS[1..].iter().map(|codec| pcm(*codec)));
        let lines = records.into_iter().enumerate();
        let written: Vec<Line> =
            lines.map(|(n, record)| Line { at: micros(n as u64 * 1_003).unwrap(), record }).collect();
        let mut text = format!("{HEADER}\n");
        written.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        let read = super::lines(text.as_bytes()).unwrap();
        assert!(read.eq(written));
    }

    #[test]
    fn what_can_not_be_is_passed_over() {
        for bad in
            ["", "a", "a 1", "a x 5", "a 1 -5", "a 1 70000", "c 1 5 2", "c 1 48000 0", "z 1", "u 1 1 0 240 70000 f"]
        {
            assert_eq!(Line::parse(bad), None, "{bad}");
        }
        assert!(super::lines(b"no trace\na 1 5\n").is_none());
        let cut = format!("{HEADER}\nnew 1 2\na 1 5\na 2 12");
        assert_eq!(super::lines(cut.as_bytes()).unwrap().count(), 1, "the last one was cut off");
    }
}
