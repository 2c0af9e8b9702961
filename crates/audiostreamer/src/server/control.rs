//! What can be changed while a server runs.

use audiostreamer_core::playout::{Latency, Profile};
use tokio::sync::mpsc;

use super::connections::Connections;
use super::{Peer, Server, remember};
use crate::clock;
use crate::report::Report;
use crate::volume::Volume;

/// Commands on their way to a server: far more than a person types between two looks.
const COMMANDS_MAX: usize = 16;

/// One of the streams that play, as [`StreamStatus`](super::StreamStatus) names it. No two streams
/// of one server have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// One change. What names a stream that has gone changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are what the variants say")]
pub enum Command {
    /// The playout delay of all streams, from now on and without a break.
    Latency(Latency),
    /// What the automatic delay of all streams is for, likewise.
    Profile(Profile),
    /// How loud a stream is played. A client that is known by a key is as loud when it comes back.
    Volume { stream: StreamId, volume: Volume },
    /// Sends a client away. Where it is known by a key it is told so, and does not come back by
    /// itself; otherwise what it goes on sending is not played.
    Kick { stream: StreamId },
}

/// Commands a running server. Clones command the same one.
#[derive(Clone, Debug)]
pub struct Remote(mpsc::Sender<Command>);

/// The other end of a [`Remote`], for [`run_with`](super::run_with).
#[derive(Debug)]
pub struct Commands(Option<mpsc::Receiver<Command>>);

impl Remote {
    /// A remote, and what the server listens to.
    pub fn new() -> (Remote, Commands) {
        let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
        (Remote(sender), Commands(Some(receiver)))
    }

    /// Sends a command; one that finds the server busy with others, or gone, is dropped.
    pub fn send(&self, command: Command) {
        let _ = self.0.try_send(command);
    }
}

impl Commands {
    /// Of a server that nobody commands.
    pub fn none() -> Self {
        Self(None)
    }

    /// The next one, if there is one already.
    pub fn try_next(&mut self) -> Option<Command> {
        self.0.as_mut()?.try_recv().ok()
    }

    /// Waits for the next one: for ever, where nobody commands any more.
    pub(super) async fn next(&mut self) -> Command {
        if let Some(receiver) = &mut self.0
            && let Some(command) = receiver.recv().await
        {
            return command;
        }
        self.0 = None;
        std::future::pending().await
    }
}

impl<R: Fn(Report)> Server<R> {
    pub(super) fn handle_command(&mut self, connections: &mut Connections, command: Command) {
        match command {
            Command::Latency(latency) => self.config.latency = latency,
            Command::Profile(profile) => self.config.profile = profile,
            Command::Volume { stream, volume } => {
                if let Some(known) = self.streams.iter_mut().find(|known| known.id == stream) {
                    known.volume = volume;
                    self.volumes.retain(|(peer, _)| !peer.is_same_client(&known.peer()));
                    remember(&mut self.volumes, (known.peer(), volume));
                }
            }
            Command::Kick { stream } => self.kick(connections, stream),
        }
        if let Some(output) = &mut self.output {
            (output.latency, output.profile) = (self.config.latency, self.config.profile);
            self.streams.iter_mut().for_each(|stream| stream.change(output));
        }
    }

    fn kick(&mut self, connections: &mut Connections, stream: StreamId) {
        let Some(index) = self.streams.iter().position(|known| known.id == stream) else { return };
        let stream = &mut self.streams[index];
        let peer = stream.peer();
        stream.say_goodbye(clock::now(), &mut self.packet);
        remember(&mut self.kicked, (peer, stream.source));
        connections.kick(&peer);
        self.finish_streams(&peer, "has been sent away");
        self.end_stream(index, "has been sent away"); // what it has sent is not waited for
    }

    pub(super) fn is_kicked(&self, peer: &Peer, source: Option<u32>) -> bool {
        self.kicked.iter().any(|(kicked, of)| *of == source && kicked.is_same_client(peer))
    }
}
