//! What an editor shows beside the sound: where something is missing, and how loud it is.
//!
//! A text file next to each sound file, `take.wav.labels.txt`: a label in each line, as Audacity
//! imports and exports them (File, Import, Labels): begin and end in seconds and the text, with tabs
//! between them. Lines are only added, so that it is valid whenever the program ends.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::FileError;

pub(super) struct Labels {
    file: File,
    name: String,
}

impl Labels {
    /// Those of the sound file at `path`; older ones are replaced, as that file is new.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let path = PathBuf::from(format!("{}.labels.txt", path.display()));
        let file = File::create(&path).map_err(|cause| FileError::Create { path: path.clone(), cause })?;
        Ok(Self { file, name: path.display().to_string() })
    }

    /// From `begin` to `end`, in seconds from the start of the file.
    pub fn add(&mut self, begin: f64, end: f64, text: impl Display) -> Result<(), FileError> {
        let line = format!("{begin:.6}\t{end:.6}\t{text}\n");
        let name = || self.name.clone();
        self.file.write_all(line.as_bytes()).map_err(|cause| FileError::Write { name: name(), cause })
    }
}
