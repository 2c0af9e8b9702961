//! `--record`: a copy of the sound in files.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::recording::{self, Kind, Split};

#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Keep a copy of what is played, or captured, in this file: .wav or .flac; .opus keeps the streams
    /// as they are sent, each in a file of its own. It is valid at every moment, and replaces nothing:
    /// where there is a take.wav, it is take-2.wav
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Begin another file after so long, or so many bytes: 1h, 30m, 500M
    #[arg(long, value_name = "LENGTH", requires = "record")]
    pub record_split: Option<Split>,
}

impl RecordArgs {
    pub fn config(&self) -> Result<Option<recording::Config>, Error> {
        let Some(path) = &self.record else { return Ok(None) };
        match Kind::of(path) {
            None => Err(Error::Usage(format!(
                "--record {}: the ending says what is recorded: .wav, .flac, or .opus for Opus as it is sent",
                path.display()
            ))),
            Some(_) => Ok(Some(recording::Config { path: path.clone(), split: self.record_split })),
        }
    }
}
