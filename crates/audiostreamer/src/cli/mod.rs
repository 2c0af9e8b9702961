//! The command line: what can be said, and what it means.

#![expect(missing_docs, reason = "a doc comment here is help text: what needs no help has none")]

pub mod console;
pub mod limits;
pub mod manual;
pub mod trust;
pub mod values;

use std::path::PathBuf;
use std::time::Duration;

use audiostreamer_core::codec::opus;
use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::{Codec, Encoding, Format, PayloadTypes};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::device::{PcmFormat, SinkFormat, SinkSpec, SourceSpec, Wanted};
use crate::error::Error;
use crate::link::{Credentials, DEFAULT_PORT, PairingCode, Protocol, ServerKey, Transport};
use crate::trust::{AccessList, Code, Gate, Identity, Invite, KnownHosts, State};
use crate::{client, sdp, server};

/// A live audio link: a client captures a microphone (or a file, a pipe, a tone), a server plays
/// it at once.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Begin with:  audiostreamer demo
Then:        audiostreamer server             on the machine with the speakers
             audiostreamer client HOST        on the machine with the microphone

Exit codes: 0 also on Ctrl-C, 1 internal, 2 usage, 3 sound device, 4 network,
5 authentication, 6 file or pipe.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Listen on a port and play whatever clients send
    Server(ServerArgs),
    /// Capture a source and send it to a server
    Client(Box<ClientArgs>),
    /// List the sound devices
    Devices(DevicesArgs),
    /// Let somebody in: print an invite for `audiostreamer client`
    Invite(trust::InviteArgs),
    /// Let somebody in who types a short code: print one for `audiostreamer client HOST --code`
    Pair(trust::PairArgs),
    /// Show the fingerprint of this machine's key
    Identity(trust::IdentityArgs),
    /// Send a built-in signal through a real server and client on this machine and measure it
    Demo,
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual, or write its pages into files
    #[command(hide = true)]
    Man {
        /// Where to write audiostreamer.1, audiostreamer-server.1 and so on; on stdout, as one
        /// document, when not given
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// `audiostreamer server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Where to listen: ADDR:PORT or PORT
    #[arg(long, value_name = "ADDR:PORT", default_value = "5004",
        value_parser = |text: &str| values::listen(text, DEFAULT_PORT))]
    pub listen: std::net::SocketAddr,
    /// What to listen for
    #[arg(long, value_enum, default_value_t = ServerProtocol::Both)]
    pub protocol: ServerProtocol,
    /// Where to play: a device (index, name or part of it, pulse:NAME, alsa:PCM, jack:), FILE.wav,
    /// - for stdout, null; the default output device when not given
    #[arg(long, value_name = "SINK")]
    pub output: Option<String>,
    /// Of a file or stdout: ENCODING,RATE,CHANNELS with s16le, s24le, s32le or f32le, and raw: before
    /// it where there is to be no WAV header
    #[arg(long, value_name = "FORMAT", default_value = "wav:s24le,48000,2")]
    pub output_format: SinkFormat,
    /// Playout delay: how long each packet waits for those behind it. auto follows the network, a
    /// time like 12ms fixes it
    #[arg(long, value_name = "TIME", default_value = "auto", value_parser = values::latency)]
    pub latency: Latency,
    /// What the automatic delay is for
    #[arg(long, value_enum, default_value_t = ProfileArg::Talk)]
    pub profile: ProfileArg,
    /// Clients that are played at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub max_clients: u16,
    /// Let everybody in who reaches the port, without an invite; what they send is encrypted all the
    /// same
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    pub limits: limits::LimitArgs,
    #[command(flatten)]
    pub wire: WireArgs,
    #[command(flatten)]
    pub card: CardArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// `audiostreamer client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The server: a name or an address, with its port where that is not 5004; or an invite, the line
    /// that the server has printed
    #[arg(value_name = "HOST[:PORT]|INVITE", value_parser = values::server)]
    pub server: ServerArg,
    /// A code that `audiostreamer pair` has shown on the server, in place of an invite
    #[arg(long, value_name = "CODE")]
    pub code: Option<Code>,
    /// udp for low latency, tcp where udp does not get through; auto finds out, and goes back to udp
    /// when it can (with --plain and --raw it is udp)
    #[arg(long, value_enum, default_value_t = ClientProtocol::Auto)]
    pub protocol: ClientProtocol,
    /// What to send: a device (index, name or part of it, pulse:NAME, alsa:PCM, jack:), a file,
    /// - for stdin, tone:440; the default input device when not given
    #[arg(long, value_name = "SOURCE")]
    pub input: Option<String>,
    /// Of stdin, where it is not WAV: ENCODING,RATE,CHANNELS, like s16le,44100,2
    #[arg(long, value_name = "FORMAT")]
    pub input_format: Option<PcmFormat>,
    /// opus, or lossless with 16 or 24 bits
    #[arg(long, value_enum, default_value_t = CodecArg::Opus)]
    pub codec: CodecArg,
    /// Sound in one packet: 2.5ms, 5ms, 10ms or 20ms for Opus, any for l16 and l24 [default: 5ms
    /// for Opus, else the device's period]
    #[arg(long, value_name = "TIME", value_parser = values::frame)]
    pub frame: Option<Duration>,
    /// Of Opus, in bits per second
    #[arg(long, value_name = "RATE", default_value = "96k", value_parser = values::bitrate)]
    pub bitrate: u32,
    /// What Opus is tuned for
    #[arg(long, value_enum, default_value_t = ApplicationArg::Music)]
    pub application: ApplicationArg,
    /// Fail when the server is not there, rather than wait for it
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub wire: WireArgs,
    #[command(flatten)]
    pub card: CardArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// What goes on the wire, the same on both sides.
#[derive(Debug, Args)]
pub struct WireArgs {
    /// Bare PCM without any header, as nc, ffmpeg -f s16le and PyAudio scripts send it:
    /// ENCODING,RATE,CHANNELS, like s16le,44100,1
    #[arg(long, value_name = "FORMAT", conflicts_with = "sdp")]
    pub raw: Option<PcmFormat>,
    /// A session description: the client writes one for other programs to receive by, the server
    /// reads one that other programs have written
    #[arg(long, value_name = "FILE")]
    pub sdp: Option<PathBuf>,
    /// Plain RTP in the clear, as other programs speak it: everybody on the way can listen, and whoever
    /// reaches the port is played. --raw and --sdp imply it
    #[arg(long)]
    pub plain: bool,
}

/// Whom a client is told to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerArg {
    Host(String, u16),
    Invite(Invite),
}

/// What a sound card is asked for.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// Frames per second
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(8_000..=384_000))]
    pub rate: Option<u32>,
    /// Channels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    pub channels: Option<u16>,
    /// Frames that the card moves at once: smaller is faster and more fragile
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub period: Option<u32>,
}

/// How much is said.
#[derive(Debug, Args)]
pub struct Verbosity {
    /// Say more; repeat for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No status line
    #[arg(short, long)]
    pub quiet: bool,
}

/// `audiostreamer devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServerProtocol {
    Udp,
    Tcp,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientProtocol {
    Auto,
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileArg {
    /// Playing music together: every millisecond counts
    Live,
    /// Talking to each other
    Talk,
    /// Listening to what somebody else does now
    Listen,
    /// Listening to music: nothing must be heard but the music
    Hifi,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Live => Profile::Live,
            ProfileArg::Talk => Profile::Talk,
            ProfileArg::Listen => Profile::Listen,
            ProfileArg::Hifi => Profile::Hifi,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    Opus,
    L16,
    L24,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApplicationArg {
    Music,
    Voice,
}

impl ServerArgs {
    /// What the server is to do.
    pub fn config(&self) -> Result<server::Config, Error> {
        let wire = match (&self.wire.raw, &self.wire.sdp) {
            (Some(format), _) => server::WireFormat::Raw((*format).into()),
            (None, Some(path)) => server::WireFormat::Rtp(Box::new(sdp::read(path)?)),
            (None, None) => server::WireFormat::Rtp(Box::default()),
        };
        Ok(server::Config {
            listen: self.listen,
            udp: self.protocol != ServerProtocol::Tcp,
            tcp: self.protocol != ServerProtocol::Udp,
            sink: SinkSpec::parse(self.output.as_deref(), self.output_format),
            wanted: self.card.wanted(),
            latency: self.latency,
            profile: self.profile.into(),
            clients_max: self.max_clients.into(),
            wire,
            encryption: self.encryption()?,
            limits: self.limits.limits(),
        })
    }

    fn encryption(&self) -> Result<Option<server::Encryption>, Error> {
        if self.wire.is_plain() {
            return match self.open {
                true => Err(Error::Usage("--open: a plain server is open to everybody anyway".into())),
                false => Ok(None),
            };
        }
        let state = State::open()?;
        let identity = Identity::load_or_make(&state)?;
        let list = AccessList::of(&state);
        list.entries()?; // what is damaged is said now, and not to the first client
        let gate = Gate { own: identity.fingerprint(), list: Some(list), open: self.open };
        Ok(Some(server::Encryption { identity, gate }))
    }
}

impl WireArgs {
    /// Whether everybody on the way can listen.
    pub fn is_plain(&self) -> bool {
        self.plain || self.raw.is_some() || self.sdp.is_some()
    }
}

impl ClientArgs {
    /// What the client is to do. Writes the session description where one was asked for.
    pub fn config(&self) -> Result<client::Config, Error> {
        let protocol = match self.protocol {
            ClientProtocol::Auto => Protocol::Auto,
            ClientProtocol::Udp => Protocol::Only(Transport::Udp),
            ClientProtocol::Tcp => Protocol::Only(Transport::Tcp),
        };
        let (host, port) = match &self.server {
            ServerArg::Host(host, port) => (host.clone(), *port),
            ServerArg::Invite(invite) => (invite.host.clone(), invite.port),
        };
        let media = self.media()?;
        if let (Some(path), client::WireFormat::Rtp { fixed: Some((payload_type, format)), .. }) =
            (&self.wire.sdp, &media.wire)
        {
            let transport = match protocol {
                Protocol::Only(transport) => transport,
                Protocol::Auto => Transport::Udp,
            };
            sdp::write(path, (&host, port), transport, *payload_type, *format)?;
        }
        Ok(client::Config {
            host,
            port,
            protocol,
            credentials: self.credentials()?,
            source: SourceSpec::parse(self.input.as_deref(), self.input_format).map_err(Error::Usage)?,
            wanted: self.card.wanted(),
            media,
            no_wait: self.no_wait,
        })
    }

    fn credentials(&self) -> Result<Option<Credentials>, Error> {
        if self.wire.is_plain() {
            return match self.server {
                ServerArg::Invite(_) => {
                    Err(Error::Usage("an invite is for an encrypted link: leave out --plain".into()))
                }
                ServerArg::Host(..) => Ok(None),
            };
        }
        let state = State::open()?;
        let (identity, known) = (Identity::load_or_make(&state)?, KnownHosts::of(&state));
        let (server, token) = match &self.server {
            ServerArg::Host(..) => (ServerKey::Known(known), None),
            ServerArg::Invite(_) if self.code.is_some() => {
                return Err(Error::Usage("an invite needs no --code".into()));
            }
            ServerArg::Invite(invite) => (ServerKey::Invited(invite.key, known), Some(invite.token.clone())),
        };
        Ok(Some(Credentials { identity, server, token, code: PairingCode::new(self.code.clone()) }))
    }

    fn media(&self) -> Result<client::Media, Error> {
        let codec = match self.codec {
            CodecArg::Opus => Codec::Opus,
            CodecArg::L16 => Codec::Pcm(Encoding::S16Be),
            CodecArg::L24 => Codec::Pcm(Encoding::S24Be),
        };
        let wire = match self.wire.raw {
            Some(format) => client::WireFormat::Raw(format.into()),
            None => self.rtp(codec)?,
        };
        let opus_micros = [2_500, 5_000, 10_000, 20_000];
        if let (None, Codec::Opus, Some(frame)) = (self.wire.raw, codec, self.frame)
            && !opus_micros.contains(&frame.as_micros())
        {
            let millis = frame.as_micros() as f64 / 1e3;
            return Err(Error::Usage(format!("--frame {millis}ms: Opus frames are 2.5ms, 5ms, 10ms or 20ms long")));
        }
        let application = match self.application {
            ApplicationArg::Music => opus::Application::Music,
            ApplicationArg::Voice => opus::Application::Voice,
        };
        let opus = opus::Settings { application, bitrate_bps: self.bitrate };
        Ok(client::Media { wire, frame: self.frame, opus })
    }
}

impl ClientArgs {
    /// What is described beforehand is what must be sent, whatever the source turns out to be.
    fn rtp(&self, codec: Codec) -> Result<client::WireFormat, Error> {
        let types = Box::<PayloadTypes>::default();
        let CardArgs { rate, channels, .. } = self.card;
        let fixed = self.wire.sdp.as_ref().map(|_| match codec {
            Codec::Opus => Format::OPUS,
            _ => Format { codec, rate: rate.unwrap_or(48_000), channels: channels.unwrap_or(2).min(2) as u8 },
        });
        let fixed = fixed
            .map(|format| Ok::<_, Error>((types.payload_type(format).ok_or(Error::NoPayloadType(format))?, format)))
            .transpose()?;
        Ok(client::WireFormat::Rtp { codec, types, fixed })
    }
}

impl CardArgs {
    fn wanted(&self) -> Wanted {
        Wanted { rate: self.rate, channels: self.channels, period: self.period.map(|frames| frames as usize) }
    }
}
