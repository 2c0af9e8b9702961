//! Files as a sink: WAV, or raw samples.
//!
//! The file is a valid WAV at any moment, also when the program is killed: each tenth of a second
//! its samples are written first and then, in one piece, a header that counts them. Beyond 4 GiB
//! it goes on as RF64 (see `wav_header`). An existing file is replaced.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::decode::name;
use super::file_error::FileError;
use super::pcm_format::PcmFormat;
use super::running::Running;
use super::sink_format::{Container, SinkFormat};
use super::written_sink::{self, End, Feed, Plan};
use super::{Notice, Render, Shape, Wanted, wav_header};

/// Renders in real time and writes it to the file at `path`, which is created or replaced.
///
/// If the disk is ever too slow for [`PATIENCE`], sound is dropped and told as
/// [`Gap::Dropped`](super::Gap::Dropped). A disk that is full ends it with [`Notice::Failed`];
/// what is written until then stays valid.
pub fn start(
    path: &Path,
    format: SinkFormat,
    wanted: Wanted,
    make: impl FnMut(&Shape) -> Render + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let samples = format.samples(&wanted);
    let file = SoundFile::create(path, format.container, samples)?;
    let plan = Plan { name: name(path), format: samples, wanted, patience: PATIENCE };
    let name = name(path);
    written_sink::start(plan, make, notify, move |feed| {
        write(file, feed).map_err(|cause| FileError::Write { name, cause })
    })
}

fn write(mut file: SoundFile, feed: &Feed<impl Fn(Notice)>) -> io::Result<End> {
    let tenth_of_a_second = file.format.byte_rate() / 10;
    let mut bytes = Vec::new();
    while feed.next(tenth_of_a_second, usize::MAX, &mut bytes) {
        file.append(&bytes)?;
    }
    Ok(End::Stopped)
}

/// A file that grows, and is complete after every call.
pub(crate) struct SoundFile {
    file: File,
    container: Container,
    format: PcmFormat,
    /// Bytes of samples that the header counts.
    data: u64,
}

impl SoundFile {
    pub fn create(path: &Path, container: Container, format: PcmFormat) -> Result<Self, FileError> {
        if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            return Err(FileError::NotAnOutputFile { path: path.into() });
        }
        let failed = |cause| FileError::Create { path: path.into(), cause };
        let file = File::create(path).map_err(failed)?;
        Self::new(file, container, format).map_err(failed)
    }

    /// Makes it of an empty file.
    pub fn new(file: File, container: Container, format: PcmFormat) -> io::Result<Self> {
        let mut new = Self { file, container, format, data: 0 };
        new.append(&[])?;
        Ok(new)
    }

    /// Of the file as it is now.
    pub fn bytes(&self) -> u64 {
        self.header_for(self.data).len() as u64 + wav_header::padded(self.data)
    }

    /// Adds whole frames. Until the last line has been executed, the file is as before.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let data = self.data + bytes.len() as u64;
        let header = self.header_for(data);
        let begin = header.len() as u64;
        self.file.write_all_at(bytes, begin + self.data)?;
        if self.container == Container::Wav && data % 2 == 1 {
            self.file.write_all_at(&[0], begin + data)?; // chunks have an even length
        }
        self.data = data;
        self.file.write_all_at(&header, 0)
    }

    fn header_for(&self, data: u64) -> Vec<u8> {
        match self.container {
            Container::Wav => wav_header::of_file(&self.format, data),
            Container::Raw => Vec::new(),
        }
    }
}

/// How long a disk may keep us waiting, for example to wake up.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_full_disk_is_told() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let format = "s16le,48000,2".parse().unwrap();
        let mut full = SoundFile { file, container: Container::Wav, format, data: 0 };
        assert_eq!(full.append(&[0; 4]).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.data, 0);
    }

    #[test]
    fn an_odd_number_of_bytes_is_padded_until_more_comes() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("odd.wav");
        let format = "s24le,48000,1".parse().unwrap();
        let mut odd = SoundFile::create(&path, Container::Wav, format).unwrap();
        let header = fs::read(&path).unwrap().len();
        for (frames, length) in [(1, 4), (2, 6), (3, 10)] {
            odd.append(&[7; 3]).unwrap();
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len(), header + length);
            assert!(bytes[header..][..3 * frames].iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    fn a_raw_file_is_nothing_but_samples() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("raw.pcm");
        let format = "s24be,48000,1".parse().unwrap();
        let mut raw = SoundFile::create(&path, Container::Raw, format).unwrap();
        raw.append(&[1, 2, 3]).unwrap();
        raw.append(&[4, 5, 6]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [1, 2, 3, 4, 5, 6]);
    }
}
