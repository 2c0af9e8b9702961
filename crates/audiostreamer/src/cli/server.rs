//! `audiostreamer server`: its options, and what they mean.

use audiostreamer_core::codec::opus;
use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::sender::Redundancy;
use audiostreamer_core::{ChannelMap, Codec};
use clap::{Args, ValueEnum};
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::cleaning::CleaningArgs;
use super::config::ConfigArgs;
use super::record::RecordArgs;
use super::stats::StatsArgs;
use super::{CardArgs, Verbosity, WireArgs, limits, values};
use crate::client::Cleaning;
use crate::device::{SinkFormat, SinkSpec, SourceSpec};
use crate::error::Error;
use crate::link::{DEFAULT_PORT, Protocol};
use crate::trust::{AccessList, Gate, Identity, State};
use crate::volume::Volume;
use crate::{client, sdp, server};

/// `audiostreamer server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Where to listen: ADDR:PORT or PORT; when not given 5004, or the port of --sdp
    #[arg(long, value_name = "ADDR:PORT", value_parser = |text: &str| values::listen(text, DEFAULT_PORT))]
    pub listen: Option<std::net::SocketAddr>,
    /// What to listen for
    #[arg(long, value_enum, default_value_t = ServerProtocol::Both)]
    pub protocol: ServerProtocol,
    /// Where to play: a device (index, name or part of it, pulse:NAME, alsa:PCM, jack:), FILE.wav,
    /// - for stdout, null; the default output device when not given
    #[arg(long, value_name = "SINK")]
    pub output: Option<String>,
    #[command(flatten)]
    pub record: RecordArgs,
    /// Write down when what arrives, and what becomes of it, without any sound: for `audiostreamer replay`,
    /// and for whoever is to find out what was wrong. 25 MB an hour for each client
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Of a file or stdout: ENCODING,RATE,CHANNELS with s16le, s24le, s32le or f32le, and raw: before
    /// it where there is to be no WAV header
    #[arg(long, value_name = "FORMAT", default_value = "wav:s24le,48000,2")]
    pub output_format: SinkFormat,
    /// Close the output device after so long without a client, so that others can have it or it can sleep,
    /// and open it again when one comes: 10s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = values::idle)]
    pub idle_release: Option<Duration>,
    /// Playout delay: how long each packet waits for those behind it. auto follows the network, a
    /// time like 12ms fixes it
    #[arg(long, value_name = "TIME", default_value = "auto", value_parser = values::latency)]
    pub latency: Latency,
    /// What the automatic delay is for
    #[arg(long, value_enum, default_value_t = ProfileArg::Talk)]
    pub profile: ProfileArg,
    /// How loud each client is played at first, in dB: -6 is half, 6 is twice. What is too loud
    /// together is brought down rather than clipped
    #[arg(long, value_name = "DB", default_value_t = 0.0, allow_hyphen_values = true, value_parser = values::gain)]
    pub gain: f32,
    /// Clients that are played at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub max_clients: u16,
    /// Send what this machine captures back to clients that were started with --duplex
    #[arg(long)]
    pub duplex: bool,
    /// With --duplex: what to send back, a device or file as of the client; the default input device when
    /// not given
    #[arg(long, value_name = "SOURCE", requires = "duplex")]
    pub input: Option<String>,
    #[command(flatten)]
    pub cleaning: CleaningArgs,
    /// Let everybody in who reaches the port, without an invite; what they send is encrypted all the
    /// same
    #[arg(long)]
    pub open: bool,
    /// Don't say on the local network that this server is there (multicast DNS: this machine's name, the
    /// port, the fingerprint of the key)
    #[arg(long)]
    pub no_announce: bool,
    #[command(flatten)]
    pub limits: limits::LimitArgs,
    #[command(flatten)]
    pub wire: WireArgs,
    #[command(flatten)]
    pub card: CardArgs,
    #[command(flatten)]
    pub stats: StatsArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServerProtocol {
    Udp,
    Tcp,
    Both,
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

impl ServerArgs {
    /// What the server is to do.
    pub fn config(&self) -> Result<server::Config, Error> {
        let (wire, port) = match (&self.wire.raw, &self.wire.sdp) {
            (Some(format), _) => (server::WireFormat::Raw((*format).into()), DEFAULT_PORT),
            (None, Some(path)) => {
                let (types, port) = sdp::read(path)?;
                (server::WireFormat::Rtp(Box::new(types)), port)
            }
            (None, None) => (server::WireFormat::Rtp(Box::default()), DEFAULT_PORT),
        };
        if let (server::WireFormat::Raw(_), true) = (&wire, self.duplex) {
            return Err(Error::Usage("--duplex needs more than bare samples: leave out --raw".into()));
        }
        if self.cleaning.denoise && !self.duplex {
            return Err(Error::Usage(
                "--denoise is for what is sent: with --duplex here, or else at the client that sends it".into(),
            ));
        }
        let sink = SinkSpec::parse(self.output.as_deref(), self.output_format);
        let idle_release = self.idle_release(&sink)?;
        let cleaning = self.cleaning.cleaning();
        let played = cleaning.echo_of.clone();
        Ok(server::Config {
            listen: self.listen.unwrap_or_else(|| (Ipv6Addr::UNSPECIFIED, port).into()),
            udp: self.protocol != ServerProtocol::Tcp,
            tcp: self.protocol != ServerProtocol::Udp,
            sink,
            record: self.record.config()?,
            trace: self.trace.clone(),
            idle_release,
            played,
            wanted: self.card.wanted(),
            latency: self.latency,
            profile: self.profile.into(),
            gain: self.gain,
            clients_max: self.max_clients.into(),
            wire,
            encryption: self.encryption()?,
            announce: !self.no_announce,
            duplex: self.duplex.then(|| self.talkback(cleaning).map(Box::new)).transpose()?,
            limits: self.limits.limits(),
        })
    }

    /// What is sent back: Opus, as clients send it when nothing else is said.
    fn talkback(&self, cleaning: Cleaning) -> Result<client::Config, Error> {
        let wire = client::WireFormat::Rtp { codec: Codec::Opus, types: Box::default(), fixed: None };
        let (opus, redundancy) = (opus::Settings::default(), Redundancy::default());
        Ok(client::Config {
            destinations: Vec::new(), // those who ask
            protocol: Protocol::Auto,
            source: SourceSpec::parse(self.input.as_deref(), None).map_err(Error::Usage)?,
            record: None,
            wanted: self.card.wanted(),
            map: ChannelMap::Same,
            cleaning,
            agc: false,
            silence: None,
            volume: Volume::default(),
            media: client::Media {
                wire,
                falls_back: false,
                frame: None,
                opus,
                ceiling_bps: None,
                redundancy,
                padding: 0,
            },
            no_wait: false,
            duplex: None,
        })
    }

    fn idle_release(&self, sink: &SinkSpec) -> Result<Option<Duration>, Error> {
        match sink {
            SinkSpec::Device(_) => Ok(self.idle_release),
            _ if self.idle_release.is_some() => Err(Error::Usage(
                "--idle-release is for sound cards: what else --output names is nobody's in between".into(),
            )),
            _ => Ok(None),
        }
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
