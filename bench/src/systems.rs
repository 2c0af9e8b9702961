//! The systems that are measured: how each is started, and what its settings mean.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;

use crate::process::is_installed;

/// What is measured. Opus is 96 kb/s everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum System {
    /// AudioStreamer, L16 over UDP.
    OursL16,
    /// AudioStreamer, Opus over UDP.
    OursOpus,
    /// AudioStreamer, Opus for speech over UDP, one channel.
    OursVoice,
    /// AudioStreamer, L16 over TCP.
    OursTcpL16,
    /// AudioStreamer, Opus over TCP.
    OursTcpOpus,
    /// zita-j2n and zita-n2j: 24-bit PCM, adaptive resampling.
    Zita,
    /// JackTrip with a fixed queue: 16-bit PCM, no drift correction.
    Jacktrip,
    /// JackTrip's regulator with its automatic buffer.
    JacktripAuto,
    /// GStreamer: Opus over RTP, rtpjitterbuffer.
    GstOpus,
    /// GStreamer: L16 over RTP, rtpjitterbuffer.
    GstL16,
    /// trx: Opus over RTP, through ALSA's JACK plugin.
    Trx,
}

/// How a system is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// As it comes.
    Default,
    /// This buffer, in the unit of the system's own option; the rest (frame length, device buffers,
    /// filters) for low delay.
    Tuned(f64),
    /// As it comes, but frames of 10 ms in Opus: for comparing the load.
    Opus10ms,
}

impl Setting {
    fn buffer(self) -> Option<f64> {
        if let Self::Tuned(buffer) = self { Some(buffer) } else { None }
    }
}

/// What the programs have to know about where they run.
pub struct Site {
    pub receiver: IpAddr,
    pub port: u16,
    /// For configuration files and logs.
    pub dir: PathBuf,
    pub ours: Ours,
}

/// How our own binary is called.
#[derive(Clone, Debug, clap::Args)]
pub struct Ours {
    /// Our binary
    #[arg(long, value_name = "PATH", default_value = "target/release/audiostreamer")]
    pub binary: String,
    /// More arguments for `audiostreamer client`, separated by blanks
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub client_args: String,
    /// More arguments for `audiostreamer server`, separated by blanks
    #[arg(long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub server_args: String,
}

/// The two programs of a system, ready to be started.
pub struct Pair {
    pub sender: Side,
    pub receiver: Side,
}

/// One program and the name of its JACK client.
pub struct Side {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub jack_client: String,
}

impl Side {
    fn new(jack_client: &str, line: &str) -> Self {
        Self { argv: words(line), env: Vec::new(), jack_client: jack_client.into() }
    }
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            Self::OursL16 => "ours, L16",
            Self::OursOpus => "ours, Opus",
            Self::OursVoice => "ours, voice",
            Self::OursTcpL16 => "ours, L16, TCP",
            Self::OursTcpOpus => "ours, Opus, TCP",
            Self::Zita => "zita-njbridge",
            Self::Jacktrip => "JackTrip",
            Self::JacktripAuto => "JackTrip auto",
            Self::GstOpus => "GStreamer, Opus",
            Self::GstL16 => "GStreamer, L16",
            Self::Trx => "trx",
        }
    }

    /// The settings to try for the lowest that holds, most generous first.
    pub fn ladder(self) -> Vec<Setting> {
        let buffers: &[f64] = match self {
            Self::OursL16 | Self::OursOpus | Self::OursVoice | Self::OursTcpL16 | Self::OursTcpOpus => {
                &[20., 10., 8., 6., 5., 4., 3., 2.]
            }
            Self::Zita => &[10., 5., 3., 2., 1., 0.],
            Self::Jacktrip => &[8., 4., 3., 2.],
            Self::JacktripAuto => &[],
            Self::GstOpus | Self::GstL16 => &[100., 50., 20., 10., 5., 3., 1.],
            Self::Trx => &[32., 16., 8., 4., 2.],
        };
        buffers.iter().map(|b| Setting::Tuned(*b)).collect()
    }

    /// The program that is missing, if any.
    pub fn missing_program(self, ours: &Ours) -> Option<String> {
        let programs: &[&str] = match self {
            Self::OursL16 | Self::OursOpus | Self::OursVoice | Self::OursTcpL16 | Self::OursTcpOpus => &[&ours.binary],
            Self::Zita => &["zita-j2n", "zita-n2j"],
            Self::Jacktrip | Self::JacktripAuto => &["jacktrip"],
            Self::GstOpus | Self::GstL16 => &["gst-launch-1.0"],
            Self::Trx => &["trx-tx", "trx-rx"],
        };
        programs.iter().find(|program| !is_installed(program)).map(|program| program.to_string())
    }

    /// How the setting is called in the system's own words.
    pub fn label(self, setting: Setting) -> String {
        let buffer = match setting {
            _ if self == Self::JacktripAuto => return "-q auto --bufstrategy 3 --udprt".into(),
            Setting::Default => return "defaults".into(),
            Setting::Opus10ms => return "10 ms frames".into(),
            Setting::Tuned(buffer) => buffer,
        };
        match self {
            Self::OursL16 | Self::OursOpus | Self::OursVoice | Self::OursTcpL16 | Self::OursTcpOpus => {
                format!("--latency {buffer}ms")
            }
            Self::Zita => format!("--buff {buffer} --filt 16"),
            Self::Jacktrip | Self::JacktripAuto => format!("-q {buffer} --udprt"),
            Self::GstOpus | Self::GstL16 => format!("latency={buffer}, buffer-time"),
            Self::Trx => format!("-j {buffer} -m {buffer} -f {TRX_TUNED_FRAME}"),
        }
    }

    /// The command lines.
    pub fn pair(self, setting: Setting, site: &Site) -> Result<Pair> {
        match self {
            Self::OursL16 => Ok(ours_pair("udp", "l16", setting, site)),
            Self::OursOpus => Ok(ours_pair("udp", "opus", setting, site)),
            Self::OursVoice => Ok(ours_pair("udp", "opus --application voice --map left", setting, site)),
            Self::OursTcpL16 => Ok(ours_pair("tcp", "l16", setting, site)),
            Self::OursTcpOpus => Ok(ours_pair("tcp", "opus", setting, site)),
            Self::Zita => Ok(zita_pair(setting, site)),
            Self::Jacktrip => {
                let options = setting.buffer().map(|n| format!("-q {n} --udprt")).unwrap_or_default();
                Ok(jacktrip_pair(&options, site))
            }
            Self::JacktripAuto => Ok(jacktrip_pair("-q auto --bufstrategy 3 --udprt", site)),
            Self::GstOpus => Ok(gst_opus_pair(setting, site)),
            Self::GstL16 => Ok(gst_l16_pair(setting, site)),
            Self::Trx => trx_pair(setting, site),
        }
    }
}

fn ours_pair(protocol: &str, codec: &str, setting: Setting, site: &Site) -> Pair {
    let Site { receiver, port, ours, .. } = site;
    let Ours { binary, client_args, server_args } = ours;
    let latency = setting.buffer().map(|ms| format!("--latency {ms}ms")).unwrap_or_default();
    let frame = if setting == Setting::Opus10ms { "--frame 10ms" } else { "" };
    let client = format!(
        "{binary} client {receiver}:{port} --protocol {protocol} --codec {codec} --input jack: {frame} {client_args}"
    );
    let server = format!(
        "{binary} server --listen {receiver}:{port} --protocol {protocol} --output jack: {latency} {server_args}"
    );
    Pair { sender: Side::new("audiostreamer-client", &client), receiver: Side::new("audiostreamer-server", &server) }
}

fn zita_pair(setting: Setting, site: &Site) -> Pair {
    let Site { receiver, port, .. } = site;
    let options = setting.buffer().map(|ms| format!("--buff {ms} --filt 16")).unwrap_or_default();
    Pair {
        sender: Side::new("zita-j2n", &format!("zita-j2n {receiver} {port}")),
        receiver: Side::new("zita-n2j", &format!("zita-n2j {options} {receiver} {port}")),
    }
}

/// Peer to peer: audio always flows both ways, so the wire carries twice what one way needs.
fn jacktrip_pair(options: &str, site: &Site) -> Pair {
    let Site { receiver, port, .. } = site;
    let back = port + 1;
    Pair {
        sender: Side::new(
            "jt-send",
            &format!("jacktrip -c {receiver} -B {back} -P {port} -n 2 -D -J jt-send {options}"),
        ),
        receiver: Side::new("jt-receive", &format!("jacktrip -s -B {port} -P {back} -n 2 -D -J jt-receive {options}")),
    }
}

fn gst_opus_pair(setting: Setting, site: &Site) -> Pair {
    let frame = match setting {
        Setting::Default => "",
        Setting::Tuned(_) => "frame-size=2.5 audio-type=restricted-lowdelay",
        Setting::Opus10ms => "frame-size=10",
    };
    let encode = format!("audio/x-raw,rate=48000,channels=2 ! opusenc bitrate=96000 {frame} ! rtpopuspay");
    let caps = "application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,payload=96";
    gst_pair(&encode, caps, "rtpopusdepay ! opusdec plc=true", setting, site)
}

fn gst_l16_pair(setting: Setting, site: &Site) -> Pair {
    let frame = if setting == Setting::Default { "" } else { "max-ptime=2666667" }; // 128 frames
    let encode = format!("audio/x-raw,rate=48000,channels=2,format=S16BE ! rtpL16pay {frame}");
    let caps = "application/x-rtp,media=audio,clock-rate=48000,encoding-name=L16,channels=2,payload=96";
    gst_pair(&encode, caps, "rtpL16depay", setting, site)
}

fn gst_pair(encode: &str, caps: &str, decode: &str, setting: Setting, site: &Site) -> Pair {
    let Site { receiver, port, .. } = site;
    let (jitter, playback, sync) = match setting {
        Setting::Tuned(ms) => (format!("latency={ms}"), format!("buffer-time={}", ms * 1000.0), "sync=false"),
        _ => (String::new(), String::new(), ""),
    };
    let source = "jackaudiosrc connect=none client-name=gst-send";
    let sink = format!("jackaudiosink connect=none client-name=gst-receive {playback}");
    let send = format!("{source} ! audioconvert ! {encode} ! udpsink host={receiver} port={port} {sync}");
    let receive = format!(
        "udpsrc port={port} caps={caps} ! rtpjitterbuffer {jitter} ! {decode} ! audioconvert ! audioresample ! {sink}"
    );
    Pair {
        sender: Side::new("gst-send", &format!("gst-launch-1.0 -q {send}")),
        receiver: Side::new("gst-receive", &format!("gst-launch-1.0 -q {receive}")),
    }
}

/// trx knows only ALSA, which has a JACK plugin.
fn trx_pair(setting: Setting, site: &Site) -> Result<Pair> {
    let Site { receiver, port, dir, .. } = site;
    let config = dir.join("trx.asoundrc");
    fs::write(&config, alsa_config())?;
    let buffer = option("-m", setting.buffer());
    let jitter = option("-j", setting.buffer());
    let frame = match setting {
        Setting::Default => String::new(),
        Setting::Tuned(_) => format!("-f {TRX_TUNED_FRAME}"),
        Setting::Opus10ms => "-f 480".into(),
    };
    let mut pair = Pair {
        sender: Side::new("trx-send", &format!("trx-tx -d send -b 96 {buffer} {frame} -h {receiver} -p {port}")),
        receiver: Side::new("trx-receive", &format!("trx-rx -d receive {buffer} {jitter} -h {receiver} -p {port}")),
    };
    for side in [&mut pair.sender, &mut pair.receiver] {
        side.env.push(("ALSA_CONFIG_PATH".into(), config.display().to_string()));
    }
    Ok(pair)
}

/// The plugin insists on ports to connect to; the probe connects besides.
fn alsa_config() -> String {
    let pcm = |name: &str| {
        format!(
            "pcm.{name}_jack {{ type jack name \"trx-{name}\" \
             capture_ports {{ 0 system:capture_1 1 system:capture_2 }} \
             playback_ports {{ 0 system:playback_1 1 system:playback_2 }} }}\n\
             pcm.{name} {{ type plug slave.pcm {name}_jack }}\n"
        )
    };
    format!("</usr/share/alsa/alsa.conf>\n{}{}", pcm("send"), pcm("receive"))
}

fn option(name: &str, value: Option<f64>) -> String {
    value.map(|v| format!("{name} {v}")).unwrap_or_default()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

/// Samples: the shortest frame that Opus knows, 2.5 ms.
const TRX_TUNED_FRAME: u32 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_setting_adds_no_option() {
        let pair = System::Zita.pair(Setting::Default, &site()).unwrap();
        assert_eq!(pair.receiver.argv, ["zita-n2j", "127.0.0.1", "5004"]);
    }

    #[test]
    fn our_own_arguments_reach_both_sides() {
        let pair = System::OursOpus.pair(Setting::Tuned(5.0), &site()).unwrap();
        assert!(pair.sender.argv.ends_with(&words("--frame 2.5ms")));
        assert!(pair.receiver.argv.ends_with(&words("--latency 5ms --period 64")));
    }

    fn site() -> Site {
        let ours = Ours { binary: "as".into(), client_args: "--frame 2.5ms".into(), server_args: "--period 64".into() };
        Site { receiver: IpAddr::from([127, 0, 0, 1]), port: 5004, dir: "/tmp".into(), ours }
    }
}
