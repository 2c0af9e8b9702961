//! What a client needs to be let in, and to know that it has met the right server.

use std::sync::{Arc, Mutex};

use super::control::Refusal;
use crate::error::Error;
use crate::trust::{AuthError, Code, Fingerprint, Identity, KnownHosts, Token};

/// A client's side of trust.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Our own key, by which the server will know us.
    pub identity: Identity,
    /// How the server is recognised.
    pub server: ServerKey,
    /// From an invite: needed once, until our key is on the server's list.
    pub token: Option<Token>,
    /// Typed by the user: used once, until both have each other's key.
    pub code: PairingCode,
}

/// A code, until it has done its work.
#[derive(Clone, Debug, Default)]
pub struct PairingCode(Arc<Mutex<Option<Code>>>);

impl PairingCode {
    /// One that is to be used.
    pub fn new(code: Option<Code>) -> Self {
        Self(Arc::new(Mutex::new(code)))
    }

    pub(super) fn current(&self) -> Option<Code> {
        self.0.lock().ok()?.clone()
    }

    fn forget(&self) {
        if let Ok(mut code) = self.0.lock() {
            *code = None;
        }
    }
}

/// How a client recognises its server.
#[derive(Clone, Debug)]
pub enum ServerKey {
    /// By the key that it had before; at the first meeting by any, which is then kept.
    Known(KnownHosts),
    /// By the key in an invite, which is then kept.
    Invited(Fingerprint, KnownHosts),
    /// By that key, and nothing is kept.
    Exactly(Fingerprint),
}

impl Credentials {
    /// The only key that `peer` may have, if there is one already.
    pub(super) fn expected(&self, peer: &str) -> Result<Option<Fingerprint>, Error> {
        match &self.server {
            _ if self.code.current().is_some() => Ok(None), // the code will tell
            ServerKey::Known(hosts) => Ok(hosts.find(peer)?),
            ServerKey::Invited(key, _) | ServerKey::Exactly(key) => Ok(Some(*key)),
        }
    }

    /// `peer` has shown another key than the expected one.
    pub(super) fn mistaken(&self, peer: &str, expected: Fingerprint, shown: Fingerprint) -> AuthError {
        let peer = peer.to_owned();
        match &self.server {
            ServerKey::Known(hosts) => AuthError::KeyChanged { peer, known: expected, shown, file: hosts.path() },
            ServerKey::Invited(..) => AuthError::NotTheInviter { peer, invited: expected, shown },
            ServerKey::Exactly(_) => AuthError::NotTheMeant { peer, meant: expected, shown },
        }
    }

    /// `peer` has let us in: keeps its key. Whether it is a new one.
    pub(super) fn remember(&self, peer: &str, key: Fingerprint) -> Result<bool, Error> {
        self.code.forget();
        let (ServerKey::Known(hosts) | ServerKey::Invited(_, hosts)) = &self.server else { return Ok(false) };
        if hosts.find(peer)? == Some(key) {
            return Ok(false);
        }
        hosts.remember(peer, key)?;
        Ok(true)
    }

    pub(super) fn refused(&self, peer: &str, why: Refusal) -> AuthError {
        AuthError::Refused { peer: peer.to_owned(), why, own: self.identity.fingerprint() }
    }
}
