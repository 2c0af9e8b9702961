//! How speech sounds behind a bad network: real processes over an impaired link, judged by PESQ and
//! ViSQOL.
//!
//! Without JACK, whose server overruns on a busy machine and then spoils the sound of everybody: the
//! bench itself is microphone and loudspeaker. It writes into the sender's standard input in real
//! time, reads the receiver's standard output, and knows when it did.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::jackd::RATE;
use crate::netns::Network;
use crate::os;
use crate::process::{Process, is_installed, pause};
use crate::report;
use crate::systems::Ours;
use crate::weather::Scenario;

/// What is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Over these links (needs root)
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',', default_value = "l0,l0b,l0c,l0d")]
    impair: Vec<Scenario>,
    /// These programs; all that are installed by default
    #[arg(long, value_name = "TALKER", value_delimiter = ',')]
    talkers: Vec<Talker>,
    /// Clips of 8 s, one after the other
    #[arg(long, value_name = "N", default_value_t = 8)]
    clips: usize,
    /// Another seed is another weather
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The reports' name
    #[arg(long, default_value = "quality")]
    name: String,
    #[command(flatten)]
    ours: Ours,
}

/// Who speaks and who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Talker {
    /// AudioStreamer, `--application voice`.
    Voice,
    /// The same, `--profile live`.
    VoiceLive,
    /// The same, `--profile listen`.
    VoiceListen,
    /// AudioStreamer as it comes: Opus for everything, 96 kb/s.
    Music,
    /// GStreamer, Opus with in-band FEC, as it comes: a jitter buffer of 200 ms.
    Gst,
    /// The same with a jitter buffer of 90 ms, and Opus tuned for voice.
    GstTuned,
}

/// The command.
pub fn run(options: &Options, results: &Path) -> Result<()> {
    let python = python(results)?;
    let dir = tempfile::tempdir()?;
    let speech_file = dir.path().join("speech.wav");
    let clips = options.clips.to_string();
    let what = python.run("speech.py", &[speech_file.display().to_string(), clips])?;
    let speech = samples(&fs::read(&speech_file)?[WAV_HEADER..]);
    println!("{} clips of {}\n\n{}", options.clips, what.trim(), Row::HEADING);
    let mut rows = Vec::new();
    for &link in &options.impair {
        for &talker in options.talkers() {
            pause(Duration::ZERO)?; // ends here when the user has interrupted
            match measure(talker, link, options, &speech, dir.path(), &python) {
                Ok(row) => {
                    println!("{}", row.line());
                    rows.push(row);
                }
                Err(error) => eprintln!("{} on {link:?}: {error:#}", talker.name()),
            }
        }
    }
    let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
    let conditions = report::machine();
    let text = format!(
        "# {}\n\n{} clips of {}. {conditions}\n\n{}\n{lines}",
        options.name,
        options.clips,
        what.trim(),
        Row::HEADING
    );
    fs::create_dir_all(results)?;
    Ok(fs::write(results.join(format!("{}.md", options.name)), text)?)
}

impl Options {
    fn talkers(&self) -> &[Talker] {
        let all: &[Talker] = match is_installed("gst-launch-1.0") {
            true => {
                &[Talker::Voice, Talker::VoiceLive, Talker::VoiceListen, Talker::Music, Talker::Gst, Talker::GstTuned]
            }
            false => &[Talker::Voice, Talker::VoiceLive, Talker::VoiceListen, Talker::Music],
        };
        if self.talkers.is_empty() { all } else { &self.talkers }
    }
}

impl Talker {
    fn name(self) -> &'static str {
        match self {
            Self::Voice => "ours, voice",
            Self::VoiceLive => "ours, voice, live",
            Self::VoiceListen => "ours, voice, listen",
            Self::Music => "ours, defaults, Opus",
            Self::Gst => "GStreamer, FEC",
            Self::GstTuned => "GStreamer, FEC, 90 ms",
        }
    }

    /// The name, and what was said to our programs besides.
    fn label(self, ours: &Ours) -> String {
        match self {
            Self::Gst | Self::GstTuned => self.name().into(),
            _ => format!("{} {} {}", self.name(), ours.client_args, ours.server_args).trim().into(),
        }
    }

    /// Both command lines. They read and write 16-bit samples, one channel.
    fn commands(self, receiver: IpAddr, ours: &Ours) -> [String; 2] {
        let Ours { binary, client_args, server_args } = ours;
        let (application, profile) = match self {
            Self::Voice => ("--application voice", ""),
            Self::VoiceLive => ("--application voice", "--profile live"),
            Self::VoiceListen => ("--application voice", "--profile listen"),
            Self::Music => ("", ""),
            Self::Gst => return gst_commands(receiver, "", ""),
            Self::GstTuned => return gst_commands(receiver, "audio-type=voice bitrate=64000", "latency=90"),
        };
        [
            format!(
                "{binary} client {receiver}:{PORT} --protocol udp --codec opus {application} \
                 --input - --input-format s16le,{RATE},1 {client_args}"
            ),
            format!(
                "{binary} server --listen {receiver}:{PORT} --protocol udp --open {profile} \
                 --output - --output-format raw:s16le,{RATE},1 {server_args}"
            ),
        ]
    }
}

fn gst_commands(receiver: IpAddr, encoder: &str, jitter: &str) -> [String; 2] {
    let raw = format!("audio/x-raw,format=S16LE,rate={RATE},channels=1,layout=interleaved");
    let caps = "application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,payload=96";
    [
        format!(
            "gst-launch-1.0 -q fdsrc fd=0 blocksize=960 do-timestamp=true ! rawaudioparse use-sink-caps=false \
             format=pcm pcm-format=s16le sample-rate={RATE} num-channels=1 ! audioconvert ! opusenc \
             inband-fec=true packet-loss-percentage=20 {encoder} ! rtpopuspay ! udpsink host={receiver} port={PORT} sync=false"
        ),
        format!(
            "gst-launch-1.0 -q udpsrc port={PORT} caps={caps} ! rtpjitterbuffer do-lost=true {jitter} ! rtpopusdepay ! \
             opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample ! {raw} ! audiorate ! fdsink fd=1 sync=true"
        ),
    ]
}

/// One program on one link.
fn measure(
    talker: Talker,
    link: Scenario,
    options: &Options,
    speech: &[i16],
    dir: &Path,
    python: &Python,
) -> Result<Row> {
    let network = Network::impaired(link, options.seed)?;
    let commands = talker.commands(network.receiver_address(), &options.ours);
    let [send, listen] = commands.map(|line| line.split_whitespace().map(String::from).collect::<Vec<_>>());
    let (heard_in, heard_out) = std::io::pipe()?;
    let (mouth_in, mouth_out) = std::io::pipe()?;
    let state = |side: &str| vec![("XDG_STATE_HOME".to_string(), dir.join(side).display().to_string())];
    let start = Instant::now();
    // Before anything is written: what waits in a pipe would be heard late.
    let ear = thread::spawn(move || listen_to(heard_in, start));
    let mut receiver = Process::start_between(
        "receiver",
        &network.on_receiver(listen),
        &state("receiver"),
        dir,
        Stdio::null(),
        Some(heard_out.into()),
    )?;
    pause(LISTENING)?;
    let mut sender =
        Process::start_between("sender", &network.on_sender(send), &state("sender"), dir, mouth_in.into(), None)?;
    pause(LISTENING)?;
    let (spoken, begins) = (speech.to_vec(), Instant::now());
    let lead = LEAD + ((begins - start).as_secs_f64() * f64::from(RATE)) as usize;
    let mouth = thread::spawn(move || speak(mouth_out, &spoken, begins));
    pause(Duration::from_secs_f64(LEAD as f64 / f64::from(RATE)))?;
    let (before, begun) = (network.wire_bytes(&sender), Instant::now());
    pause(Duration::from_secs_f64(speech.len() as f64 / f64::from(RATE)))?;
    let wire_kbps = (network.wire_bytes(&sender) - before) as f64 * 8e-3 / begun.elapsed().as_secs_f64();
    receiver.check_alive()?;
    sender.check_alive()?;
    let _ = mouth.join();
    drop((sender, receiver));
    let heard = ear.join().ok().context("the ear has failed")?;
    let heard_file = dir.join("heard.wav");
    fs::write(&heard_file, wav(&heard))?;
    let files = [dir.join("speech.wav"), heard_file].map(|path| path.display().to_string());
    let scored = python.run("score.py", &[files[0].clone(), files[1].clone(), lead.to_string()])?;
    let clips: Vec<Clip> = scored.lines().filter_map(Clip::parse).collect();
    ensure!(clips.len() == options.clips, "{} clips were scored", clips.len());
    Ok(Row { talker: talker.label(&options.ours), link, clips, wire_kbps, lost_percent: network.lost_percent() })
}

/// Writes silence, the speech and silence in real time: each block when its last sample has been said.
fn speak(mut mouth: PipeWriter, speech: &[i16], start: Instant) {
    os::raise_thread(PRIORITY);
    let (lead, tail) = (vec![0; LEAD], vec![0; RATE as usize]);
    let all: Vec<i16> = lead.iter().chain(speech).chain(&tail).copied().collect();
    for (n, block) in all.chunks(BLOCK).enumerate() {
        let said = Duration::from_secs_f64(((n + 1) * BLOCK) as f64 / f64::from(RATE));
        thread::sleep((start + said).saturating_duration_since(Instant::now()));
        let bytes: Vec<u8> = block.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        if mouth.write_all(&bytes).is_err() {
            return; // the sender has ended, which is told elsewhere
        }
    }
}

/// Reads until the receiver ends. What comes is continuous; when it came says where it begins: no
/// sample can come before its time, so the one that came least late tells.
fn listen_to(mut ear: PipeReader, start: Instant) -> Vec<i16> {
    os::raise_thread(PRIORITY);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
    let mut first = f64::MAX;
    while let Ok(count) = ear.read(&mut buffer)
        && count > 0
    {
        first = first.min(start.elapsed().as_secs_f64() - bytes.len() as f64 / 2.0 / f64::from(RATE));
        bytes.extend(&buffer[..count]);
    }
    let before = if bytes.is_empty() { 0 } else { (first.max(0.0) * f64::from(RATE)) as usize };
    let mut heard = vec![0; before];
    heard.extend(samples(&bytes));
    heard
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 2;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut file = b"RIFF".to_vec();
    file.extend(words(&[bytes + 36]));
    file.extend(b"WAVEfmt ");
    file.extend(words(&[16, 1 << 16 | 1, RATE, RATE * 2, 16 << 16 | 2]));
    file.extend(b"data");
    file.extend(words(&[bytes]));
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// What `score.py` says of one clip.
struct Clip {
    /// `None` where the speech was not found.
    delay_ms: Option<f64>,
    pesq: f64,
    visqol_speech: f64,
    visqol_audio: f64,
    estoi: f64,
}

impl Clip {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let delay_ms = words.next()?.parse().ok().map(|seconds: f64| seconds * 1000.0);
        let mut next = || words.next()?.parse().ok();
        let (pesq, visqol_speech, visqol_audio, estoi) = (next()?, next()?, next()?, next()?);
        Some(Self { delay_ms, pesq, visqol_speech, visqol_audio, estoi })
    }
}

/// One line of the table.
struct Row {
    talker: String,
    link: Scenario,
    clips: Vec<Clip>,
    wire_kbps: f64,
    lost_percent: f64,
}

impl Row {
    const HEADING: &str = "| who | link | lost % | mouth to ear ms, median | most | PESQ-WB, mean | of each clip | \
        ViSQOL speech | audio | ESTOI | wire kb/s |\n| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |";

    fn line(&self) -> String {
        let mean = |of: fn(&Clip) -> f64| self.clips.iter().map(of).sum::<f64>() / self.clips.len() as f64;
        let mut delays: Vec<f64> = self.clips.iter().filter_map(|clip| clip.delay_ms).collect();
        delays.sort_by(f64::total_cmp);
        let ms = |delay: Option<&f64>| delay.map_or("-".into(), |ms| format!("{ms:.0}"));
        let each: Vec<String> = self.clips.iter().map(|clip| format!("{:.2}", clip.pesq)).collect();
        format!(
            "| {} | {:?} | {:.1} | {} | {} | {:.2} | {} | {:.2} | {:.2} | {:.3} | {:.0} |",
            self.talker,
            self.link,
            self.lost_percent,
            ms(delays.get(delays.len() / 2)),
            ms(delays.last()),
            mean(|clip| clip.pesq),
            each.join(" "),
            mean(|clip| clip.visqol_speech),
            mean(|clip| clip.visqol_audio),
            mean(|clip| clip.estoi),
            self.wire_kbps
        )
    }
}

/// A Python of our own, with what the scores need.
struct Python {
    program: PathBuf,
}

/// Makes it where it is missing, beside the results; that takes a C compiler and a minute.
fn python(results: &Path) -> Result<Python> {
    let home = results.join("python");
    let program = home.join("bin/python");
    let (ready, requirements) = (home.join("ready"), scripts().join("requirements.txt"));
    let required = fs::read(&requirements)?;
    if fs::read(&ready).ok() != Some(required.clone()) {
        let home = home.display().to_string();
        crate::process::run(&["python3", "-m", "venv", &home]).context("python3 with venv is needed")?;
        let requirements = requirements.display().to_string();
        let pip = ["-m", "pip", "install", "--quiet", "--requirement", &requirements];
        crate::process::run(&[&[program.to_str().unwrap_or_default()], &pip[..]].concat())?;
        fs::write(&ready, required)?;
    }
    Ok(Python { program })
}

impl Python {
    /// What a script of ours says.
    fn run(&self, script: &str, arguments: &[String]) -> Result<String> {
        let mut command = std::process::Command::new(&self.program);
        let output = command.arg(scripts().join(script)).args(arguments).output()?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("quality")
}

const PORT: u16 = 5004;
/// No peer says when it listens; all of them do by then.
const LISTENING: Duration = Duration::from_millis(1000);
/// Silence before the speech, in which everybody starts and finds out about the link: 5 s.
const LEAD: usize = 5 * RATE as usize;
/// The microphone's period: 2.5 ms.
const BLOCK: usize = RATE as usize / 400;
/// As a sound card's.
const PRIORITY: i32 = 70;
/// That of `speech.py`.
const WAV_HEADER: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_that_was_not_found_is_scored_all_the_same() {
        let clip = Clip::parse("0.1115 4.31 4.5 4.61 0.97").unwrap();
        assert_eq!((clip.delay_ms, clip.pesq), (Some(111.5), 4.31));
        assert_eq!(Clip::parse("- 1 1 1 0").unwrap().delay_ms, None);
        assert!(Clip::parse("Traceback").is_none());
    }

    #[test]
    fn the_file_is_as_long_as_it_says() {
        let file = wav(&[1, -2, 3]);
        assert_eq!(file.len(), WAV_HEADER + 6);
        assert_eq!(samples(&file[WAV_HEADER..]), [1, -2, 3]);
    }
}
