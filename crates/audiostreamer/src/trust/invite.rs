//! An invite: one line that holds all a client needs, where the server is, its key, and a token.

use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ring::rand::{SecureRandom, SystemRandom};

use super::{Error, Fingerprint};

/// 128 random bits: whoever shows them is let in. The server keeps only their hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 16]);

impl Token {
    /// A new one.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| Error::Key { why: "the system gives no random numbers".into() })?;
        Ok(Self(bytes))
    }

    /// What the server keeps. A plain hash is enough: nobody can try 2^128 tokens.
    pub(super) fn hash(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// As it is written in an invite and on the wire.
    pub fn secret(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)") // logs carry no tokens
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or_else(|| "the token is not whole".into())
    }
}

/// `audiostreamer://HOST:PORT/?key=FINGERPRINT&token=TOKEN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The server: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The key that it must show.
    pub key: Fingerprint,
    /// What lets the client in.
    pub token: Token,
}

const SCHEME: &str = "audiostreamer://";

impl Invite {
    /// Whether the text is meant as one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invite { host, port, key, token } = self;
        let address = crate::report::host_port(host, *port);
        write!(f, "{SCHEME}{address}/?key={}&token={}", key.compact(), token.secret())
    }
}

impl FromStr for Invite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| format!("an invite begins with {SCHEME}"))?;
        let (address, query) = rest.split_once("/?").ok_or("the invite is not whole: no key and no token")?;
        let (host, port) = crate::cli::values::host_port(address, crate::link::DEFAULT_PORT)?;
        let field = |name: &str| {
            let mut fields = query.split('&').filter_map(|field| field.split_once('='));
            let value = fields.find(|(field, _)| *field == name).map(|(_, value)| value);
            value.ok_or_else(|| format!("the invite is not whole: no {name}"))
        };
        Ok(Self { host, port, key: field("key")?.parse()?, token: field("token")?.parse()? })
    }
}

/// The address of this machine that others are most likely to reach it by. Nothing is sent: the
/// kernel is asked for its route only.
pub fn own_address() -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): far away, and nobody's.
    let routes = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    routes.iter().find_map(|(any, far)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(far).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
    })
}

/// As a picture for a terminal: two rows of it in each line of text, black on white whatever the
/// terminal's own colours are, because many cameras don't read the reverse.
pub fn qr_code(text: &str) -> Option<String> {
    let code = qrcode::QrCode::with_error_correction_level(text, qrcode::EcLevel::L).ok()?;
    let picture = code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build();
    Some(picture.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m\n")).collect())
}

/// The same token for the same seed.
#[cfg(test)]
pub(super) fn token_of(seed: &str) -> Token {
    Token(super::fingerprint::sha256(seed.as_bytes())[..16].try_into().expect("16 of 32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(host: &str) -> Invite {
        Invite { host: host.into(), port: 6000, key: Fingerprint::of(b"key"), token: token_of("token") }
    }

    #[test]
    fn an_invite_reads_back() {
        for host in ["studio.local", "192.168.1.20", "fe80::1"] {
            let invite = invite(host);
            assert_eq!(invite.to_string().parse(), Ok(invite));
        }
    }

    #[test]
    fn half_an_invite_is_refused_at_every_length() {
        let whole = invite("studio").to_string();
        for end in 0..whole.len() {
            assert!(whole[..end].parse::<Invite>().is_err(), "{}", &whole[..end]);
        }
    }

    #[test]
    fn a_token_is_never_shown_by_accident() {
        let invite = invite("studio");
        assert!(!format!("{invite:?}").contains(&invite.token.secret()));
    }

    #[test]
    fn an_invite_fits_a_terminal_as_a_picture() {
        let picture = qr_code(&invite("192.168.100.200").to_string()).unwrap();
        assert!(picture.lines().count() <= 35, "{picture}");
    }
}
