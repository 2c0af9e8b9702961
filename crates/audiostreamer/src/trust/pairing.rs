//! A short code that somebody reads on the server and types at the client. It is never a key, and
//! never travels: both ends prove to each other that they know it (SPAKE2), once for each guess.
//!
//! The proof is bound to the TLS connection by its exporter (RFC 8446 section 7.5): somebody in the
//! middle has two connections, and so two exporters.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use super::state::damaged;
use super::{Error, State};
use crate::clock;

/// Six digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(u32);

const CODES: u32 = 1_000_000;

impl Code {
    /// A new one.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 8];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| Error::Key { why: "the system gives no random numbers".into() })?;
        Ok(Self((u64::from_be_bytes(bytes) % u64::from(CODES)) as u32)) // of 2^64: no digit is favoured
    }

    fn password(&self) -> Password {
        Password::new(format!("{:06}", self.0))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}-{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

impl FromStr for Code {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.replace(['-', ' '], "");
        let is_whole = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_whole).map(Self).ok_or_else(|| "six digits, like 482-193".into())
    }
}

/// The code that a server accepts at the moment, in a file of its own: `CODE TRIES EXPIRES NAME`.
#[derive(Clone, Debug)]
pub struct Pairing {
    state: State,
}

const FILE: &str = "pairing";

/// Guesses at one code: of a million, three are worth nothing.
const TRIES: u32 = 3;

/// Somebody sits at the other machine now, or starts anew.
const HOLDS: Duration = Duration::from_secs(600);

impl Pairing {
    /// The one in that folder.
    pub fn of(state: &State) -> Self {
        Self { state: state.clone() }
    }

    /// Makes a new code, in place of another that there may be.
    pub fn begin(&self, name: &str) -> Result<Code, Error> {
        let code = Code::random()?;
        let until = clock::unix_seconds() + HOLDS.as_secs();
        let line = format!("{code} {TRIES} {until} {name}\n");
        self.state.update(FILE, |_| Ok((line, ())))?;
        Ok(code)
    }

    /// The code and the name for who knows it, for one guess; `None` where there is no code, or no
    /// guess left. It is counted before it is known how it ends.
    pub(super) fn take(&self) -> Result<Option<(Code, String)>, Error> {
        let path = self.state.path(FILE);
        self.state.update(FILE, |text| {
            let text = text.unwrap_or_default();
            let Some(line) = text.lines().next() else { return Ok((String::new(), None)) };
            let bad = || damaged(&path, Some(1), "not CODE TRIES EXPIRES NAME");
            let (code, tries, until, name) = entry(line).ok_or_else(bad)?;
            if tries == 0 || clock::unix_seconds() >= until {
                return Ok((String::new(), None));
            }
            Ok((format!("{code} {} {until} {name}\n", tries - 1), Some((code, name))))
        })
    }

    /// The code has done its work.
    pub(super) fn end(&self) -> Result<(), Error> {
        self.state.update(FILE, |_| Ok((String::new(), ())))
    }
}

fn entry(line: &str) -> Option<(Code, u32, u64, String)> {
    let mut words = line.split_whitespace();
    let mut next = || words.next();
    Some((next()?.parse().ok()?, next()?.parse().ok()?, next()?.parse().ok()?, next()?.to_owned()))
}

/// One guess, on either side.
pub(crate) struct Exchange {
    spake: Spake2<Ed25519Group>,
    exporter: Exporter,
}

/// What TLS gives both ends of one connection, and nobody else.
pub(crate) type Exporter = [u8; 32];

/// The label by which it is asked for.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER-audiostreamer-pair";

/// What each side shows to the other in the end.
pub(crate) struct Proofs {
    key: hmac::Key,
    exporter: Exporter,
}

impl Exchange {
    /// The client's side, and what it sends.
    pub fn client(code: &Code, exporter: Exporter) -> (Self, String) {
        let [client, server] = identities(&exporter);
        let (spake, message) = Spake2::start_a(&code.password(), &client, &server);
        (Self { spake, exporter }, BASE32_NOPAD.encode(&message))
    }

    /// The server's side, and what it sends.
    pub fn server(code: &Code, exporter: Exporter) -> (Self, String) {
        let [client, server] = identities(&exporter);
        let (spake, message) = Spake2::start_b(&code.password(), &client, &server);
        (Self { spake, exporter }, BASE32_NOPAD.encode(&message))
    }

    /// Takes what the other side has sent; `None` where it makes no sense. Whether the other side
    /// knew the code only its proof tells.
    pub fn finish(self, message: &str) -> Option<Proofs> {
        let message = BASE32_NOPAD.decode(message.as_bytes()).ok()?;
        let key = self.spake.finish(&message).ok()?;
        Some(Proofs { key: hmac::Key::new(hmac::HMAC_SHA256, &key), exporter: self.exporter })
    }
}

fn identities(exporter: &Exporter) -> [Identity; 2] {
    ["client", "server"].map(|side| Identity::new(&[side.as_bytes(), exporter].concat()))
}

impl Proofs {
    /// By the client, that it knows the code.
    pub fn of_client(&self) -> String {
        self.sign("client")
    }

    /// By the server.
    pub fn of_server(&self) -> String {
        self.sign("server")
    }

    pub fn is_of_client(&self, proof: &str) -> bool {
        self.verify("client", proof)
    }

    pub fn is_of_server(&self, proof: &str) -> bool {
        self.verify("server", proof)
    }

    fn sign(&self, side: &str) -> String {
        BASE32_NOPAD.encode(hmac::sign(&self.key, &self.words(side)).as_ref())
    }

    fn verify(&self, side: &str, proof: &str) -> bool {
        let proof = BASE32_NOPAD.decode(proof.as_bytes());
        proof.is_ok_and(|proof| hmac::verify(&self.key, &self.words(side), &proof).is_ok())
    }

    fn words(&self, side: &str) -> Vec<u8> {
        [side.as_bytes(), &self.exporter].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(codes: [&str; 2], exporters: [Exporter; 2]) -> [Proofs; 2] {
        let [typed, shown] = codes.map(|code| code.parse().unwrap());
        let (client, to_server) = Exchange::client(&typed, exporters[0]);
        let (server, to_client) = Exchange::server(&shown, exporters[1]);
        [client.finish(&to_client).unwrap(), server.finish(&to_server).unwrap()]
    }

    #[test]
    fn who_knows_the_code_can_prove_it() {
        let [client, server] = exchange(["482-193", "482 193"], [[7; 32]; 2]);
        assert!(server.is_of_client(&client.of_client()) && client.is_of_server(&server.of_server()));
        assert!(!server.is_of_client(&client.of_server()), "a proof can't be sent back");
        assert!(!server.is_of_client("") && !server.is_of_client("!"));
    }

    #[test]
    fn a_wrong_code_and_somebody_in_the_middle_can_not() {
        for (codes, exporters) in [(["482193", "482194"], [[7; 32]; 2]), (["482193"; 2], [[7; 32], [8; 32]])] {
            let [client, server] = exchange(codes, exporters);
            assert!(!server.is_of_client(&client.of_client()) && !client.is_of_server(&server.of_server()));
        }
    }

    #[test]
    fn nonsense_is_no_message() {
        for nonsense in ["", "A", "!!", &BASE32_NOPAD.encode(&[0x42; 33]), &BASE32_NOPAD.encode(&[0; 200])] {
            let (client, _) = Exchange::client(&Code(1), [0; 32]);
            assert!(client.finish(nonsense).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn a_code_allows_three_guesses() {
        let home = tempfile::tempdir().unwrap();
        let pairing = Pairing::of(&State::at(home.path().into()).unwrap());
        assert_eq!(pairing.take().unwrap(), None);
        let code = pairing.begin("band").unwrap();
        for _ in 0..TRIES {
            assert_eq!(pairing.take().unwrap(), Some((code.clone(), "band".into())));
        }
        assert_eq!(pairing.take().unwrap(), None);
        pairing.begin("band").unwrap();
        pairing.end().unwrap();
        assert_eq!(pairing.take().unwrap(), None);
    }

    #[test]
    fn codes_are_six_digits() {
        assert_eq!("004-711".parse::<Code>().unwrap().to_string(), "004-711");
        for bad in ["", "12345", "1234567", "12a456", "+12345"] {
            assert!(bad.parse::<Code>().is_err(), "{bad}");
        }
    }
}
