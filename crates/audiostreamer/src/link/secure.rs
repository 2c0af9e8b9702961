//! A client's encrypted link, from the first packet of the handshake to its end: over UDP as QUIC,
//! over TCP as TLS. The same three steps in both: is it the right server, does it let us in, packets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection};
use socket2::SockRef;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::connect::{Ended, LinkEvent, Never, any_address};
use super::control::{Hello, Message, Refusal};
use super::conversation::read_message;
use super::tls::{HandshakeError, TlsStream, TlsWriter};
use super::{Conversation, Credentials, Link, RecordReader, Via, bind, quic, standstill};
use crate::clock;
use crate::error::Error;
use crate::trust::{AuthError, Code, Exchange, Fingerprint, tls};

/// How long a handshake may take: two round trips with QUIC's Retry. In 1.5 s the first packet is
/// sent at 0, 0.3 and 0.9 s, and the next attempt follows at once, so that a server that comes
/// back is found within 0.7 s.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(1500);

/// And then the server's answer whether we may.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Looks whether the server is still heard.
const LOOK: Duration = Duration::from_millis(50);

/// A server is asked every 300 ms (`quic::KEEP_ALIVE`), and answers each packet of sound within
/// 25 ms. When nothing has come for so long, the path is suspect ...
const SUSPECT: Duration = Duration::from_millis(500);
/// ... and after this given up: a fresh connection finds its way sooner than an old one returns.
const GIVEN_UP: Duration = Duration::from_millis(1500);

/// One address of a server.
pub(super) struct Peer<'a> {
    /// As the user wrote it, with its port: what its key is kept under.
    pub name: String,
    pub address: SocketAddr,
    pub via: &'a Via,
    pub credentials: &'a Credentials,
    /// Whether we would hear it, too.
    pub duplex: bool,
}

impl Peer<'_> {
    /// Over UDP, until the connection ends.
    pub async fn run_quic(&self, handle: &impl Fn(LinkEvent)) -> Result<Never, Ended> {
        let (config, seen, expected) = self.tls_config()?;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).map_err(broken)?));
        config.transport_config(quic::transport());
        let socket = bind(any_address(self.address))?;
        self.via.bind(SockRef::from(&socket))?;
        let endpoint = quic::client(&self.credentials.identity, socket)?;
        let connecting = endpoint.connect_with(config, self.address, tls::SERVER_NAME).map_err(broken)?;
        let connection = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
            Err(_) => return Err(Ended::Broken("no answer".into())),
            Ok(Err(error)) => return Err(self.quic_error(&error, expected, seen.key())),
            Ok(Ok(connection)) => connection,
        };
        let (mut to, mut from) = connection.open_bi().await.map_err(broken)?;
        let talk = Conversation::Quic { connection: &connection, to: &mut to, from: &mut from };
        let asked = self.ask(talk).await.map_err(|ended| self.closed(ended, &connection, expected, &seen))?;
        // The server is the right one. Whether it lets us in it says while the first sound travels,
        // which is not played if it does not: so nobody waits for a round trip more.
        handle(LinkEvent::Up(Link::Quic(connection.clone())));
        let refused = async {
            match self.answer(asked, read_message(&mut from), seen.key(), handle).await {
                Ok(()) => std::future::pending().await,
                Err(ended) => ended,
            }
        };
        let closed = tokio::select! {
            biased;
            ended = refused => return Err(self.closed(ended, &connection, expected, &seen)),
            closed = pass_datagrams(&connection, handle) => closed,
            () = watch(&connection, handle) => return Err(Ended::Broken("no answer".into())),
        };
        // Both halves of the stream lived as long as the connection.
        drop((to, from));
        Err(self.quic_error(&closed, expected, seen.key()))
    }

    /// Over TCP, until the connection ends. One that stands still is replaced.
    pub async fn run_tls(&self, handle: &impl Fn(LinkEvent)) -> Result<Never, Ended> {
        let (mut tls, writer) = self.open_tls().await?;
        handle(LinkEvent::Up(Link::Tls(writer)));
        loop {
            let stream = tls.stream.clone();
            let (fresh, writer) = tokio::select! {
                ended = self.read_tls(&mut tls, handle) => return ended,
                fresh = standstill::replace(stream.socket(), || self.open_tls()) => fresh,
            };
            tls = fresh;
            handle(LinkEvent::Replaced(Link::Tls(writer)));
            tokio::spawn(async move { standstill::retire(stream.socket()).await });
        }
    }

    /// As far as to where packets may be sent.
    async fn open_tls(&self) -> Result<(Tls, TlsWriter), Ended> {
        let (config, seen, expected) = self.tls_config()?;
        let socket = standstill::connect(self.address, self.via).await?;
        let name = ServerName::try_from(tls::SERVER_NAME).expect("it is a name");
        let session = ClientConnection::new(config, name).map_err(broken)?;
        let stream = match timeout(ANSWER_TIMEOUT, TlsStream::handshake(socket, session.into(), usize::MAX)).await {
            Err(_) => return Err(Ended::Broken("no answer".into())),
            Ok(Err(HandshakeError::Io(error))) if is_closing(&error) => return Err(Ended::TurnedAway),
            Ok(Err(HandshakeError::Io(error))) => return Err(error.into()),
            Ok(Err(HandshakeError::Tls(error))) => return Err(self.tls_error(&error, expected, seen.key())),
            Ok(Ok(stream)) => Arc::new(stream),
        };
        let mut writer = TlsWriter::new(stream.clone());
        let mut reader = RecordReader::new(stream.clone(), usize::MAX);
        let asked = self.ask(Conversation::Tls { to: &mut writer, from: &mut reader }).await?;
        Ok((Tls { stream, reader, asked, key: seen.key() }, writer))
    }

    async fn read_tls(&self, tls: &mut Tls, handle: &impl Fn(LinkEvent)) -> Result<Never, Ended> {
        let asked = std::mem::replace(&mut tls.asked, Asked::Accepted);
        self.answer(asked, next_message(&mut tls.reader, handle), tls.key, handle).await?;
        loop {
            let message = next_message(&mut tls.reader, handle).await?;
            self.handle_message(message)?;
        }
    }

    fn tls_config(&self) -> Result<(Arc<rustls::ClientConfig>, tls::Seen, Option<Fingerprint>), Ended> {
        let expected = self.credentials.expected(&self.name).map_err(Ended::Failed)?;
        let (config, seen) = tls::client(&self.credentials.identity, expected).map_err(broken)?;
        Ok((config, seen, expected))
    }

    /// Asks to be let in. Where a code was typed, only that proves that it is the right server, and so
    /// the answer is waited for.
    async fn ask(&self, mut talk: Conversation<'_>) -> Result<Asked, Ended> {
        let asking = async {
            let Some(code) = self.credentials.code.current() else {
                let hello = Hello::new(self.credentials.token.as_ref()).hearing(self.duplex);
                talk.say(&Message::Hello(hello)).await?;
                return Ok(Asked::Unanswered);
            };
            self.pair(&mut talk, &code).await.map(|()| Asked::Accepted)
        };
        timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Waits for the server's answer, and keeps its key.
    async fn answer(
        &self,
        asked: Asked,
        answer: impl Future<Output = io::Result<Option<Message>>>,
        key: Option<Fingerprint>,
        handle: &impl Fn(LinkEvent),
    ) -> Result<(), Ended> {
        if let Asked::Unanswered = asked {
            let answer = timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| no_answer())??;
            self.accepted(answer)?;
        }
        let key = key.ok_or_else(no_answer)?;
        if self.credentials.remember(&self.name, key).map_err(Ended::Failed)? {
            handle(LinkEvent::Met(key));
        }
        Ok(())
    }

    /// Proves that our user knows the code, and has the server prove the same.
    async fn pair(&self, talk: &mut Conversation<'_>, code: &Code) -> Result<(), Ended> {
        let impostor = || self.failed(AuthError::NotThePaired { peer: self.name.clone() });
        let (exchange, message) = Exchange::client(code, talk.exporter()?);
        talk.say(&Message::Hello(Hello::pairing(message).hearing(self.duplex))).await?;
        let proofs = match talk.hear().await? {
            Some(Message::Pair { message }) => exchange.finish(&message).ok_or_else(impostor)?,
            other => return self.accepted(other).and(Err(impostor())),
        };
        talk.say(&Message::Proof { proof: proofs.of_client() }).await?;
        match self.accepted(talk.hear().await?)? {
            Some(proof) if proofs.is_of_server(&proof) => Ok(()),
            _ => Err(impostor()),
        }
    }

    /// Takes the server's answer, with its proof where it has one.
    fn accepted(&self, answer: Option<Message>) -> Result<Option<String>, Ended> {
        match answer {
            Some(Message::Accepted { proof }) => Ok(proof),
            Some(message @ Message::Refused { .. }) => self.handle_message(Some(message)).map(|()| None),
            _ => Err(no_answer()),
        }
    }

    fn handle_message(&self, message: Option<Message>) -> Result<(), Ended> {
        match message {
            Some(Message::Refused { reason }) => Err(self.failed(self.credentials.refused(&self.name, reason))),
            _ => Ok(()), // of a later version
        }
    }

    /// Why it is over: what the connection itself says of it is more than that it broke.
    fn closed(&self, ended: Ended, connection: &Connection, expected: Option<Fingerprint>, seen: &tls::Seen) -> Ended {
        match (ended, connection.close_reason()) {
            (Ended::Broken(_), Some(error)) => self.quic_error(&error, expected, seen.key()),
            (ended, _) => ended,
        }
    }

    fn quic_error(&self, error: &ConnectionError, expected: Option<Fingerprint>, shown: Option<Fingerprint>) -> Ended {
        if let Some(mistaken) = self.mistaken(expected, shown) {
            return mistaken;
        }
        match (error, quic::ending(error)) {
            (ConnectionError::VersionMismatch, _) => self.is_plain(),
            (error, _) if quic::is_busy(error) => Ended::TurnedAway,
            (_, (_, Some(quic::REFUSED))) => self.failed(self.credentials.refused(&self.name, Refusal::RevokedKey)),
            (_, (_, Some(quic::KICKED))) => self.failed(self.credentials.refused(&self.name, Refusal::Kicked)),
            (_, (why, _)) => Ended::Broken(why),
        }
    }

    fn tls_error(&self, error: &rustls::Error, expected: Option<Fingerprint>, shown: Option<Fingerprint>) -> Ended {
        if let Some(mistaken) = self.mistaken(expected, shown) {
            return mistaken;
        }
        match error {
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => self.is_plain(),
            error => Ended::Broken(format!("it is no audiostreamer: {error}")),
        }
    }

    fn mistaken(&self, expected: Option<Fingerprint>, shown: Option<Fingerprint>) -> Option<Ended> {
        let (expected, shown) = (expected?, shown?);
        (expected != shown).then(|| self.failed(self.credentials.mistaken(&self.name, expected, shown)))
    }

    fn is_plain(&self) -> Ended {
        self.failed(AuthError::ServerIsPlain { peer: self.name.clone() })
    }

    fn failed(&self, error: AuthError) -> Ended {
        Ended::Failed(Error::Auth(error))
    }
}

/// Whether a server that has just accepted a connection has closed it again.
fn is_closing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// A connection on which the server has been asked to let us in.
struct Tls {
    stream: Arc<TlsStream>,
    reader: RecordReader,
    asked: Asked,
    key: Option<Fingerprint>,
}

/// What has come of asking to be let in.
enum Asked {
    Accepted,
    Unanswered,
}

fn no_answer() -> Ended {
    Ended::Broken("no answer to our greeting".into())
}

fn broken(error: impl std::fmt::Display) -> Ended {
    Ended::Broken(error.to_string())
}

/// Passes packets on until there is a message; `None` where it is none that we know.
async fn next_message(reader: &mut RecordReader, handle: &impl Fn(LinkEvent)) -> io::Result<Option<Message>> {
    loop {
        let record = reader.next().await?;
        match Message::is_meant(&record) {
            true => return Ok(Message::parse(&record)),
            false => handle(LinkEvent::Packet(record)),
        }
    }
}

async fn pass_datagrams(connection: &Connection, handle: &impl Fn(LinkEvent)) -> ConnectionError {
    loop {
        match connection.read_datagram().await {
            Ok(bytes) => handle(LinkEvent::Packet(bytes.to_vec())),
            Err(error) => return error,
        }
    }
}

/// Watches whether anything comes; ends when it is time to begin anew.
async fn watch(connection: &Connection, handle: &impl Fn(LinkEvent)) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut received, mut heard, mut suspect) = (0, clock::now(), false);
    loop {
        look.tick().await;
        let (now, datagrams) = (clock::now(), connection.stats().udp_rx.datagrams);
        if datagrams != received {
            (received, heard) = (datagrams, now);
            if std::mem::take(&mut suspect) {
                handle(LinkEvent::Heard);
            }
        }
        // On a very long path answers take their time.
        let patience = 3 * connection.rtt();
        if now - heard > SUSPECT.max(patience) && !std::mem::replace(&mut suspect, true) {
            handle(LinkEvent::Silent);
        }
        if now - heard > GIVEN_UP.max(2 * patience) {
            return;
        }
    }
}
