//! What can be changed while it plays: volume, delay, who plays; and what is sent of a source.

mod harness;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audiostreamer::device::{SinkSpec, SourceSpec, Wanted};
use audiostreamer::error::Error;
use audiostreamer::link::control::Refusal;
use audiostreamer::link::{Credentials, Protocol, ServerKey, Transport};
use audiostreamer::report::{Event, Report};
use audiostreamer::server::{Command, Remote, Status, StreamStatus};
use audiostreamer::trust::{AuthError, Gate, Identity, State};
use audiostreamer::volume::Volume;
use audiostreamer::{client, server};
use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::{ChannelMap, Codec, Encoding, PayloadTypes};
use harness::compare::compare;
use harness::program::ours;
use harness::server::{Input, record};
use harness::{port, signal};
use tokio::sync::watch;

const RATE: u32 = 48_000;

/// A client and a server in this process that nobody hears.
struct Pair {
    identity: Option<Identity>,
    port: u16,
    transport: Transport,
    remote: Remote,
    volume: watch::Sender<Volume>,
    seen: Arc<Mutex<Seen>>,
}

/// What the server has told.
#[derive(Default)]
struct Seen {
    status: Option<Status>,
    events: Vec<Event>,
}

impl Pair {
    /// Runs both until `watch` has seen enough; what became of the client, and what was played.
    async fn run(
        encrypted: bool,
        transport: Transport,
        watch: impl AsyncFnOnce(&Pair),
    ) -> (Result<client::Counted, Error>, server::Counted) {
        let folder = tempfile::tempdir().unwrap();
        let identity =
            encrypted.then(|| Identity::load_or_make(&State::at(folder.path().to_owned()).unwrap()).unwrap());
        let (remote, commands) = Remote::new();
        let (volume, volumes) = watch::channel(Volume::default());
        let pair = Pair { identity, port: port::free(), transport, remote, volume, seen: Arc::default() };
        let seen = pair.seen.clone();
        let note = move |report| {
            let mut seen = seen.lock().unwrap();
            match report {
                Report::Server(status) => seen.status = Some(status),
                Report::Event(event) => seen.events.push(event),
                Report::Client(_) => {}
            }
        };
        let (stop, stopped) = watch::channel(false);
        let ended = |mut stopped: watch::Receiver<bool>| async move { drop(stopped.wait_for(|stop| *stop).await) };
        let server = server::run_with(pair.server(), commands, note, ended(stopped.clone()));
        let client = client::run_with(pair.client(), volumes, drop, ended(stopped));
        let watching = async {
            watch(&pair).await;
            stop.send(true).unwrap();
        };
        let (played, sent, ()) = tokio::join!(server, client, watching);
        (sent, played.unwrap())
    }

    fn server(&self) -> server::Config {
        server::Config {
            listen: ([127, 0, 0, 1], self.port).into(),
            udp: true,
            tcp: true,
            sink: SinkSpec::Null,
            record: None,
            wanted: Wanted::default(),
            latency: Latency::Auto,
            profile: Profile::Live,
            gain: 0.0,
            clients_max: 4,
            wire: server::WireFormat::Rtp(Box::default()),
            encryption: self.identity.clone().map(|identity| {
                let gate = Gate { own: identity.fingerprint(), list: None, open: false };
                server::Encryption { identity, gate }
            }),
            announce: false,
            trace: None,
            idle_release: None,
            played: None,
            duplex: None,
            limits: server::Limits::default(),
        }
    }

    fn client(&self) -> client::Config {
        let types = Box::<PayloadTypes>::default();
        client::Config {
            destinations: vec![client::Destination {
                host: "127.0.0.1".into(),
                port: self.port,
                credentials: self.identity.clone().map(|identity| {
                    let server = ServerKey::Exactly(identity.fingerprint());
                    Credentials { identity, server, token: None, code: Default::default() }
                }),
                also: Vec::new(),
            }],
            protocol: Protocol::Only(self.transport),
            source: SourceSpec::Tone(440.0),
            record: None,
            wanted: Wanted::default(),
            map: ChannelMap::Same,
            volume: Volume::default(),
            media: client::Media {
                wire: client::WireFormat::Rtp { codec: Codec::Pcm(Encoding::S16Be), types, fixed: None },
                frame: None,
                opus: Default::default(),
                ceiling_bps: None,
                redundancy: Default::default(),
                padding: 0,
                falls_back: false,
            },
            no_wait: false,
            cleaning: client::Cleaning::default(),
            agc: false,
            silence: None,
            duplex: None,
        }
    }

    /// Waits until the server has a stream that `is_so`.
    async fn wait_for(&self, what: &str, is_so: impl Fn(&StreamStatus, &Status) -> bool) -> StreamStatus {
        self.until(what, |seen| {
            let status = seen.status.as_ref()?;
            status.streams.first().filter(|stream| is_so(stream, status)).cloned()
        })
        .await
    }

    async fn wait_for_event(&self, what: &str, is_it: impl Fn(&Event) -> bool) {
        self.until(what, |seen| seen.events.iter().any(&is_it).then_some(())).await;
    }

    async fn until<T>(&self, what: &str, look: impl Fn(&Seen) -> Option<T>) -> T {
        for _ in 0..6_000 {
            if let Some(found) = look(&self.seen.lock().unwrap()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not within a minute; events: {:?}", self.seen.lock().unwrap().events);
    }
}

#[tokio::test]
async fn a_stream_is_muted_and_its_delay_changed_while_it_plays_on() {
    let (sent, played) = Pair::run(true, Transport::Udp, async |pair| {
        let loudness = |status: &Status| status.levels.map_or(0.0, |levels| levels.peak);
        let stream = pair.wait_for("sound", |_, status| loudness(status) > 0.05).await.id;
        let volume = Volume { gain: 0.0, muted: true };
        pair.remote.send(Command::Volume { stream, volume });
        // It still comes, but is not heard.
        let silent = |known: &StreamStatus, status: &Status| known.peak > 0.05 && loudness(status) == 0.0;
        assert_eq!(pair.wait_for("silence", silent).await.volume, volume);
        pair.remote.send(Command::Volume { stream, volume: Volume::default() });
        pair.wait_for("sound again", |_, status| loudness(status) > 0.05).await;
        pair.remote.send(Command::Latency(Latency::Fixed(Duration::from_millis(150))));
        let slow = |known: &StreamStatus, _: &Status| known.playout.target_delay >= Duration::from_millis(150);
        pair.wait_for("a long delay", slow).await;
        pair.remote.send(Command::Latency(Latency::Auto));
        pair.remote.send(Command::Profile(Profile::Talk));
        let quick = |known: &StreamStatus, status: &Status| {
            status.profile == Profile::Talk && known.playout.target_delay < Duration::from_millis(150)
        };
        assert_eq!(pair.wait_for("a short delay", quick).await.id, stream, "it is the same stream all the time");
        pair.volume.send(Volume { gain: 0.0, muted: true }).unwrap();
        pair.wait_for("silence at the source", |known, _| known.peak == 0.0).await;
    })
    .await;
    sent.unwrap();
    assert_eq!(played.clients, 1);
}

#[tokio::test]
async fn who_was_muted_is_muted_when_it_comes_back() {
    let (sent, played) = Pair::run(true, Transport::Udp, async |pair| {
        let stream = pair.wait_for("sound", |stream, _| stream.peak > 0.05).await.id;
        let volume = Volume { gain: -3.0, muted: true };
        pair.remote.send(Command::Volume { stream, volume });
        pair.wait_for("silence", |stream, _| stream.volume == volume).await;
        // The same key with another stream, as after a restart.
        let again = pair.until("another stream", |seen| {
            seen.status.as_ref()?.streams.iter().find(|other| other.id != stream).cloned()
        });
        tokio::select! {
            ended = client::run(pair.client(), drop, std::future::pending()) => panic!("{ended:?}"),
            again = again => assert_eq!(again.volume, volume),
        }
    })
    .await;
    sent.unwrap();
    assert_eq!(played.clients, 2);
}

async fn kick(transport: Transport) {
    let (sent, played) = Pair::run(true, transport, async |pair| {
        let stream = pair.wait_for("sound", |stream, _| stream.peak > 0.05).await.id;
        pair.remote.send(Command::Kick { stream });
        pair.wait_for_event("an end", |event| matches!(event, Event::ClientEnded { .. })).await;
        pair.until("nobody", |seen| seen.status.as_ref().filter(|status| status.streams.is_empty()).map(drop)).await;
    })
    .await;
    assert_eq!(played.clients, 1);
    // The end was asked for at about the same time: what it was told first, it has ended with.
    match sent {
        Err(Error::Auth(AuthError::Refused { why, .. })) => assert_eq!(why, Refusal::Kicked),
        Ok(_) => {}
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_client_is_sent_away_over_udp_and_tcp() {
    kick(Transport::Udp).await;
    kick(Transport::Tcp).await;
}

#[tokio::test]
async fn who_is_sent_away_and_goes_on_in_the_clear_is_not_heard() {
    let (sent, played) = Pair::run(false, Transport::Udp, async |pair| {
        let stream = pair.wait_for("sound", |stream, _| stream.peak > 0.05).await.id;
        let before = pair.wait_for("packets", |_, _| true).await.received.packets_received;
        pair.remote.send(Command::Kick { stream });
        pair.until("nobody", |seen| seen.status.as_ref().filter(|status| status.streams.is_empty()).map(drop)).await;
        assert!(before > 0);
        tokio::time::sleep(Duration::from_millis(300)).await; // it goes on sending meanwhile
        pair.until("still nobody", |seen| seen.status.as_ref().filter(|status| status.streams.is_empty()).map(drop))
            .await;
    })
    .await;
    assert!(sent.unwrap().destinations[0].stats.packets_sent > 0);
    assert_eq!(played.clients, 1);
    assert!(played.refusals.kicked > 0, "{played:?}");
}

#[test]
fn a_gain_is_what_it_says_on_both_sides() {
    let melody = signal::melody(40, 2.0, RATE, 2);
    let input = Input::wav(&melody, 16);
    for (server, client, expected) in [(vec!["--gain=-12"], vec![], -12.0), (vec![], vec!["--gain", "-6dB"], -6.0)] {
        let played = record(&input, &server, &[&client[..], &["--codec=l24"]].concat());
        let heard = compare(&melody, &played);
        heard.assert_settled(0.95);
        assert!((heard.gain_db - expected).abs() < 0.3, "{heard:?}");
    }
}

#[test]
fn channels_are_sent_as_mapped() {
    let input = Input::wav(&signal::melody(41, 2.0, RATE, 1).on_channel(0, 2), 16);
    let loudness = |map: &str| {
        let played = record(&input, &[], &["--codec=l16", "--map", map]);
        [0, 1].map(|channel| played.channel(channel).iter().fold(0.0f32, |peak, sample| peak.max(sample.abs())))
    };
    let [left, right] = loudness("left");
    assert!(left > 0.1 && left == right);
    let [left, right] = loudness("swap");
    assert!(left == 0.0 && right > 0.1);
    assert_eq!(loudness("right"), [0.0, 0.0]);
}

#[test]
fn a_map_that_the_source_can_not_have_is_a_mistake_of_usage() {
    let address = format!("127.0.0.1:{}", port::free());
    let client = ours(["client", &address, "--plain", "--input=tone:440", "--map=3,4"]).start().wait();
    client.assert_code(2);
    client.assert_says("--map 3,4: there are to be 4 channels");
}
