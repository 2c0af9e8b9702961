//! The folder in which a machine keeps who it is and whom it knows.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Error;

/// A folder for this user alone. Files in it are replaced as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    folder: PathBuf,
}

impl State {
    /// `$XDG_STATE_HOME/audiostreamer`, by default `~/.local/state/audiostreamer`. Made where it is
    /// not there.
    pub fn open() -> Result<Self, Error> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        Self::at(home.ok_or(Error::NoHome)?.join("audiostreamer"))
    }

    /// Any folder; made where it is not there.
    pub fn at(folder: PathBuf) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|why| failed(&folder, &why))?;
        // One that was made by hand, too: what is in it is nobody else's affair.
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(|why| failed(&folder, &why))?;
        Ok(Self { folder })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The text of a file, `None` where there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, Error> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|_| damaged(&path, None, "it is no text")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// Makes a file that must not be there yet; says whether it was us who made it.
    pub(super) fn create(&self, name: &str, text: &str) -> Result<bool, Error> {
        let path = self.path(name);
        let draft = self.draft(name, text)?;
        // A link fails where the name is taken, a rename would take it: of two programs that start
        // at the same moment one makes the file, and both read it.
        let linked = fs::hard_link(&draft, &path);
        let _ = fs::remove_file(&draft);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// Changes a file under a lock: what was read is what is replaced.
    pub(super) fn update<T>(
        &self,
        name: &str,
        change: impl FnOnce(Option<String>) -> Result<(String, T), Error>,
    ) -> Result<T, Error> {
        let _lock = self.lock()?;
        let before = self.read(name)?;
        let (after, result) = change(before.clone())?;
        if before.as_ref() != Some(&after) {
            let draft = self.draft(name, &after)?;
            let path = self.path(name);
            fs::rename(&draft, &path).map_err(|why| failed(&path, &why))?;
        }
        Ok(result)
    }

    /// Writes a file beside the one that it is to become, down to the disk.
    fn draft(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&format!(".{name}.{}.{number}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|why| failed(&path, &why))?;
        Ok(path)
    }

    fn lock(&self) -> Result<File, Error> {
        let path = self.path(".lock");
        let lock = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(file)
        };
        lock().map_err(|why| failed(&path, &why))
    }
}

pub(super) fn failed(path: &Path, why: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), why: crate::error::plain(why) }
}

pub(super) fn damaged(path: &Path, line: Option<usize>, why: impl Into<String>) -> Error {
    Error::Damaged { path: path.display().to_string(), line, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_changed_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let state = State::at(home.path().join("a/b")).unwrap();
        assert_eq!(state.read("file").unwrap(), None);
        assert!(state.create("file", "one").unwrap());
        assert!(!state.create("file", "two").unwrap());
        let old = state.update("file", |old| Ok(("three".into(), old))).unwrap();
        assert_eq!(old.as_deref(), Some("one"));
        assert_eq!(state.read("file").unwrap().as_deref(), Some("three"));
        let names: Vec<_> = fs::read_dir(&state.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "no drafts are left: {names:?}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state.folder), mode(&state.path("file"))), (0o700, 0o600));
    }
}
