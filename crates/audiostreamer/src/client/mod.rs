//! The client: one source, sent to one server or several.
//!
//! Two threads beside the device's own. The *send thread* (`send`) does everything that a
//! captured block needs until it is on the wire, so that nothing stands between them. The runtime
//! of [`run`] keeps the links, reads what the servers say, and waits for the end.

mod coding;
mod feed;
mod hearing;
mod media;
mod send;
mod shaping;
mod silence;
mod status;
mod voice;

use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use audiostreamer_core::packet::HEADER_BYTES;
use audiostreamer_core::sender::Redundancy;
use audiostreamer_core::{ChannelMap, Codec, Format, PayloadTypes, codec::opus};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::capture;
use crate::clock;
use crate::device::{self, Notice, Shape, SourceSpec, Wanted, Xruns};
use crate::error::Error;
use crate::link::quic::DATAGRAM_BYTES_MIN;
use crate::link::tcp::Framing;
use crate::link::{
    self, Credentials, LinkEvent, Protocol, Security, SharedLink, Target, Transport, Via, keep,
    keep_connected_every_way,
};
use crate::recording::{self, Recorders, Recording};
use crate::report::{Event, Report, host_port};
use crate::server;
use crate::volume::Volume;

pub(crate) use feed::To;
use hearing::{Arrivals, Hearing};
use media::PayloadMax;
use send::FromSend;
pub(crate) use send::SendEvent;
pub use status::{Counted, FeedStatus, Sent, State, Status};
pub use voice::{Cleaning, Played};

/// What a client does.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers: at least one. Each has its own link, and one that fails disturbs no other.
    pub destinations: Vec<Destination>,
    /// How the packets travel.
    pub protocol: Protocol,
    /// What is sent.
    pub source: SourceSpec,
    /// Where a copy of what is captured, or sent, is kept.
    pub record: Option<recording::Config>,
    /// What the source is asked for.
    pub wanted: Wanted,
    /// Which of its channels are sent.
    pub map: ChannelMap,
    /// Of what a voice is cleaned before anything else; that takes 9 ms, or 15 where noise is taken out, and makes
    /// all channels the same.
    pub cleaning: Cleaning,
    /// Whether a voice is brought to about the same loudness all the time, before its volume.
    pub agc: bool,
    /// Nothing is sent while no sample is louder than this factor, for half a second and on; then reports only.
    pub silence: Option<f32>,
    /// How loud, at first.
    pub volume: Volume,
    /// How it is coded.
    pub media: Media,
    /// Give up a server that is not there, rather than wait for it.
    pub no_wait: bool,
    /// How what the servers send back is played; `None` does not ask for it. What is said of listening
    /// and of trust does not count: it comes over the links that there are.
    pub duplex: Option<Box<server::Config>>,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Destination {
    /// A name or an address. A name is looked up anew at each attempt.
    pub host: String,
    /// Its port, for UDP and TCP alike.
    pub port: u16,
    /// How both ends recognise each other on an encrypted link; `None` sends in the clear.
    pub credentials: Option<Credentials>,
    /// Everything is sent once more over each of these ways, so that an outage of one of them is not heard;
    /// on an encrypted link only, where a client is known by its key wherever it comes from.
    pub also: Vec<Via>,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&host_port(&self.host, self.port))
    }
}

/// How the sound is coded and packed.
#[derive(Clone, Debug)]
pub struct Media {
    /// RTP of some format, or bare PCM.
    pub wire: WireFormat,
    /// The length of a frame; for PCM `None` means whatever the source's period is.
    pub frame: Option<Duration>,
    /// For Opus only; of its bitrate no more is used than fits a packet.
    pub opus: opus::Settings,
    /// All that one destination is sent keeps below this, bits per second with headers and with what is sent
    /// more than once; over each way to it.
    pub ceiling_bps: Option<u32>,
    /// Whether what is lost is made up for, over UDP.
    pub redundancy: Redundancy,
    /// RTP packets are made so many bytes long, or a multiple; 0 leaves them as they are.
    pub padding: u8,
    /// Whether Opus takes the place of PCM while the path does not carry that.
    pub falls_back: bool,
}

impl Media {
    /// The same as Opus.
    fn coded(&self) -> Media {
        let wire = match self.wire.clone() {
            WireFormat::Rtp { types, .. } => WireFormat::Rtp { codec: Codec::Opus, types, fixed: None },
            raw => raw,
        };
        Media { wire, frame: None, ..self.clone() }
    }
}

/// What goes on the wire.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum WireFormat {
    /// RTP: the codec, with rate and channels as the source has them, as far as these payload
    /// types know them; or exactly one of them.
    Rtp { codec: Codec, types: Box<PayloadTypes>, fixed: Option<(u8, Format)> },
    /// Bare PCM of exactly this format.
    Raw(Format),
}

impl Config {
    /// What an encrypted datagram holds on every path, less the header of RTP.
    fn payload_max(&self) -> PayloadMax {
        match self.destinations.iter().any(|destination| destination.credentials.is_some()) {
            true => PayloadMax::Bytes(DATAGRAM_BYTES_MIN - HEADER_BYTES),
            false => PayloadMax::None,
        }
    }

    /// Refuses what would be lost packet by packet.
    fn check(&self) -> Result<(), Error> {
        if self.destinations.is_empty() {
            return Err(Error::Usage("there is no server to send to".into()));
        }
        if self.destinations.iter().any(|destination| destination.credentials.is_none() && !destination.also.is_empty())
        {
            return Err(Error::Usage(
                "--also needs an encrypted link: without one the server would play each way as a client of its own"
                    .into(),
            ));
        }
        if let (WireFormat::Raw(_), Some(_)) = (&self.media.wire, &self.duplex) {
            return Err(Error::Usage("--duplex needs more than bare samples: leave out --raw".into()));
        }
        Ok(())
    }
}

/// Streams until the source ends or `shutdown` completes, telling `report` what happens.
///
/// Whether the end was asked for or the file was over, the result is what was counted.
pub async fn run(
    config: Config,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    let volume = watch::channel(config.volume).1;
    run_with(config, volume, report, shutdown).await
}

/// The same, as loud as `volume` says in every moment.
pub async fn run_with(
    config: Config,
    volume: watch::Receiver<Volume>,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    config.check()?;
    let (heard, last_heard) = watch::channel(None);
    let links = {
        let (config, report) = (config.clone(), report.clone());
        |tell| async move {
            let (arrivals, hearing) = hearing::start(config.duplex.clone(), heard, report);
            let mut links = keep_links(&config, &tell, &arrivals);
            tokio::join!(links.join_next(), hearing); // neither ends
        }
    };
    let report = move |told| {
        report(match told {
            Report::Client(status) => Report::Client(Status { talkback: last_heard.borrow().clone(), ..status }),
            told => told,
        });
    };
    let (result, counted, links) = stream(config, volume, links, report.clone(), shutdown).await?;
    // All at the same time, as each may take its while.
    links.into_iter().map(link::finish).collect::<JoinSet<()>>().join_all().await;
    if result.is_ok() || counted.destinations.iter().any(|sent| sent.stats.packets_sent > 0) {
        report(Report::Event(Event::Sent(counted.clone())));
    }
    result.map(|()| counted)
}

/// The same over links that somebody else keeps, and says of what happens to them; none is ended.
pub(crate) async fn run_over_links(
    config: Config,
    mut events: UnboundedReceiver<SendEvent>,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let pass_on = |tell: Tell| async move {
        while let Some(event) = events.recv().await {
            tell.say(event);
        }
    };
    let volume = watch::channel(config.volume).1;
    stream(config, volume, pass_on, report, shutdown).await?.0
}

/// What goes to the send thread.
#[derive(Clone)]
struct Tell {
    events: mpsc::Sender<SendEvent>,
    thread: std::thread::Thread,
}

impl Tell {
    fn say(&self, event: SendEvent) {
        let _ = self.events.send(event); // a send thread that is gone has told why
        self.thread.unpark();
    }
}

/// Sends the source over links that `links` keeps, for as long as it is asked; what came of it, what
/// was counted, and the links, over which the last packets may still be on their way.
async fn stream<F: Future>(
    config: Config,
    mut volume: watch::Receiver<Volume>,
    links: impl FnOnce(Tell) -> F,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(Result<(), Error>, Counted, Vec<SharedLink>), Error> {
    config.source.check()?; // a file that can't be played is no reason to wait for a server
    let (events, inbox) = mpsc::channel();
    let (to_us, mut from_send) = tokio::sync::mpsc::unbounded_channel();
    let xruns = Xruns::default();
    let recording = Recording::of(config.record.as_ref(), &report)?;
    let recorders = recording.as_ref().map(Recording::recorders);
    let sending = {
        let (config, report, xruns, recorders) = (config.clone(), report.clone(), xruns.clone(), recorders.clone());
        let thread = std::thread::Builder::new().name("send".into());
        thread.spawn(move || send::run(&config, &inbox, report, &to_us, (xruns, recorders))).map_err(Error::Thread)?
    };
    let tell = Tell { events, thread: sending.thread().clone() };
    let links = links(tell.clone());
    let streaming = async {
        let start = || start_source(&config, recorders.as_ref(), &xruns, &tell);
        // A card or a pipe can't wait: its sound is now. A file begins when somebody hears it.
        let mut source = if config.source.is_live() { Some(start()?) } else { None };
        loop {
            match from_send.recv().await {
                Some(FromSend::Ready) if source.is_none() => source = Some(start()?),
                Some(FromSend::Ready) => {}
                Some(FromSend::Ended(Err(Error::Device(error)))) if config.duplex.is_some() => {
                    report(Report::Event(Event::HalfEnded { half: "nothing is sent", why: error.to_string() }));
                }
                Some(FromSend::Ended(result)) => return result,
                None => return Ok(()),
            }
        }
    };
    let follow_volume = async {
        while volume.changed().await.is_ok() {
            tell.say(SendEvent::Volume(*volume.borrow_and_update()));
        }
    };
    let for_ever = async {
        tokio::join!(links, follow_volume);
        std::future::pending::<()>().await // as it is now, to the end
    };
    let result = tokio::select! {
        result = streaming => result,
        () = for_ever => unreachable!("it has no end"),
        // Good-bye is said before the source is closed, which may take a while.
        () = async { shutdown.await; tell.say(SendEvent::Finish) } => Ok(()),
    };
    tell.say(SendEvent::Finish);
    let (counted, links) = join(sending, &mut from_send).await;
    Ok((result, counted, links))
}

/// Keeps the links to all destinations until it is dropped.
fn keep_links(config: &Config, tell: &Tell, arrivals: &Arrivals) -> JoinSet<()> {
    let mut links = JoinSet::new();
    for (id, destination) in config.destinations.iter().enumerate() {
        let (peer, encrypted) = (destination.to_string(), destination.credentials.is_some());
        let hearing = Hearing::new(&peer, encrypted, arrivals.clone());
        tell.say(SendEvent::Add(id, To { peer, encrypted, no_wait: config.no_wait }));
        let tell = tell.clone();
        let handle = move |event| match event {
            LinkEvent::Up(link) => {
                let link = link::shared(link);
                hearing.begin(&link);
                tell.say(SendEvent::Up(id, link));
            }
            LinkEvent::Packet(bytes) => {
                hearing.handle_packet(&bytes);
                tell.say(SendEvent::Link(id, LinkEvent::Packet(bytes)));
            }
            event => tell.say(SendEvent::Link(id, event)),
        };
        links.spawn(keep_link(config.clone(), destination.clone(), handle));
    }
    links
}

fn start_source(
    config: &Config,
    recorders: Option<&Recorders>,
    xruns: &Xruns,
    tell: &Tell,
) -> Result<device::Running, Error> {
    let make = {
        let (tell, media, payload_max) = (tell.clone(), config.media.clone(), config.payload_max());
        let (map, recorders, xruns) = (config.map.clone(), recorders.cloned(), xruns.clone());
        move |shape: &Shape| -> device::Capture {
            let frames = media::frames_worth_sending(&media, &mapped(&map, shape), payload_max);
            let (mut tap, captured) = capture::tap(*shape, xruns.clone(), tell.thread.clone(), frames);
            tell.say(SendEvent::Captured(captured));
            let mut recorder = recorders.as_ref().and_then(|recorders| recorders.of_card(shape));
            Box::new(move |samples, age| {
                tap.handle(clock::now() - age, samples);
                recorder.iter_mut().for_each(|recorder| recorder.record(samples, false));
            })
        }
    };
    let tell = tell.clone();
    let notify = move |notice: Notice| tell.say(SendEvent::Source(notice));
    Ok(device::start_source(&config.source, config.wanted, xruns.clone(), make, notify)?)
}

/// What a source of `shape` is after its channels are mapped.
fn mapped(map: &ChannelMap, shape: &Shape) -> Shape {
    Shape { channels: map.channels(shape.channels), ..*shape }
}

/// Keeps the link that was asked for until it is dropped.
async fn keep_link(config: Config, destination: Destination, handle: impl Fn(LinkEvent)) {
    let Config { protocol, media, duplex, .. } = config;
    let Destination { host, port, credentials, also } = destination;
    let security = match (credentials, &media.wire) {
        (Some(credentials), _) => Security::Encrypted(Box::new(credentials)),
        (None, WireFormat::Rtp { .. }) => Security::Plain(Framing::Rfc4571),
        (None, WireFormat::Raw(_)) => Security::Plain(Framing::None),
    };
    let (transport, via, duplex) = (Transport::Udp, Via::Usual, duplex.is_some());
    let target = Target { host, port, transport, via, security, duplex };
    match also.is_empty() {
        true => keep(target, protocol, handle).await,
        false => keep_connected_every_way(target, also, protocol, handle).await,
    }
}

/// Waits for the send thread to say good-bye on the wire; it never waits for anything itself.
async fn join(
    sending: std::thread::JoinHandle<(Counted, Vec<SharedLink>)>,
    from_send: &mut UnboundedReceiver<FromSend>,
) -> (Counted, Vec<SharedLink>) {
    while from_send.recv().await.is_some() {} // until it drops its end
    sending.join().unwrap_or_default()
}
