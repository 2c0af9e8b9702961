//! What both ends say to each other on an encrypted link before sound is let through.
//!
//! Each message is a JSON object in a record of RFC 4571 (a length of 16 bits before it): on the
//! one stream of a QUIC connection, or on TLS among the packets, from which its first byte tells it
//! apart (`{` is 123; RTP and RTCP begin with 128 to 191, RFC 7983). Fields that are not known are
//! passed over, so that later versions may add some.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::trust::Token;

/// The version of what is said here. A peer that speaks only others is refused.
pub const VERSION: u16 = 1;

/// The longest message that is read. Nobody who has not been let in may make us keep more.
pub const BYTES_MAX: usize = 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The client's first: may I?
    Hello(Hello),
    /// The server's answer: media may follow.
    Accepted {
        /// That it knows the code, where a code was typed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// The server's part of a pairing (SPAKE2).
    Pair {
        /// Its message.
        message: String,
    },
    /// The client's, that it knows the code.
    Proof {
        /// Bound to this connection.
        proof: String,
    },
    /// The server's answer: none may.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// What a client says of itself. Its key it has shown in the handshake.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    version: u16,
    /// From an invite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The client's part of a pairing (SPAKE2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pair: Option<String>,
    /// Whether it would hear the server, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    duplex: bool,
}

/// Why a client is not let in. Only these words travel: text from a stranger is never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Neither the key nor a token is known.
    #[error("this machine's key is not on the server's list")]
    UnknownKey,
    /// No invite had that token.
    #[error("the server knows no such invite")]
    UnknownToken,
    /// The invite was good once.
    #[error("the invite has expired")]
    ExpiredToken,
    /// The invite was taken back.
    #[error("the invite has been revoked")]
    RevokedToken,
    /// The key was taken off the list while we were connected.
    #[error("this machine's key has been taken off the server's list")]
    RevokedKey,
    /// Whoever runs the server has sent us away.
    #[error("whoever runs the server has ended the connection")]
    Kicked,
    /// A code was typed, and the server has none at the moment.
    #[error("the server has shown no code, or all tries are used up")]
    NoPairing,
    /// The code was another one.
    #[error("the code is wrong")]
    WrongCode,
    /// Another version of all this.
    #[error("the server speaks another version of the protocol")]
    Version,
    /// Something that this version does not know.
    #[error("the server refuses, and its reason is not known here: it may be a newer version")]
    #[serde(other)]
    Other,
}

impl Hello {
    /// A client's first message.
    pub fn new(token: Option<&Token>) -> Self {
        Self { version: VERSION, token: token.map(Token::secret), pair: None, duplex: false }
    }

    /// That of a client at which a code was typed.
    pub fn pairing(message: String) -> Self {
        Self { version: VERSION, token: None, pair: Some(message), duplex: false }
    }

    /// The same of a client that would hear the server, too, where `duplex`.
    pub fn hearing(self, duplex: bool) -> Self {
        Self { duplex, ..self }
    }

    /// Whether the client would hear the server, too.
    pub fn duplex(&self) -> bool {
        self.duplex
    }

    /// The client's part of a pairing, where it wants one.
    pub fn pair(&self) -> Option<&str> {
        self.pair.as_deref()
    }

    /// What the client speaks.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The token, where there is a whole one.
    pub fn token(&self) -> Option<Token> {
        self.token.as_ref()?.parse().ok()
    }
}

/// Without the token: logs carry none.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, token, pair, duplex } = self;
        let (token, pair) = (token.is_some(), pair.is_some());
        let mut shown = f.debug_struct("Hello");
        shown.field("version", version).field("token", &token).field("pair", &pair).field("duplex", duplex).finish()
    }
}

impl Message {
    /// Looks at any bytes.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        serde_json::from_slice(bytes.get(..BYTES_MAX.min(bytes.len()))?).ok()
    }

    /// As it is said.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("words and numbers only")
    }

    /// As a record for a stream that knows none of its own.
    pub fn record(&self) -> Vec<u8> {
        let mut record = Vec::new();
        audiostreamer_core::framing::frame(&self.json(), &mut record);
        record
    }

    /// Whether a record on TLS is one, rather than a packet.
    pub fn is_meant(record: &[u8]) -> bool {
        record.first() == Some(&b'{')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back() {
        let token = "MFRGGZDFMZTWQ2LKNNWG23TPOA".parse().unwrap();
        let messages = [
            Message::Hello(Hello::new(Some(&token))),
            Message::Hello(Hello::new(None)),
            Message::Accepted { proof: None },
            Message::Accepted { proof: Some("A".into()) },
            Message::Hello(Hello::pairing("A".into())),
            Message::Hello(Hello::new(None).hearing(true)),
            Message::Pair { message: "A".into() },
            Message::Proof { proof: "A".into() },
            Message::Refused { reason: Refusal::ExpiredToken },
        ];
        for message in messages {
            let record = message.record();
            assert!(Message::is_meant(&record[2..]));
            assert_eq!(usize::from(u16::from_be_bytes([record[0], record[1]])), record.len() - 2);
            assert_eq!(Message::parse(&record[2..]), Some(message));
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let hello = br#"{"hello":{"version":2,"colour":"blue"}}"#;
        assert_eq!(Message::parse(hello), Some(Message::Hello(Hello { version: 2, ..Hello::new(None) })));
        assert!(!String::from_utf8(Message::Hello(Hello::new(None)).json()).unwrap().contains("duplex"));
        let refused = br#"{"refused":{"reason":"full-moon"}}"#;
        assert_eq!(Message::parse(refused), Some(Message::Refused { reason: Refusal::Other }));
    }

    #[test]
    fn any_other_bytes_are_no_message() {
        let long = format!("{{\"hello\":{{\"version\":1,\"token\":\"{}\"}}}}", "A".repeat(BYTES_MAX));
        for bad in ["", "{", "{}", "[]", "{\"hello\":{}}", "{\"shell\":{\"run\":\"rm\"}}", &long] {
            assert_eq!(Message::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
