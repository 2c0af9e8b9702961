//! This machine's own key.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::state::{damaged, failed};
use super::{Error, Fingerprint, State};

/// The private key, as PKCS #8 in PEM.
const FILE: &str = "identity.pem";

/// What everybody's certificate says: it stands for a key, and names nobody.
const NAME: &str = "audiostreamer";

/// A key pair and a certificate that this machine has signed for itself.
///
/// Only the key is kept: the certificate is made from it at each start, so that the two can't
/// disagree. It is the key that others know, by its [`Fingerprint`].
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// The one in the state folder, made at the first call ever.
    pub fn load_or_make(state: &State) -> Result<Self, Error> {
        if let Some(identity) = Self::load(state)? {
            return Ok(identity);
        }
        state.create(FILE, &generate()?.serialize_pem())?;
        let path = state.path(FILE);
        Self::load(state)?.ok_or_else(|| damaged(&path, None, "it vanished as soon as it was made"))
    }

    /// One that nobody keeps.
    pub fn ephemeral() -> Result<Self, Error> {
        Self::new(&generate()?)
    }

    /// By which others know this machine.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn load(state: &State) -> Result<Option<Self>, Error> {
        let Some(text) = state.read(FILE)? else { return Ok(None) };
        let path = state.path(FILE);
        let mode = std::fs::metadata(&path).map_err(|why| failed(&path, &why))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::Exposed { path: path.display().to_string() });
        }
        let key = KeyPair::from_pem(&text).map_err(|_| damaged(&path, None, "it holds no private key"))?;
        Self::new(&key).map(Some)
    }

    fn new(key: &KeyPair) -> Result<Self, Error> {
        let mut params = CertificateParams::new([NAME.into()]).map_err(unusable)?;
        params.distinguished_name.push(DnType::CommonName, NAME);
        let certificate = params.self_signed(key).map_err(unusable)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            key: Arc::new(PrivatePkcs8KeyDer::from(key.serialize_der())),
            fingerprint: Fingerprint::of(&key.subject_public_key_info()),
        })
    }

    pub(super) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// A secret for one purpose, the same at every start.
    pub(crate) fn secret(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.key.secret_pkcs8_der());
        ring::hmac::sign(&key, purpose.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.fingerprint).finish() // and nothing of the key
    }
}

fn generate() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(unusable)
}

fn unusable(why: rcgen::Error) -> Error {
    Error::Key { why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, State) {
        let home = tempfile::tempdir().unwrap();
        let state = State::at(home.path().into()).unwrap();
        (home, state)
    }

    #[test]
    fn a_machine_is_the_same_at_every_start() {
        let (_home, state) = state();
        let first = Identity::load_or_make(&state).unwrap();
        let second = Identity::load_or_make(&state).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.secret("reset"), second.secret("reset"));
        assert_ne!(first.secret("reset"), first.secret("other"));
        assert_ne!(Identity::ephemeral().unwrap().fingerprint(), first.fingerprint());
    }

    #[test]
    fn a_key_that_is_damaged_or_open_to_others_is_left_as_it_is() {
        let (_home, state) = state();
        Identity::load_or_make(&state).unwrap();
        let path = state.path(FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Identity::load_or_make(&state), Err(Error::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let half = std::fs::read_to_string(&path).unwrap()[..90].to_owned();
        std::fs::write(&path, &half).unwrap();
        assert!(matches!(Identity::load_or_make(&state), Err(Error::Damaged { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), half);
    }
}
