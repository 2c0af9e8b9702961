//! The files of a recording, one after the other: what they are called, and how long one may be.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::device::file_error::FileError;

/// How long a file may become before the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// So much sound.
    Time(Duration),
    /// So many bytes.
    Bytes(u64),
}

impl FromStr for Split {
    type Err = String;

    /// `90s`, `30m`, `1h`; `500k`, `500M`, `2G` in thousands of bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        const MEANT: &str = "a time like 1h, 30m or 90s, or a size like 500M or 2G";
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| MEANT)?;
        let scaled = |scale: u64| number.checked_mul(scale).ok_or(MEANT);
        let split = match &text[digits.len()..] {
            "s" => Self::Time(Duration::from_secs(number)),
            "m" => Self::Time(Duration::from_secs(scaled(60)?)),
            "h" => Self::Time(Duration::from_secs(scaled(3_600)?)),
            "k" => Self::Bytes(scaled(1_000)?),
            "M" => Self::Bytes(scaled(1_000_000)?),
            "G" => Self::Bytes(scaled(1_000_000_000)?),
            _ => return Err(MEANT.into()),
        };
        match split {
            Self::Time(time) if time < TIME_MIN => Err("at least 1s".into()),
            Self::Bytes(bytes) if bytes < BYTES_MIN => Err("at least 100k".into()),
            split => Ok(split),
        }
    }
}

const TIME_MIN: Duration = Duration::from_secs(1);
/// A tenth of a second of six channels, which is written at once, fits.
const BYTES_MIN: u64 = 100_000;

/// Makes the files of a recording. What is there already is never replaced.
#[derive(Debug)]
pub(super) struct Parts {
    path: PathBuf,
    number: u32,
    /// Made at the start, to find out whether it can be.
    first: Option<(PathBuf, File)>,
}

impl Parts {
    pub fn start(path: &Path) -> Result<Self, FileError> {
        let mut parts = Self { path: path.to_owned(), number: 0, first: None };
        parts.first = Some(parts.create()?);
        Ok(parts)
    }

    /// The next file, empty, and what it is called.
    pub fn next(&mut self) -> Result<(PathBuf, File), FileError> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.create(),
        }
    }

    fn create(&mut self) -> Result<(PathBuf, File), FileError> {
        loop {
            self.number += 1;
            let path = numbered(&self.path, self.number);
            match File::create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(FileError::Create { path, cause }),
            }
        }
    }
}

impl Drop for Parts {
    /// Nothing has come: an empty file is no use to anybody.
    fn drop(&mut self) {
        if let Some((path, _)) = &self.first {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `take.wav`, then `take-2.wav`, `take-3.wav`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_time_or_a_size() {
        let parsed = |text: &str| text.parse::<Split>();
        assert_eq!(parsed("1h"), Ok(Split::Time(Duration::from_secs(3_600))));
        assert_eq!(parsed("90s"), Ok(Split::Time(Duration::from_secs(90))));
        assert_eq!(parsed("500M"), Ok(Split::Bytes(500_000_000)));
        for bad in ["", "h", "1", "0s", "-1h", "1.5h", "5k", "99999999999999999999h", "9999999999999999999h", "1d"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_there_is_not_replaced_and_what_stays_empty_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("take.wav");
        std::fs::write(&path, "before").unwrap();
        let mut parts = Parts::start(&path).unwrap();
        assert_eq!(parts.next().unwrap().0, folder.path().join("take-2.wav"));
        assert_eq!(parts.next().unwrap().0, folder.path().join("take-3.wav"));
        drop(parts);
        drop(Parts::start(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "and no fourth one");
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
    }
}
