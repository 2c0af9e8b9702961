//! The sound devices: opened, played on and recorded from at the same time, as a link does.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::Config;
use super::beat::{Beat, Regularity};
use super::finding::{Finding, Verdict};
use super::machine::millis;
use crate::clock;
use crate::device::{self, Notice, Shape, SinkSpec, SourceSpec, Wanted, Xruns};

/// What was measured of the cards.
#[derive(Clone, Debug, Default)]
pub struct Cards {
    /// Of the one that captures.
    pub input: Option<Regularity>,
    /// Of the one that plays.
    pub output: Option<Regularity>,
}

/// How long both run.
const RUN: Duration = Duration::from_millis(2500);

/// The tone begins so long after its card, and lasts so long.
const TONE: (f64, f64) = (1.0, 1.0);

/// Quiet enough for a room at night.
const AMPLITUDE: f64 = 0.03;
const HZ: f64 = 440.0;

/// At the end and the start of it nothing clicks.
const FADE: f64 = 0.05;

/// The beginning says nothing of how a card runs.
const SETTLED: Duration = Duration::from_millis(500);

/// Calls that can be kept: 4 s in blocks of 16 frames at 96 kHz.
const BEATS_MAX: usize = 24_000;

/// Opens what are sound cards of input and output, and listens.
pub async fn check(config: &Config) -> (Vec<Finding>, Cards) {
    let (output, input, wanted) = (config.output.clone(), config.input.clone(), config.wanted);
    let tone = config.tone;
    let sink = matches!(output, SinkSpec::Device(_)).then_some(output);
    let source = matches!(input, SourceSpec::Device(_)).then_some(input);
    if sink.is_none() && source.is_none() {
        return (Vec::new(), Cards::default());
    }
    // Opening a card may take seconds, and the runtime has nothing else to do.
    let source = source.map(|source| Listening::start(&source, wanted));
    let sink = sink.map(|sink| Playing::start(&sink, wanted, tone));
    tokio::time::sleep(RUN).await;
    let (mut findings, mut cards) = (Vec::new(), Cards::default());
    if let Some(sink) = sink {
        let (mut finding, regularity) =
            sink.map_or_else(|why| (no_device("output", why), None), |sink| sink.finish(tone));
        // A client plays nothing, unless it is to hear the server.
        let only_sends = config.client.as_ref().is_some_and(|client| client.duplex.is_none());
        if finding.verdict == Verdict::NoDevice && only_sends {
            finding.verdict = Verdict::Limits;
        }
        findings.push(finding);
        cards.output = regularity;
    }
    if let Some(source) = source {
        let (finding, regularity) = source.map_or_else(|why| (no_device("input", why), None), Listening::finish);
        findings.push(finding);
        cards.input = regularity;
    }
    (findings, cards)
}

fn no_device(check: &'static str, why: device::Error) -> Finding {
    let finding = Finding::new(check, Verdict::NoDevice, why.to_string());
    match why.leaves_a_choice() {
        true => {
            finding.advise(format!("`audiostreamer devices` lists what there is; --{check} NAME takes another one"))
        }
        false => finding, // the reason says what works without any
    }
}

/// What an open card leaves behind.
struct Opened {
    name: String,
    shape: Shape,
    xruns: u64,
    beats: Vec<Beat>,
}

/// A card at work, and what its callback has written down.
struct Session<T> {
    running: device::Running,
    xruns: Xruns,
    name: Arc<Mutex<String>>,
    /// The last that was opened: its shape and what it has left.
    trail: Arc<Mutex<Option<(Shape, T)>>>,
}

impl<T> Session<T> {
    fn end(self) -> Option<(String, Shape, u64, T)> {
        drop(self.running);
        let (shape, trail) = self.trail.lock().ok()?.take()?;
        let name = self.name.lock().ok()?.clone();
        Some((name, shape, self.xruns.count(), trail))
    }
}

struct Playing(Session<Consumer<Beat>>);

impl Playing {
    fn start(spec: &SinkSpec, wanted: Wanted, tone: bool) -> Result<Self, device::Error> {
        let (trail, name, xruns) = (Arc::new(Mutex::new(None)), Arc::default(), Xruns::default());
        let kept = trail.clone();
        let make = move |shape: &Shape| -> device::Render {
            let (mut beats, written) = RingBuffer::new(BEATS_MAX);
            keep(&kept, *shape, written);
            let shape = *shape;
            let mut position = 0;
            Box::new(move |out, delay| {
                let frames = out.len() / usize::from(shape.channels);
                let _ = beats.push(Beat { at: clock::now(), frames, delay });
                for frame in out.chunks_exact_mut(shape.channels.into()) {
                    frame.fill(if tone { sample(position, shape.rate) } else { 0.0 });
                    position += 1;
                }
            })
        };
        let running = device::start_sink(spec, wanted, xruns.clone(), make, remember(&name))?;
        Ok(Self(Session { running, xruns, name, trail }))
    }

    fn finish(self, tone: bool) -> (Finding, Option<Regularity>) {
        let ended = self.0.end();
        let opened = ended.map(|(name, shape, xruns, beats)| Opened { name, shape, xruns, beats: drain(beats) });
        let what = if tone { "a soft tone was played" } else { "silence was played" };
        judge("output", opened, what, None)
    }
}

/// A soft tone in the middle.
fn sample(position: u64, rate: u32) -> f32 {
    let time = position as f64 / f64::from(rate) - TONE.0;
    let edge = time.min(TONE.1 - time);
    match edge > 0.0 {
        true => (AMPLITUDE * (edge / FADE).min(1.0) * (TAU * HZ * time).sin()) as f32,
        false => 0.0,
    }
}

struct Listening(Session<(Consumer<Beat>, Consumer<f32>)>);

impl Listening {
    fn start(spec: &SourceSpec, wanted: Wanted) -> Result<Self, device::Error> {
        let (trail, name, xruns) = (Arc::new(Mutex::new(None)), Arc::default(), Xruns::default());
        let kept = trail.clone();
        let make = move |shape: &Shape| -> device::Capture {
            let (mut beats, written) = RingBuffer::new(BEATS_MAX);
            let (mut sound, heard) = RingBuffer::new(4 * shape.rate as usize);
            keep(&kept, *shape, (written, heard));
            let channels = usize::from(shape.channels);
            Box::new(move |samples, age| {
                let _ = beats.push(Beat { at: clock::now(), frames: samples.len() / channels, delay: age });
                push_first_channel(&mut sound, samples, channels);
            })
        };
        let running = device::start_source(spec, wanted, xruns.clone(), make, remember(&name))?;
        Ok(Self(Session { running, xruns, name, trail }))
    }

    fn finish(self) -> (Finding, Option<Regularity>) {
        let mut peak = 0.0;
        let mut hears_tone = false;
        let opened = self.0.end().map(|(name, shape, xruns, (beats, sound))| {
            let sound = drain(sound);
            peak = sound.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
            hears_tone = has_tone(&sound, shape.rate);
            Opened { name, shape, xruns, beats: drain(beats) }
        });
        let decibels = 20.0 * peak.max(1e-9).log10();
        let what = match (peak > 0.0, hears_tone) {
            (true, true) => format!("the loudest was {decibels:.0} dBFS, and the tone from the output is heard in it"),
            (true, false) => format!("the loudest was {decibels:.0} dBFS"),
            (false, _) => "nothing but silence came from it".into(),
        };
        let trouble = match (peak > 0.0, hears_tone) {
            (false, _) => {
                Some("it is muted, turned down or not plugged in: see the mixer of your desktop or `alsamixer`")
            }
            (true, true) => Some("for a conversation use headphones: what is played here is also sent from here"),
            (true, false) => None,
        };
        let (finding, regularity) = judge("input", opened, &what, trouble);
        (finding.figure("peak", peak).figure("hearsOutput", hears_tone), regularity)
    }
}

fn push_first_channel(sound: &mut Producer<f32>, samples: &[f32], channels: usize) {
    for frame in samples.chunks_exact(channels) {
        let _ = sound.push(frame[0]); // what is more than the ring holds is not looked at
    }
}

/// Whether there is the tone, and more of it when it was played than in the beginning.
fn has_tone(sound: &[f32], rate: u32) -> bool {
    let window = rate as usize / 4;
    let strength: Vec<f64> = sound.chunks_exact(window.max(1)).map(|part| strength(part, rate)).collect();
    let Some(loudest) = strength.iter().copied().reduce(f64::max) else { return false };
    let quietest = strength.iter().copied().fold(f64::INFINITY, f64::min);
    loudest > 3e-4 && loudest > 4.0 * quietest
}

/// The amplitude of the tone in a part of the sound (Goertzel's filter).
fn strength(part: &[f32], rate: u32) -> f64 {
    let turn = 2.0 * (TAU * HZ / f64::from(rate)).cos();
    let (one, two) = part.iter().fold((0.0, 0.0), |(one, two), &sample| (f64::from(sample) + turn * one - two, one));
    2.0 * (one * one + two * two - turn * one * two).max(0.0).sqrt() / part.len() as f64
}

fn judge(
    check: &'static str,
    opened: Option<Opened>,
    what: &str,
    trouble: Option<&str>,
) -> (Finding, Option<Regularity>) {
    let Some(Opened { name, shape, xruns, beats }) = opened else {
        let says = "it was opened, and never asked for or brought sound";
        return (Finding::new(check, Verdict::NoDevice, says), None);
    };
    let start = beats.first().map(|beat| beat.at + SETTLED);
    let settled: Vec<Beat> = beats.into_iter().filter(|beat| start.is_some_and(|start| beat.at >= start)).collect();
    let Some(regularity) = Regularity::of(&settled, shape.rate) else {
        return (Finding::new(check, Verdict::NoDevice, format!("{name}: it does not move sound")), None);
    };
    let Regularity { frames, delay, latest, .. } = regularity;
    let period = audiostreamer_core::duration_of(frames as u64, shape.rate);
    let says = format!(
        "{name}: {shape}; {what}; blocks of {}, at worst {} late; its own delay is {}",
        millis(period),
        millis(latest),
        millis(delay)
    );
    let irregular = xruns > 0 || latest > period.max(Duration::from_millis(2));
    let advice = match (irregular, trouble) {
        (true, _) => Some(format!(
            "it is not served in time{}: give the sound real-time priority (see above), end what else runs, or ask for \
             longer blocks with --period",
            if xruns > 0 { format!(" (sound was lost {xruns} times in a moment)") } else { String::new() }
        )),
        (false, trouble) => trouble.map(str::to_owned),
    };
    let verdict = if advice.is_some() { Verdict::Limits } else { Verdict::Good };
    let mut finding = Finding::new(check, verdict, says)
        .figure("device", name)
        .figure("rate", shape.rate)
        .figure("channels", shape.channels)
        .figure("frames", frames)
        .figure("delay", delay.as_secs_f64())
        .figure("late", regularity.late.as_secs_f64())
        .figure("latest", latest.as_secs_f64())
        .figure("xruns", xruns);
    finding.advice = advice;
    (finding, Some(regularity))
}

fn keep<T>(trail: &Mutex<Option<(Shape, T)>>, shape: Shape, left: T) {
    if let Ok(mut trail) = trail.lock() {
        *trail = Some((shape, left));
    }
}

/// Keeps the name under which a device is open.
fn remember(name: &Arc<Mutex<String>>) -> impl Fn(Notice) + Send + 'static {
    let kept = name.clone();
    move |notice| {
        if let (Notice::Opened { name, .. }, Ok(mut kept)) = (notice, kept.lock()) {
            *kept = name;
        }
    }
}

fn drain<T>(mut ring: Consumer<T>) -> Vec<T> {
    std::iter::from_fn(|| ring.pop().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tone_is_told_from_noise_and_hum() {
        let rate = 48_000;
        let tone: Vec<f32> = (0..rate * 5 / 2).map(|n| sample(n.into(), rate) / 10.0).collect();
        assert!(has_tone(&tone, rate), "at a tenth of its level");
        let hum = |n: u32| (TAU * 50.0 * f64::from(n) / f64::from(rate)).sin() as f32 * 0.3;
        assert!(!has_tone(&(0..rate * 2).map(hum).collect::<Vec<_>>(), rate));
        let steady = |n: u32| (TAU * HZ * f64::from(n) / f64::from(rate)).sin() as f32 * 0.3;
        assert!(!has_tone(&(0..rate * 2).map(steady).collect::<Vec<_>>(), rate), "somebody else's, who never stops");
        assert!(!has_tone(&[], rate));
    }
}
