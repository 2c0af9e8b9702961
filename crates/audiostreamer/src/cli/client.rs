//! `audiostreamer client`: its options, and what they mean.

use std::time::Duration;

use audiostreamer_core::codec::opus;
use audiostreamer_core::fader::from_decibels;
use audiostreamer_core::playout::Latency;
use audiostreamer_core::sender::Redundancy;
use audiostreamer_core::{ChannelMap, Codec, Encoding, Format, PayloadTypes};
use clap::{Args, ValueEnum};

use super::cleaning::CleaningArgs;
use super::config::ConfigArgs;
use super::record::RecordArgs;
use super::server::ProfileArg;
use super::stats::StatsArgs;
use super::{CardArgs, Verbosity, WireArgs, discover, values};
use crate::client::Played;
use crate::device::{PcmFormat, SinkFormat, SinkSpec, SourceSpec};
use crate::error::Error;
use crate::link::{Credentials, PairingCode, Protocol, ServerKey, Transport, Via};
use crate::trust::{Code, Fingerprint, Identity, Invite, KnownHosts, State};
use crate::volume::Volume;
use crate::{client, sdp, server};

/// `audiostreamer client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The server: a name or an address, with its port where that is not 5004; or an invite, the line
    /// that the server has printed. Several hear the same, and one that fails disturbs no other. Where none
    /// is named, those that announce themselves on this network are looked for
    #[arg(value_name = "HOST[:PORT]|INVITE", value_delimiter = ',', value_parser = values::server)]
    pub servers: Vec<ServerArg>,
    /// A code that `audiostreamer pair` has shown on the server, in place of an invite
    #[arg(long, value_name = "CODE")]
    pub code: Option<Code>,
    /// udp for low latency, tcp where udp does not get through; auto finds out, and goes back to udp
    /// when it can (with --plain and --raw it is udp)
    #[arg(long, value_enum, default_value_t = ClientProtocol::Auto)]
    pub protocol: ClientProtocol,
    /// Send everything once more another way, so that an outage of one is not heard: through a network
    /// interface like wlan0, or to:HOST or to:HOST:PORT, another address of the server. Costs the bitrate
    /// once more, and the delay of the slower way
    #[arg(long, value_name = "VIA", value_delimiter = ',')]
    pub also: Vec<Via>,
    /// What to send: a device (index, name or part of it, pulse:NAME, alsa:PCM, jack:), a file,
    /// - for stdin, tone:440; the default input device when not given
    #[arg(long, value_name = "SOURCE")]
    pub input: Option<String>,
    /// Of stdin, where it is not WAV: ENCODING,RATE,CHANNELS, like s16le,44100,2
    #[arg(long, value_name = "FORMAT")]
    pub input_format: Option<PcmFormat>,
    #[command(flatten)]
    pub record: RecordArgs,
    /// How loud it is sent, in dB: -6 is half, 6 is twice. What would be too loud is brought down rather
    /// than clipped
    #[arg(long, value_name = "DB", default_value_t = 0.0, allow_hyphen_values = true, value_parser = values::gain)]
    pub gain: f32,
    #[command(flatten)]
    pub cleaning: CleaningArgs,
    /// Bring a voice to about the same loudness (-20 dBFS) all the time, whether it is near or far: automatic
    /// gain, between -12 and 24 dB. Adds no delay
    #[arg(long)]
    pub agc: bool,
    /// Send nothing while it is quieter than this, like -60dBFS, for half a second and on; the first louder
    /// sample is sent again, at the same delay
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true, value_parser = values::level)]
    pub silence: Option<f32>,
    /// Which channels are sent: left, right, swap, a mix like 2:1, or a list like 3,4 [default: all]
    #[arg(long, value_name = "MAP")]
    pub map: Option<ChannelMap>,
    /// opus, or lossless with 16 or 24 bits; auto is lossless with 16 where the path carries it, and opus
    /// where it does not
    #[arg(long, value_enum, default_value_t = CodecArg::Opus)]
    pub codec: CodecArg,
    /// Sound in one packet: 2.5ms, 5ms, 10ms or 20ms for Opus, any for l16 and l24 [default: 5ms
    /// for Opus, 20ms for voice, else the device's period]
    #[arg(long, value_name = "TIME", value_parser = values::frame)]
    pub frame: Option<Duration>,
    /// All that is sent to one server, bits per second at the most: sound, headers, and what is sent more than
    /// once. Opus takes what the rest leaves, in longer frames where headers would take most of it [default: 96k
    /// for its sound, for voice 64k, and what it takes to bring that over]
    #[arg(long, value_name = "RATE", value_parser = values::bitrate)]
    pub bitrate: Option<u32>,
    /// What is sent more than once over UDP, in case it is lost: off; auto, what the path asks for and nothing
    /// on one that loses nothing; or auto with copies of so much of the stream at the most, like 30%
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = values::redundancy)]
    pub redundancy: Redundancy,
    /// Make all packets a multiple of so many bytes long, so that their lengths say less of the sound: 64
    /// is a good number. (--application voice has one length anyway)
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub padding: u8,
    /// What Opus is tuned for
    #[arg(long, value_enum, default_value_t = ApplicationArg::Music)]
    pub application: ApplicationArg,
    /// Hear the server, too, where it was started with --duplex
    #[arg(long)]
    pub duplex: bool,
    /// With --duplex: where to play what comes back, a device as of the server; the default one when not
    /// given
    #[arg(long, value_name = "SINK", requires = "duplex")]
    pub output: Option<String>,
    /// With --duplex: playout delay of what comes back, as of the server
    #[arg(long, value_name = "TIME", default_value = "auto", value_parser = values::latency)]
    pub latency: Latency,
    /// With --duplex: what the automatic delay is for
    #[arg(long, value_enum, default_value_t = ProfileArg::Talk)]
    pub profile: ProfileArg,
    /// Fail when the server is not there, rather than wait for it
    #[arg(long)]
    pub no_wait: bool,
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

/// Whom a client is told to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerArg {
    Host(String, u16),
    /// One that was found on the network, and has to have a key that is known.
    Found(String, u16, Fingerprint),
    Invite(Invite),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClientProtocol {
    Auto,
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodecArg {
    Opus,
    L16,
    L24,
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApplicationArg {
    Music,
    Voice,
}

impl ClientArgs {
    /// Looks for a server on this network where none was named.
    pub fn find_server(&mut self) -> Result<(), Error> {
        if !self.servers.is_empty() {
            return Ok(());
        }
        if self.wire.is_plain() {
            let why = "say which server: only those that encrypt announce themselves";
            return Err(Error::Usage(format!("{why}, as in `audiostreamer client HOST --plain`")));
        }
        let may_ask = self.input.as_deref() != Some("-") && discover::somebody_is_there();
        self.servers = vec![discover::choose(self.no_wait, may_ask, self.code.is_some())?];
        Ok(())
    }

    /// What the client is to do. Writes the session description where one was asked for.
    pub fn config(&self) -> Result<client::Config, Error> {
        let protocol = match self.protocol {
            ClientProtocol::Auto => Protocol::Auto,
            ClientProtocol::Udp => Protocol::Only(Transport::Udp),
            ClientProtocol::Tcp => Protocol::Only(Transport::Tcp),
        };
        let media = self.media()?;
        let destinations = self.destinations()?;
        if let (Some(path), client::WireFormat::Rtp { fixed: Some((payload_type, format)), .. }) =
            (&self.wire.sdp, &media.wire)
        {
            let transport = match protocol {
                Protocol::Only(transport) => transport,
                Protocol::Auto => Transport::Udp,
            };
            let [destination] = &*destinations else {
                return Err(Error::Usage("--sdp describes what is sent to one server: name one".into()));
            };
            sdp::write(path, (&destination.host, destination.port), transport, *payload_type, *format)?;
        }
        let cleaning = self.cleaning.cleaning();
        let hearing = self.duplex.then(|| Box::new(self.hearing(cleaning.echo_of.clone())));
        Ok(client::Config {
            destinations,
            protocol,
            source: SourceSpec::parse(self.input.as_deref(), self.input_format).map_err(Error::Usage)?,
            record: self.record.config()?,
            wanted: self.card.wanted(),
            map: self.map.clone().unwrap_or_default(),
            cleaning,
            agc: self.agc,
            silence: self.silence()?,
            volume: Volume { gain: self.gain, muted: false },
            media,
            no_wait: self.no_wait,
            duplex: hearing,
        })
    }

    /// As a factor.
    fn silence(&self) -> Result<Option<f32>, Error> {
        if self.silence.is_some() && self.wire.raw.is_some() {
            return Err(Error::Usage(
                "--silence can't be used with --raw: samples without a header can't say that they pause".into(),
            ));
        }
        Ok(self.silence.map(from_decibels))
    }

    /// How what comes back is played.
    fn hearing(&self, played: Option<Played>) -> server::Config {
        server::Config {
            listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(), // it does not
            udp: false,
            tcp: false,
            sink: SinkSpec::parse(self.output.as_deref(), SinkFormat::default()),
            record: None,
            trace: None,
            idle_release: None,
            played,
            wanted: self.card.wanted(),
            latency: self.latency,
            profile: self.profile.into(),
            gain: 0.0,
            clients_max: self.servers.len() + 2, // one that comes back begins while the old one ends
            wire: server::WireFormat::Rtp(Box::default()),
            encryption: None, // the links have theirs
            announce: false,
            duplex: None,
            limits: server::Limits::default(),
        }
    }

    fn destinations(&self) -> Result<Vec<client::Destination>, Error> {
        if self.servers.is_empty() {
            return Err(Error::Usage("say which server: audiostreamer client HOST".into()));
        }
        if self.code.is_some() && self.servers.len() > 1 {
            return Err(Error::Usage("a --code is that of one server: name one".into()));
        }
        if self.code.is_some() && !self.also.is_empty() {
            return Err(Error::Usage("a --code is good for one connection: pair first, and then use --also".into()));
        }
        if self.servers.len() > 1 && self.also.iter().any(|via| matches!(via, Via::Host(..))) {
            return Err(Error::Usage("--also to:HOST is another address of one server: name one".into()));
        }
        let of_this_machine = match self.wire.is_plain() {
            true => None,
            false => {
                let state = State::open()?;
                Some((Identity::load_or_make(&state)?, KnownHosts::of(&state)))
            }
        };
        let mut destinations = Vec::<client::Destination>::new();
        for server in &self.servers {
            let (host, port) = match server {
                ServerArg::Host(host, port) | ServerArg::Found(host, port, _) => (host.clone(), *port),
                ServerArg::Invite(invite) => (invite.host.clone(), invite.port),
            };
            let credentials = self.credentials(server, of_this_machine.clone())?;
            let destination = client::Destination { host, port, credentials, also: self.also.clone() };
            if destinations.iter().any(|other| other.to_string() == destination.to_string()) {
                return Err(Error::Usage(format!("{destination} is named twice: it would hear everything twice")));
            }
            destinations.push(destination);
        }
        Ok(destinations)
    }

    fn credentials(
        &self,
        server: &ServerArg,
        of_this_machine: Option<(Identity, KnownHosts)>,
    ) -> Result<Option<Credentials>, Error> {
        let Some((identity, known)) = of_this_machine else {
            return match server {
                ServerArg::Invite(_) => {
                    Err(Error::Usage("an invite is for an encrypted link: leave out --plain".into()))
                }
                ServerArg::Host(..) | ServerArg::Found(..) => Ok(None),
            };
        };
        let (server, token) = match server {
            ServerArg::Host(..) => (ServerKey::Known(known), None),
            ServerArg::Found(.., key) => (ServerKey::Exactly(*key), None),
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
            CodecArg::L16 | CodecArg::Auto => Codec::Pcm(Encoding::S16Be),
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
        let ceiling_bps = self.bitrate;
        let bitrate_bps = ceiling_bps.map_or(application.usual_bitrate_bps(), |ceiling| ceiling.min(opus::BITRATE_MAX));
        let opus = opus::Settings { application, bitrate_bps };
        let falls_back = self.codec == CodecArg::Auto && self.wire.raw.is_none() && self.wire.sdp.is_none();
        let (frame, redundancy, padding) = (self.frame, self.redundancy, self.padding);
        Ok(client::Media { wire, frame, opus, ceiling_bps, redundancy, padding, falls_back })
    }

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
