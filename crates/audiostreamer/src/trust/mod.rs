//! Who is who, and who may play: this machine's key, the keys of servers that were met before, the
//! keys and tokens that this server lets in.
//!
//! As in ssh, nobody vouches for a key. The client keeps the key that a server first showed
//! ([`KnownHosts`]) or has it from an [`Invite`]; the server keeps a list ([`AccessList`]). All of
//! it lives in one folder that only its owner can read ([`State`]).

mod access;
mod auth_error;
mod fingerprint;
mod identity;
mod invite;
mod known_hosts;
mod pairing;
mod state;
pub mod tls;

pub use access::{AccessList, Admission, Expiry, Gate, Listed, Version};
pub use auth_error::AuthError;
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use invite::{Invite, Token, own_address, qr_code};
pub use known_hosts::KnownHosts;
pub use pairing::{Code, Pairing};
pub(crate) use pairing::{EXPORTER_LABEL, Exchange, Exporter};
pub use state::State;

/// What goes wrong with the files of the [`State`]. Its text is what the user reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum Error {
    /// There is no home to keep anything in.
    #[error("no place for this machine's key: neither XDG_STATE_HOME nor HOME is set; set one of them")]
    NoHome,
    /// The system refuses.
    #[error("{path}: {why}; it must be readable and writable by this user (or set XDG_STATE_HOME)")]
    File { path: String, why: String },
    /// A file that is not what we would have written. It is left as it is.
    #[error("{path}{}: {why}; mend it, or move it away to begin anew", line.map(|line| format!(" line {line}")).unwrap_or_default())]
    Damaged { path: String, line: Option<usize>, why: String },
    /// Others can read the private key.
    #[error(
        "{path} can be read by others, so it is no secret any more: chmod 600 it, or move it away to get a new key"
    )]
    Exposed { path: String },
    /// Nothing of that name on the list.
    #[error("nothing is called {name} here; `audiostreamer invite --list` shows what there is")]
    NoSuchName { name: String },
    /// The key could not be made or used.
    #[error("this machine's key can't be used: {why}")]
    Key { why: String },
}

impl Error {
    /// The process's exit code; see the table in the README.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NoSuchName { .. } => 2,
            Error::Key { .. } => 1,
            Error::NoHome | Error::File { .. } | Error::Damaged { .. } | Error::Exposed { .. } => 6,
        }
    }
}
