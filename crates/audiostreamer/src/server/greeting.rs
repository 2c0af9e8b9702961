//! From a stranger's first bytes to a client that may play: handshake, key, hello, decision. Each
//! stranger is met by a task of its own, which then reads what it sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audiostreamer_core::framing;
use quinn::{Connection, Incoming, SendStream};
use rustls::ServerConnection;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use super::admission::{Limits, Permit};
use super::connections::ConnectionEvent;
use super::peer::Peer;
use crate::link::control::{Message, Refusal, VERSION};
use crate::link::tls::TlsStream;
use crate::link::{Conversation, Link, RecordReader, TlsWriter, Transport, mismatch, quic, shared};
use crate::trust::{Admission, Exchange, Fingerprint, Gate, tls};

/// A client that is refused is given so long to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all of these tasks share.
pub(super) struct Greeter {
    pub gate: Gate,
    pub tls: Arc<rustls::ServerConfig>,
    pub limits: Limits,
    pub events: Sender<ConnectionEvent>,
}

/// One stranger.
pub(super) struct Stranger {
    pub id: u64,
    pub address: SocketAddr,
    /// Given back when it is a client, or gone.
    pub _permit: Permit,
}

/// Why a stranger is not let in, as far as that is worth a word.
struct Rejected(Option<String>);

impl Greeter {
    /// Meets who has sent the first packet of a QUIC connection.
    pub async fn greet_quic(self: Arc<Self>, incoming: Incoming, stranger: Stranger) {
        let address = stranger.address;
        let met = timeout(self.limits.handshake_time, self.meet_quic(incoming, stranger)).await;
        match met {
            Ok(Ok((connection, _stream, peer))) => self.read_quic(&connection, peer).await,
            Ok(Err(Rejected(why))) => self.tell_rejected(address, why).await,
            Err(_) => self.tell_rejected(address, None).await,
        }
    }

    /// Meets who has opened a TCP connection.
    pub async fn greet_tcp(self: Arc<Self>, socket: TcpStream, stranger: Stranger) {
        let address = stranger.address;
        let met = timeout(self.limits.handshake_time, self.meet_tcp(socket, stranger)).await;
        match met {
            Ok(Ok((reader, peer))) => self.read_tls(reader, peer).await,
            Ok(Err(Rejected(why))) => self.tell_rejected(address, why).await,
            Err(_) => self.tell_rejected(address, None).await,
        }
    }

    async fn meet_quic(
        &self,
        incoming: Incoming,
        stranger: Stranger,
    ) -> Result<(Connection, SendStream, Peer), Rejected> {
        let connecting = incoming.accept().map_err(silently)?;
        let connection = connecting.await.map_err(silently)?;
        let certificates = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'_>>>().ok());
        let key = tls::key_of(&certificates.unwrap_or_default()).map_err(silently)?;
        let (mut to, mut from) = connection.accept_bi().await.map_err(silently)?;
        let peer = stranger.peer(Transport::Udp, key);
        let talk = Conversation::Quic { connection: &connection, to: &mut to, from: &mut from };
        match self.decide(key, talk).await.map_err(silently)? {
            Ok(LetIn { admission, proof, duplex }) => {
                let link = shared(Link::Quic(connection.clone()));
                self.tell(ConnectionEvent::Opened { peer, link, admission, duplex }).await;
                to.write_all(&Message::Accepted { proof }.record()).await.map_err(silently)?;
                Ok((connection, to, peer))
            }
            Err((reason, why)) => {
                to.write_all(&Message::Refused { reason }.record()).await.map_err(silently)?;
                let _ = to.finish();
                let _ = timeout(LAST_WORDS, connection.closed()).await;
                connection.close(quic::REFUSED.into(), b"");
                Err(Rejected(Some(why)))
            }
        }
    }

    async fn meet_tcp(&self, socket: TcpStream, stranger: Stranger) -> Result<(RecordReader, Peer), Rejected> {
        if !begins_with_tls(&socket).await {
            turn_away(socket).await;
            return Err(Rejected(None));
        }
        let session = ServerConnection::new(self.tls.clone()).map_err(silently)?;
        let stream = TlsStream::handshake(socket, session.into(), self.limits.handshake_bytes).await;
        let stream = Arc::new(stream.map_err(|_| Rejected(None))?);
        let key = stream.peer_key().map_err(silently)?;
        let mut writer = TlsWriter::new(stream.clone());
        let mut reader = RecordReader::new(stream.clone(), self.limits.handshake_bytes);
        let peer = stranger.peer(Transport::Tcp, key);
        let talk = Conversation::Tls { to: &mut writer, from: &mut reader };
        match self.decide(key, talk).await.map_err(silently)? {
            Ok(LetIn { admission, proof, duplex }) => {
                writer.send(&Message::Accepted { proof }.json()).map_err(silently)?;
                let link = shared(Link::Tls(writer));
                self.tell(ConnectionEvent::Opened { peer, link, admission, duplex }).await;
                reader.lift_limit();
                Ok((reader, peer))
            }
            Err((reason, why)) => {
                writer.send(&Message::Refused { reason }.json()).map_err(silently)?;
                // Whoever is told closes; a reset would overtake the message.
                let _ = timeout(LAST_WORDS, reader.next()).await;
                Err(Rejected(Some(why)))
            }
        }
    }

    /// Decides on who has shown `key`. An error is a connection that has broken.
    async fn decide(&self, key: Fingerprint, mut talk: Conversation<'_>) -> io::Result<Decision> {
        let hello = match talk.hear().await? {
            Some(Message::Hello(hello)) if hello.version() == VERSION => hello,
            _ => return Ok(refused(Refusal::Version, key)),
        };
        let duplex = hello.duplex();
        if let Some(message) = hello.pair() {
            let paired = self.pair(key, message, talk).await?;
            return Ok(paired.map(|let_in| LetIn { duplex, ..let_in }));
        }
        let gate = self.gate.clone();
        let decided = off_the_runtime(move || gate.admit(key, hello.token().as_ref())).await;
        Ok(match decided {
            Ok(Ok(admission)) => Ok(LetIn { admission, proof: None, duplex }),
            Ok(Err(refusal)) => refused(refusal, key),
            Err(error) => Err((Refusal::UnknownKey, error.to_string())),
        })
    }

    /// Lets in who knows the code, and shows him that we know it.
    async fn pair(&self, key: Fingerprint, message: &str, mut talk: Conversation<'_>) -> io::Result<Decision> {
        let Some(list) = self.gate.list.clone() else { return Ok(refused(Refusal::NoPairing, key)) };
        let taken = {
            let list = list.clone();
            off_the_runtime(move || list.take_code()).await
        };
        let (code, name) = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) => return Ok(refused(Refusal::NoPairing, key)),
            Err(error) => return Ok(Err((Refusal::NoPairing, error.to_string()))),
        };
        let (exchange, answer) = Exchange::server(&code, talk.exporter()?);
        let Some(proofs) = exchange.finish(message) else { return Ok(refused(Refusal::WrongCode, key)) };
        talk.say(&Message::Pair { message: answer }).await?;
        match talk.hear().await? {
            Some(Message::Proof { proof }) if proofs.is_of_client(&proof) => {}
            _ => return Ok(refused(Refusal::WrongCode, key)),
        }
        let paired = {
            let name = name.clone();
            off_the_runtime(move || list.pair(&name, key)).await
        };
        Ok(match paired {
            Ok(()) => {
                let (admission, proof) = (Admission::Invited(name), Some(proofs.of_server()));
                Ok(LetIn { admission, proof, duplex: false })
            }
            Err(error) => Err((Refusal::NoPairing, error.to_string())),
        })
    }

    async fn read_quic(&self, connection: &Connection, peer: Peer) {
        while let Ok(datagram) = connection.read_datagram().await {
            self.tell(ConnectionEvent::Bytes { peer, bytes: datagram.to_vec() }).await;
        }
        self.tell(ConnectionEvent::Closed { peer }).await;
    }

    async fn read_tls(&self, mut reader: RecordReader, peer: Peer) {
        while let Ok(bytes) = reader.next().await {
            if !Message::is_meant(&bytes) {
                self.tell(ConnectionEvent::Bytes { peer, bytes }).await;
            }
        }
        self.tell(ConnectionEvent::Closed { peer }).await;
    }

    async fn tell_rejected(&self, address: SocketAddr, why: Option<String>) {
        self.tell(ConnectionEvent::Rejected { address, why }).await;
    }

    async fn tell(&self, event: ConnectionEvent) {
        let _ = self.events.send(event).await; // the server has gone: then so do we, soon
    }
}

/// That somebody is let in; or why not, for the client in a word, and for our user in a sentence.
type Decision = Result<LetIn, (Refusal, String)>;

/// Why somebody is let in, and what he wants.
struct LetIn {
    admission: Admission,
    /// Where he has asked for one.
    proof: Option<String>,
    /// Whether he would hear us, too.
    duplex: bool,
}

fn refused(refusal: Refusal, key: Fingerprint) -> Decision {
    Err((refusal, format!("{} (key {key})", reason(refusal))))
}

/// Reads and writes files, which may take longer than sound can wait.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => std::future::pending().await, // the runtime ends, and this task with it
    }
}

impl Stranger {
    fn peer(&self, transport: Transport, key: Fingerprint) -> Peer {
        Peer::Connection { id: self.id, address: self.address, transport, key: Some(key) }
    }
}

/// What breaks before anybody has said who he is: weather.
fn silently(error: impl std::fmt::Display) -> Rejected {
    tracing::debug!(%error, "a handshake came to nothing");
    Rejected(None)
}

/// For the server's user.
fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownKey => "it is not on the list and has no invite; `audiostreamer invite` makes one",
        Refusal::UnknownToken => "it shows an invite that was never made here",
        Refusal::ExpiredToken => "its invite has expired",
        Refusal::RevokedToken => "its invite has been revoked",
        Refusal::RevokedKey => "its key has been taken off the list",
        Refusal::Kicked => "it has been sent away",
        Refusal::NoPairing => "it has a code, but none is open; `audiostreamer pair` shows one",
        Refusal::WrongCode => "it has a wrong code",
        Refusal::Version | Refusal::Other => "it speaks another version of the protocol",
    }
}

/// Looks at the first bytes without taking them.
async fn begins_with_tls(socket: &TcpStream) -> bool {
    let mut first = [0; 2];
    loop {
        match socket.peek(&mut first).await {
            Ok(2) => return mismatch::is_tls(&first),
            Ok(1) => sleep(Duration::from_millis(10)).await, // the other one will come, or time runs out
            _ => return false,
        }
    }
}

/// Tells a client of plain RTP what is wrong; anybody else nothing.
async fn turn_away(mut socket: TcpStream) {
    let mut bytes = [0; 1024];
    let Ok(length @ 3..) = socket.read(&mut bytes).await else { return };
    if mismatch::is_rtp(bytes[2]) {
        let mut record = Vec::new();
        framing::frame(&mismatch::encrypted_only(), &mut record);
        if record.len() <= length && socket.try_write(&record).is_ok() {
            let _ = timeout(LAST_WORDS, async { while let Ok(1..) = socket.read(&mut bytes).await {} }).await;
        }
    }
}
