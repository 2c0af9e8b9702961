//! What a user is told when it can't go on: the thing, the cause, the way out.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use audiostreamer_core::Format;

use crate::device;
use crate::trust::{self, AuthError};

/// Why a command ends before its time. Its text is what the user reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum Error {
    /// The command line asks for something that does not go together. The user's to mend.
    #[error("{0}")]
    Usage(String),
    /// A sound card, file or pipe.
    #[error(transparent)]
    Device(#[from] device::Error),
    /// Somebody else listens on that port, or the address is not ours.
    #[error("can't listen on {address} ({transport}): {}; choose another port with --listen ADDR:PORT", plain(why))]
    Listen { address: SocketAddr, transport: &'static str, why: io::Error },
    /// What the configuration file says is not right, and where.
    #[error("{path}:{line}:{column}: {what}")]
    Config { path: String, line: usize, column: usize, what: String },
    /// A configuration file that can't be read.
    #[error("{path}: {why}; it was named by --config")]
    ConfigFile { path: String, why: String },
    /// Nobody can ask for statistics there.
    #[error("can't listen on {address} for --metrics: {}; choose another port", plain(why))]
    Metrics { address: SocketAddr, why: io::Error },
    /// Statistics have nowhere to go.
    #[error("{path}: {}", plain(why))]
    Stats { path: String, why: io::Error },
    /// The server is not there, and waiting was not wanted.
    #[error("{peer}: {why}; is the server running? Without --no-wait the client waits for it")]
    Network { peer: String, why: String },
    /// No server announces itself, and waiting was not wanted.
    #[error("{0}")]
    NobodyFound(String),
    /// The network can't be asked for servers.
    #[error(transparent)]
    Discovery(#[from] crate::discovery::Error),
    /// One of the two sides does not let the other in. Waiting would not help.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// This machine's key, or its lists of who is known.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// No agreed payload type for what was asked to be sent.
    #[error("there is no payload type for {0}; use another --rate or --channels, or describe it with --sdp FILE")]
    NoPayloadType(Format),
    /// A session description that can't be read or written.
    #[error("{path}: {why}")]
    Sdp { path: String, why: String },
    /// The codec refused.
    #[error(transparent)]
    Core(#[from] audiostreamer_core::Error),
    /// What the doctor has found, and said already.
    #[error("no sound can pass: see the lines that begin with NO")]
    Diagnosed { code: u8 },
    /// The demo's own files.
    #[error("{path}: {why}")]
    Demo { path: String, why: String },
    /// The manual's pages.
    #[error("can't write the manual into {path}: {}", plain(why))]
    Manual { path: String, why: io::Error },
    /// Standard output is closed.
    #[error("can't write to stdout: {}", plain(.0))]
    Stdout(io::Error),
    /// The system lets no signal handler be set.
    #[error("can't handle signals: {}", plain(.0))]
    Signals(io::Error),
    /// The system gives no more threads.
    #[error("can't start a thread: {}", plain(.0))]
    Thread(io::Error),
}

impl Error {
    /// The process's exit code; see the table in the README.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Config { .. } | Error::ConfigFile { .. } | Error::NoPayloadType(_) => 2,
            Error::Device(error) => error.exit_code(),
            Error::Listen { .. } | Error::Metrics { .. } | Error::Network { .. } => 4,
            Error::NobodyFound(_) | Error::Discovery(_) => 4,
            Error::Auth(_) => 5,
            Error::Diagnosed { code } => *code,
            Error::Trust(error) => error.exit_code(),
            Error::Stats { .. } | Error::Sdp { .. } | Error::Demo { .. } | Error::Manual { .. } | Error::Stdout(_) => 6,
            Error::Core(audiostreamer_core::Error::UnsupportedFormat(_)) => 2,
            Error::Core(_) | Error::Signals(_) | Error::Thread(_) => 1,
        }
    }
}

/// An error as a person would say it, without the operating system's number.
pub(crate) fn plain(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::file_error::FileError;

    #[test]
    fn errors_read_plainly() {
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(plain(&refused), "connection refused");
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        assert_eq!(Error::Stdout(full()).to_string(), "can't write to stdout: no space left on device");
        let write = FileError::Write { name: "out.wav".into(), cause: full() };
        assert_eq!(write.to_string(), "can't write out.wav: no space left on device; the sound until then is kept");
    }
}
