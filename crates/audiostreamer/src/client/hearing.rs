//! What servers send back over our own links is played by a server of ours, without a socket.

use std::pin::Pin;
use std::sync::Mutex;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;

use crate::link::{Link, SharedLink};
use crate::report::{Event, Report};
use crate::server::{self, Arrival, Peer, Status};
use crate::trust::Fingerprint;

/// Packets on their way to where they are played: 5 s of the shortest that are usual. What is too much
/// is lost.
const WAITING_MAX: usize = 1024;

/// Where what comes back goes, where it is wanted.
pub(super) type Arrivals = Option<Sender<Arrival>>;

/// Plays what arrives, for as long as it is polled, and keeps `heard` true.
pub(super) fn start(
    config: Option<Box<server::Config>>,
    heard: watch::Sender<Option<Box<Status>>>,
    report: impl Fn(Report) + Send + Clone + 'static,
) -> (Arrivals, Pin<Box<dyn Future<Output = ()>>>) {
    let Some(config) = config else { return (None, Box::pin(std::future::pending())) };
    let (arrivals, inbox) = channel(WAITING_MAX);
    (Some(arrivals), Box::pin(hear(*config, inbox, heard, report)))
}

async fn hear(
    config: server::Config,
    inbox: Receiver<Arrival>,
    heard: watch::Sender<Option<Box<Status>>>,
    report: impl Fn(Report) + Send + Clone + 'static,
) {
    let tell = {
        let report = report.clone();
        move |told| match told {
            Report::Server(status) => drop(heard.send_replace(Some(Box::new(status)))),
            Report::Event(event) => _ = as_heard(event).map(|event| report(Report::Event(event))),
            Report::Client(_) => {}
        }
    };
    if let Err(error) = server::run_over_links(config, inbox, tell, std::future::pending()).await {
        report(Report::Event(Event::HalfEnded { half: "nothing is heard", why: error.to_string() }));
    }
    std::future::pending::<()>().await // the other half goes on
}

/// What happens at a server, in the words of one who hears it.
fn as_heard(event: Event) -> Option<Event> {
    match event {
        Event::ClientStarted { peer, format, .. } => Some(Event::Hearing { peer, format }),
        Event::ClientEnded { peer, why } => Some(Event::HearingEnded { peer, why }),
        Event::Listening { .. } | Event::Played(_) => None,
        event => Some(event),
    }
}

/// Passes on what one destination sends back.
pub(super) struct Hearing {
    arrivals: Arrivals,
    /// It is the same to us over every link that has proved its key.
    key: Option<Fingerprint>,
    /// The link in use, and how many there have been.
    way: Mutex<(Option<(Peer, SharedLink)>, u64)>,
}

impl Hearing {
    pub fn new(peer: &str, encrypted: bool, arrivals: Arrivals) -> Self {
        Self { arrivals, key: encrypted.then(|| Fingerprint::of(peer.as_bytes())), way: Mutex::default() }
    }

    /// There is a link now.
    pub fn begin(&self, link: &SharedLink) {
        let look = |link: &Link| Some((link.address()?, link.transport()));
        let Some((address, transport)) = link.lock().ok().and_then(|link| look(&link)) else { return };
        let Ok(mut way) = self.way.lock() else { return };
        way.1 += 1;
        let peer = Peer::Connection { id: way.1, address, transport, key: self.key };
        way.0 = Some((peer, link.clone()));
    }

    pub fn handle_packet(&self, bytes: &[u8]) {
        if let (Some(arrivals), Ok(way)) = (&self.arrivals, self.way.lock())
            && let Some((peer, link)) = &way.0
        {
            let arrival = Arrival { peer: *peer, bytes: bytes.to_vec(), link: link.clone() };
            let _ = arrivals.try_send(arrival); // what there is no room for is lost, and concealed
        }
    }
}
