//! One leg of the demo: a server and a client in this process, over loopback.

use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use audiostreamer_core::codec::opus;
use audiostreamer_core::mixer::Levels;
use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::{ChannelMap, Codec};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use crate::device::{SinkSpec, SourceSpec, Wanted};
use crate::error::Error;
use crate::link::{Credentials, PairingCode, Protocol, ServerKey, Transport};
use crate::report::{Event, Report};
use crate::trust::{Gate, Identity};
use crate::volume::Volume;
use crate::{client, server};

/// What goes where.
pub struct Leg {
    pub source: SourceSpec,
    pub sink: SinkSpec,
    /// For a source without an end.
    pub length: Option<Duration>,
}

/// What was seen on the way.
#[derive(Default)]
pub struct Measured {
    client: Option<client::Status>,
    server: Option<server::StreamStatus>,
    levels: Levels,
    /// The loudest sample that was sent.
    pub peak: f32,
}

/// What the last packet needs from the socket to the end of the sink.
const DRAIN: Duration = Duration::from_millis(300);

impl Leg {
    /// Runs it to its end.
    pub async fn run(self) -> Result<Measured, Error> {
        let (reports, mut inbox) = unbounded_channel();
        let report = move |report: Report| drop(reports.send(report));
        let identity = Identity::ephemeral()?; // of both ends, and forgotten afterwards
        let (stop, stopped) = oneshot::channel::<()>();
        let server = server::run(server_config(self.sink, &identity), report.clone(), async { drop(stopped.await) });
        tokio::pin!(server);
        let address = tokio::select! {
            result = &mut server => return result.map(|_| Measured::default()),
            address = listening(&mut inbox) => address,
        };
        let length = self.length;
        let enough = async move {
            match length {
                Some(length) => tokio::time::sleep(length).await,
                None => std::future::pending().await,
            }
        };
        let client = client::run(client_config(address, self.source, identity), report, enough);
        let mut measured = Measured::default();
        {
            let watch = watch(&mut inbox, &mut measured);
            tokio::select! {
                result = &mut server => return result.map(|_| measured),
                result = client => drop(result?),
                () = watch => {}
            }
        }
        tokio::select! {
            result = &mut server => return result.map(|_| measured),
            () = tokio::time::sleep(DRAIN) => {}
        }
        let _ = stop.send(());
        server.await.map(|_| measured)
    }
}

impl Measured {
    /// Where the time goes, from the card to the card, as far as each can be measured.
    pub fn stages(&self) -> Vec<(&'static str, Duration)> {
        let budget = self.server.as_ref().map(|server| server.budget(&self.levels)).unwrap_or_default();
        budget.stages().into_iter().filter_map(|(name, delay)| Some((name, delay?))).collect()
    }

    pub fn packets(&self) -> u64 {
        let destinations = self.client.iter().flat_map(|client| &client.destinations);
        destinations.map(|to| to.stats.packets_sent).sum()
    }

    pub fn packets_lost(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| server.received.packets_lost)
    }
}

async fn listening(inbox: &mut UnboundedReceiver<Report>) -> SocketAddr {
    loop {
        match inbox.recv().await {
            Some(Report::Event(Event::Listening { address, .. })) => return address,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Keeps the latest of both ends and shows that something goes on; never ends by itself.
async fn watch(inbox: &mut UnboundedReceiver<Report>, measured: &mut Measured) {
    let terminal = std::io::stderr().is_terminal();
    while let Some(report) = inbox.recv().await {
        match report {
            Report::Client(status) => {
                measured.peak = measured.peak.max(status.peak);
                if terminal {
                    let _ = write!(std::io::stderr(), "\r\x1b[K   {status}");
                }
                measured.client = Some(status);
            }
            Report::Server(mut status) => {
                measured.levels = status.levels.unwrap_or(measured.levels);
                measured.server = status.streams.pop().or(measured.server.take());
            }
            Report::Event(event) => show(&event, terminal),
        }
    }
    std::future::pending().await
}

fn show(event: &Event, terminal: bool) {
    let clear = if terminal { "\r\x1b[K" } else { "" };
    let _ = writeln!(std::io::stderr(), "{clear}   {event}");
}

fn server_config(sink: SinkSpec, identity: &Identity) -> server::Config {
    server::Config {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        udp: true,
        tcp: false,
        sink,
        record: None,
        trace: None,
        idle_release: None,
        played: None,
        wanted: Wanted::default(),
        latency: Latency::Auto,
        profile: Profile::Live,
        gain: 0.0,
        clients_max: 1,
        wire: server::WireFormat::Rtp(Box::default()),
        encryption: Some(server::Encryption {
            identity: identity.clone(),
            gate: Gate { own: identity.fingerprint(), list: None, open: false },
        }),
        announce: false,
        duplex: None,
        limits: server::Limits::default(),
    }
}

fn client_config(server: SocketAddr, source: SourceSpec, identity: Identity) -> client::Config {
    let wire = client::WireFormat::Rtp { codec: Codec::Opus, types: Box::default(), fixed: None };
    client::Config {
        destinations: vec![client::Destination {
            host: server.ip().to_string(),
            port: server.port(),
            credentials: Some(Credentials {
                server: ServerKey::Exactly(identity.fingerprint()),
                identity,
                token: None,
                code: PairingCode::default(),
            }),
            also: Vec::new(),
        }],
        protocol: Protocol::Only(Transport::Udp),
        source,
        record: None,
        wanted: Wanted::default(),
        map: ChannelMap::Same,
        cleaning: client::Cleaning::default(),
        agc: false,
        silence: None,
        volume: Volume::default(),
        media: client::Media {
            wire,
            frame: None,
            opus: opus::Settings::default(),
            ceiling_bps: None,
            redundancy: Default::default(),
            padding: 0,
            falls_back: false,
        },
        no_wait: true,
        duplex: None,
    }
}
