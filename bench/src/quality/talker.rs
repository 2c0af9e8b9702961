//! Who speaks and who listens, and by which command lines.

use std::net::IpAddr;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::jackd::RATE;
use crate::process::is_installed;
use crate::systems::{Ours, System};

/// Who speaks and who listens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Talker {
    /// Programs that read and write samples.
    Pipes(Piped),
    /// Those that know sound cards, as they come.
    Jack(System),
}

/// Who reads and writes samples.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Piped {
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

impl ValueEnum for Talker {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Pipes(piped) => piped.to_possible_value(),
            Self::Jack(system) => system.to_possible_value(),
        }
    }
}

impl Talker {
    pub fn name(self) -> String {
        match self {
            Self::Pipes(piped) => piped.name().into(),
            Self::Jack(system) => format!("{}, JACK", system.name()),
        }
    }

    /// The name, and what was said to our programs besides.
    pub fn label(self, ours: &Ours) -> String {
        match self {
            Self::Pipes(Piped::Gst | Piped::GstTuned) => self.name(),
            Self::Jack(system) if system != System::OursVoice => self.name(),
            _ => format!("{} {} {}", self.name(), ours.client_args, ours.server_args).trim().into(),
        }
    }

    pub fn is_on_cards(self) -> bool {
        matches!(self, Self::Jack(_))
    }

    /// The program that is missing, if any.
    pub fn missing_program(self, ours: &Ours) -> Option<String> {
        let program = match self {
            Self::Jack(system) => return system.missing_program(ours),
            Self::Pipes(Piped::Gst | Piped::GstTuned) => "gst-launch-1.0",
            Self::Pipes(_) => &ours.binary,
        };
        (!is_installed(program)).then(|| program.into())
    }
}

impl Piped {
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

    /// Both command lines. They read and write 16-bit samples, one channel.
    pub fn commands(self, receiver: IpAddr, ours: &Ours) -> [String; 2] {
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

const PORT: u16 = 5004;
const ALL: [Talker; 11] = [
    Talker::Pipes(Piped::Voice),
    Talker::Pipes(Piped::VoiceLive),
    Talker::Pipes(Piped::VoiceListen),
    Talker::Pipes(Piped::Music),
    Talker::Pipes(Piped::Gst),
    Talker::Pipes(Piped::GstTuned),
    Talker::Jack(System::OursVoice),
    Talker::Jack(System::Zita),
    Talker::Jack(System::Jacktrip),
    Talker::Jack(System::JacktripAuto),
    Talker::Jack(System::Trx),
];
