//! Control messages to and fro, on either kind of encrypted link.

use std::io;

use quinn::{Connection, RecvStream, SendStream};

use super::control::{self, Message};
use super::{RecordReader, TlsWriter};
use crate::trust::{EXPORTER_LABEL, Exporter};

/// Both directions of what is said before packets pass.
pub(crate) enum Conversation<'a> {
    Quic { connection: &'a Connection, to: &'a mut SendStream, from: &'a mut RecvStream },
    Tls { to: &'a mut TlsWriter, from: &'a mut RecordReader },
}

impl Conversation<'_> {
    /// Says something.
    pub async fn say(&mut self, message: &Message) -> io::Result<()> {
        match self {
            Conversation::Quic { to, .. } => Ok(to.write_all(&message.record()).await?),
            Conversation::Tls { to, .. } => to.send(&message.json()).map(drop),
        }
    }

    /// Waits for the other side; `None` where it says what is no message.
    pub async fn hear(&mut self) -> io::Result<Option<Message>> {
        match self {
            Conversation::Quic { from, .. } => read_message(from).await,
            Conversation::Tls { from, .. } => Ok(Message::parse(&from.next().await?)),
        }
    }

    /// What only the two ends of this connection know.
    pub fn exporter(&self) -> io::Result<Exporter> {
        match self {
            Conversation::Quic { connection, .. } => {
                let mut exporter = Exporter::default();
                let exported = connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"");
                exported.map(|()| exporter).map_err(|_| io::Error::other("no keying material"))
            }
            Conversation::Tls { from, .. } => from.exporter().map_err(io::Error::other),
        }
    }
}

/// Waits for the next message of a QUIC stream; `None` where it is none.
pub(super) async fn read_message(stream: &mut RecvStream) -> io::Result<Option<Message>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(io::Error::other)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > control::BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(io::Error::other)?;
    Ok(Message::parse(&bytes))
}
