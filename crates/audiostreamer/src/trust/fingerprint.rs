//! A public key as people compare it.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use ring::digest;

/// The SHA-256 of a public key (its SubjectPublicKeyInfo, RFC 5280 section 4.1). Shown in base32
/// by groups of four.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a SubjectPublicKeyInfo in DER.
    pub fn of(public_key_info: &[u8]) -> Self {
        Self(sha256(public_key_info))
    }

    /// Without groups, as invites and files have it.
    pub fn compact(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }
}

/// The SHA-256 of any bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compact = self.compact();
        let groups: Vec<&str> = (0..compact.len()).step_by(4).map(|start| &compact[start..start + 4]).collect();
        f.write_str(&groups.join("-"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// With or without groups, in any case of letters.
    fn from_str(text: &str) -> Result<Self, String> {
        let compact = text.replace('-', "").to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(compact.as_bytes()).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("no fingerprint of a key: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_however_it_is_written() {
        let fingerprint = Fingerprint::of(b"a key");
        let shown = fingerprint.to_string();
        assert_eq!(shown.len(), 13 * 4 + 12);
        for text in [&shown, &shown.to_lowercase(), &fingerprint.compact()] {
            assert_eq!(text.parse(), Ok(fingerprint));
        }
        for bad in ["", "ABCD", &shown[1..], &format!("{shown}A"), "1111-1111"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
