//! What can go wrong with files, pipes and tones, in words for the person who asked for them.

use std::io;
use std::path::PathBuf;

use crate::error::plain;

/// Why a file, pipe or tone can't be a source or sink.
///
/// None of them goes away by trying again. Each message names the thing, the cause and, where
/// there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum FileError {
    /// The system refuses to open the input.
    #[error("can't open {}: {}", path.display(), plain(cause))]
    Open { path: PathBuf, cause: io::Error },

    /// The input is a directory, a named pipe or a device.
    #[error("{} is not a regular file; give a pipe on standard input: --input - < {}",
        path.display(), path.display())]
    NotAFile { path: PathBuf },

    /// The input has no bytes.
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },

    /// The input is in no format that is known.
    #[error("{} is not audio that can be played here (WAV, FLAC, MP3, Ogg Vorbis, AAC); \
        raw samples go on standard input, with --input-format", path.display())]
    NotAudio { path: PathBuf },

    /// The container is known, what is in it is not.
    #[error("{} can't be decoded here ({why}); convert it first, for example with: ffmpeg -i {} out.flac",
        path.display(), path.display())]
    Unsupported { path: PathBuf, why: String },

    /// The input can't be understood from here on.
    #[error("{name} is damaged: {why}")]
    Damaged { name: String, why: String },

    /// The system refuses to read on.
    #[error("can't read {name}: {}", plain(cause))]
    Read { name: String, cause: io::Error },

    /// Standard input is no pipe.
    #[error(
        "standard input is the terminal; pipe WAV or raw samples into it, \
        or name a device or file with --input"
    )]
    StdinIsTerminal,

    /// Standard input ended at once.
    #[error(
        "standard input ended before any sound came; \
        see whether the command that writes it has failed"
    )]
    StdinEmpty,

    /// Standard input has no WAV header and nobody said what it is.
    #[error(
        "standard input is not WAV (other files are given by name); \
        if it is raw samples, say which: --input-format s16le,44100,2"
    )]
    StdinUndeclared,

    /// Standard input is WAV that only a file decoder understands.
    #[error(
        "standard input is WAV that can't be played from a pipe ({what}); \
        give the file's name instead"
    )]
    StdinUnsupported { what: String },

    /// The system refuses to create the output.
    #[error("can't create {}: {}", path.display(), plain(cause))]
    Create { path: PathBuf, cause: io::Error },

    /// The output is a directory, a named pipe or a device.
    #[error("{} is not a regular file; give standard output to it: --output - > {}",
        path.display(), path.display())]
    NotAnOutputFile { path: PathBuf },

    /// It does not begin as a trace does.
    #[error("{} is not a trace that can be replayed here; `audiostreamer server --trace` writes one", path.display())]
    NotATrace { path: PathBuf },

    /// The name of a recording says a kind that we don't write.
    #[error("{} says by its ending what is recorded: .wav, .flac, or .opus for Opus as it is sent", path.display())]
    NotARecording { path: PathBuf },

    /// The disk is full, or gone.
    #[error("can't write {name}: {}; the sound until then is kept", plain(cause))]
    Write { name: String, cause: io::Error },

    /// Standard output is no pipe.
    #[error(
        "standard output is the terminal; pipe it into a program or a file, \
        or name a device or file with --output"
    )]
    StdoutIsTerminal,

    /// The tone can't be heard or does not fit below half the rate.
    #[error("can't make a tone of {hz} Hz; at {rate} Hz it must lie between 1 and {} Hz", rate / 2)]
    Tone { hz: f64, rate: u32 },

    /// The system has no thread left.
    #[error("can't start a thread: {}", plain(.0))]
    Thread(io::Error),
}
