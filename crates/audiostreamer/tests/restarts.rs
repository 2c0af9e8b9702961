//! A sound server that dies, or a card that is unplugged, and comes back under both programs: what was
//! played before goes on.
//!
//! One server plays a long noise on the sound server; a second client captures that again and sends
//! it to a second server, which records without any sound card. So the recording is one unbroken
//! line of time on which each outage can be read, to the sample.

mod harness;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use harness::audio::Audio;
use harness::jack::{self, Jack};
use harness::loop_card::{self, LoopCard};
use harness::program::{Ended, Program, installed, ours};
use harness::pulse::{self, Pulse};
use harness::resume::Recorded;
use harness::server::Input;
use harness::signal::{self, Random};
use harness::{port, server, wait};
use tempfile::TempDir;

const RATE: u32 = 48_000;

/// Sound is back within so long of the sound server's return ...
const BACK: f64 = 1.0;
/// ... and meanwhile nobody uses more of a core than that.
const IDLE_PERCENT: f64 = 5.0;

/// How much the delay of the whole chain may differ after a restart: the cards' periods fall
/// differently, and the playouts have been filled anew.
const SAME_DELAY: f64 = 0.15;

#[test]
fn pulseaudio_may_be_restarted_under_both_programs() {
    if installed(&pulse::PROGRAMS) {
        restart(Sound::pulse(), &OUTAGES_OF_A_TEST).assert_sound_returns();
    }
}

#[test]
fn jack_may_be_restarted_under_both_programs() {
    if installed(&jack::PROGRAMS) {
        restart(Sound::jack(), &OUTAGES_OF_A_TEST).assert_sound_returns();
    }
}

#[test]
fn an_alsa_card_may_be_unplugged_under_both_programs() {
    if installed(&loop_card::PROGRAMS) {
        restart(Sound::alsa(), &OUTAGES_OF_A_TEST).assert_sound_returns();
    }
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn twenty_restarts_of_pulseaudio() {
    restart(Sound::pulse(), &twenty_outages()).assert_sound_returns_soon();
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn twenty_restarts_of_jack() {
    restart(Sound::jack(), &twenty_outages()).assert_sound_returns_soon();
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn an_alsa_card_that_is_unplugged_twenty_times() {
    restart(Sound::alsa(), &twenty_outages()).assert_sound_returns_soon();
}

/// How long the sound server, or the card, is away.
const OUTAGES_OF_A_TEST: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(1500)];

/// From a moment to longer than any pause between two attempts.
fn twenty_outages() -> Vec<Duration> {
    let mut random = Random::new(150);
    (0..20).map(|_| Duration::from_secs_f64(random.between(0.1, 6.0))).collect()
}

/// A sound server or a card, and what both programs call what they use of it.
enum Sound {
    Pulse(Pulse),
    Jack(Jack),
    Alsa(LoopCard),
}

impl Sound {
    fn pulse() -> Self {
        Sound::Pulse(Pulse::start(&["room"]))
    }

    fn jack() -> Self {
        Sound::Jack(Jack::start_usual())
    }

    fn alsa() -> Self {
        Sound::Alsa(LoopCard::plugged())
    }

    fn output(&self) -> &'static str {
        match self {
            Sound::Pulse(_) => "pulse:room",
            Sound::Jack(_) => "jack:",
            Sound::Alsa(_) => loop_card::NAME,
        }
    }

    fn input(&self) -> &'static str {
        match self {
            Sound::Pulse(_) => "pulse:room.monitor",
            Sound::Jack(_) => "jack:audiostreamer-server",
            Sound::Alsa(_) => loop_card::NAME,
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Sound::Pulse(pulse) => pulse.environment(),
            Sound::Jack(jack) => jack.environment(),
            Sound::Alsa(card) => card.environment(),
        }
    }

    fn crash(&mut self) {
        match self {
            Sound::Pulse(pulse) => pulse.crash(),
            Sound::Jack(jack) => jack.crash(),
            Sound::Alsa(card) => card.unplug(),
        }
    }

    /// Returns when it answers.
    fn revive(&mut self) {
        match self {
            Sound::Pulse(pulse) => pulse.revive(),
            Sound::Jack(jack) => jack.revive(),
            Sound::Alsa(card) => card.plug(),
        }
    }
}

/// What one outage was like, of a sound server or a card; times in seconds.
#[derive(Debug)]
struct Outage {
    away: f64,
    /// From the sound server's return to the first sound; `None` where none came.
    until_sound: Option<f64>,
    /// The delay of the whole chain afterwards against the one at first.
    delay_change: f64,
    /// The most that one of the programs used of a core while it was away, in percent.
    cpu_percent: f64,
}

struct Outages {
    all: Vec<Outage>,
    /// The noise was not played or not recorded at its pace, as the machine stood still: then the
    /// delay says nothing.
    machine_stood_still: bool,
}

impl Outages {
    #[track_caller]
    fn assert_sound_returns(&self) {
        for outage in &self.all {
            assert!(outage.until_sound.is_some(), "no sound has come back: {:#?}", self.all);
            let is_delayed = outage.delay_change.abs() > SAME_DELAY;
            assert!(!is_delayed || self.machine_stood_still, "it is heard later than before: {:#?}", self.all);
        }
    }

    #[track_caller]
    fn assert_sound_returns_soon(&self) {
        let mut times: Vec<f64> = self.all.iter().map(|outage| outage.until_sound.unwrap_or(f64::INFINITY)).collect();
        times.sort_by(f64::total_cmp);
        let soon = times.iter().filter(|&&time| time <= BACK).count();
        // Of short ones the beginning is most: all that it takes to notice and to tidy up.
        let long = self.all.iter().filter(|outage| outage.away > 1.0);
        let cpu = long.map(|outage| outage.cpu_percent).fold(0.0, f64::max);
        println!("{soon} of {} within {BACK} s; median {:.3} s", times.len(), times[times.len() / 2]);
        println!("longest {:.3} s; most CPU in outages of more than a second {cpu:.1} %", times[times.len() - 1]);
        self.assert_sound_returns();
        assert_eq!(soon, times.len(), "{times:?}");
        assert!(cpu <= IDLE_PERCENT, "{cpu} %");
    }
}

/// The sound while all is well, before and between outages.
const SOUND_BETWEEN: f64 = 2.0;

fn restart(mut sound: Sound, outages: &[Duration]) -> Outages {
    let seconds = outages.iter().map(|away| away.as_secs_f64() + SOUND_BETWEEN + 2.0 * BACK).sum::<f64>() + 20.0;
    let noise = signal::noise(151, seconds, RATE, 1, 16);
    let chain = Chain::start(&sound, &Input::wav(&noise, 16));
    chain.recorder.play_on(SOUND_BETWEEN);
    let mut marks = Vec::new();
    for &away in outages {
        let cpu = chain.cpu_times();
        let crashed = chain.recorder.seconds();
        sound.crash();
        thread::sleep(away); // nothing happens that could be waited for
        let used = chain.cpu_times();
        let before_return = chain.recorder.seconds();
        sound.revive();
        let returned = chain.recorder.seconds();
        let cpu = cpu.iter().zip(used).map(|(before, after)| after - before).fold(0.0, f64::max);
        marks.push((crashed, returned, 100.0 * cpu / (before_return - crashed)));
        chain.recorder.play_on(BACK + SOUND_BETWEEN);
    }
    let ends = [&chain.player, &chain.recorder.program];
    let machine_stood_still = ends.iter().any(|end| !end.lines_with("this machine was busy").is_empty());
    let recording = chain.stop();
    drop(sound);
    Outages { all: read_off(&noise, &recording, &marks), machine_stood_still }
}

/// Finds the sound again after each mark: when the sound server had gone and come back, and the CPU
/// that was used.
fn read_off(noise: &Audio, recording: &Audio, marks: &[(f64, f64, f64)]) -> Vec<Outage> {
    let recorded = Recorded::new(noise, recording);
    let at_first = recorded.delay_at(marks[0].0 - 0.6, 1.0);
    let outages = marks.iter().map(|&(crashed, returned, cpu_percent)| {
        let until_sound = recorded.until_sound(returned).filter(|&time| time < BACK + SOUND_BETWEEN);
        let after = recorded.delay_at(returned + BACK + SOUND_BETWEEN - 0.6, at_first);
        let outage = Outage { away: returned - crashed, until_sound, delay_change: after - at_first, cpu_percent };
        println!(
            "away {:.2} s: sound {:.3} s after the return, delay {:+.1} ms, CPU at most {:.1} %",
            outage.away,
            outage.until_sound.unwrap_or(f64::NAN),
            outage.delay_change * 1e3,
            outage.cpu_percent
        );
        outage
    });
    outages.collect()
}

/// Noise, client, server, sound server, client, server, recording.
struct Chain {
    player: Program,
    speaker: Program,
    microphone: Program,
    recorder: Recorder,
}

impl Chain {
    fn start(sound: &Sound, noise: &Input) -> Self {
        let environment = sound.environment();
        let recorder = Recorder::start();
        let listen = format!("127.0.0.1:{}", port::free());
        let launch = ours(["server", "--listen", &listen, "--output", sound.output()]).environment(&environment);
        let speaker = launch.start();
        speaker.wait_for_line("playing on");
        let player = noise.stream_to(&listen, &["--codec=l16", "--protocol=udp"]);
        speaker.wait_for_line(": l16,");
        let launch =
            ours(["client", &recorder.address, "--input", sound.input(), "--codec=l16"]).environment(&environment);
        let microphone = launch.start();
        recorder.program.wait_for_line(": l16,");
        Self { player, speaker, microphone, recorder }
    }

    /// What each of the programs at the sound server has used so far, in seconds.
    fn cpu_times(&self) -> [f64; 2] {
        [&self.speaker, &self.microphone].map(Program::cpu_seconds)
    }

    fn stop(self) -> Audio {
        let [_, sent, _] = [self.player, self.microphone, self.speaker].map(|program| {
            let ended = program.interrupt();
            ended.assert_no_panic();
            ended.assert_code(0);
            packets(&ended)
        });
        let (recording, received) = self.recorder.stop();
        assert!(sent >= received, "{received} packets have come, and {sent} were sent");
        recording
    }
}

/// Of how many packets its last words speak.
fn packets(ended: &Ended) -> u64 {
    let (before, _) = ended.log.last().and_then(|line| line.split_once(" packets")).expect("a summary");
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// A server that records at its own pace whatever comes, or silence.
struct Recorder {
    program: Program,
    address: String,
    path: PathBuf,
    _folder: TempDir,
}

impl Recorder {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("out.wav");
        let address = format!("127.0.0.1:{}", port::free());
        let output = format!("--output={}", path.display());
        let program = ours(["server", "--listen", &address, &output]).start();
        program.wait_for_line("listening on");
        Self { program, address, path, _folder: folder }
    }

    fn play_on(&self, seconds: f64) {
        server::wait_for_growth(&self.path, seconds);
    }

    /// How long it is.
    fn seconds(&self) -> f64 {
        wait::until("a recording", || server::recorded_seconds(&self.path))
    }

    /// What was recorded, and how many packets had come.
    fn stop(self) -> (Audio, u64) {
        let ended = self.program.interrupt();
        ended.assert_no_panic();
        (Audio::read_wav(&self.path), packets(&ended))
    }
}
