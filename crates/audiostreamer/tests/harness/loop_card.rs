//! An ALSA card of the test's own, without hardware (`c/loop_card.c`): it hears what it plays.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;

use super::program::other;

/// The programs that this needs.
pub const PROGRAMS: [&str; 1] = ["cc"];

/// What it is called for programs that live in its environment.
pub const NAME: &str = "alsa:card";

/// A card that is plugged in, or not.
pub struct LoopCard {
    folder: TempDir,
}

impl LoopCard {
    #[track_caller]
    pub fn plugged() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let [library, card, config] = ["loop_card.so", "card", "asound.conf"].map(|name| path(folder.path(), name));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/loop_card.c");
        let options = ["-shared", "-fPIC", "-DPIC", "-O1", "-o", &library, source, "-lasound"];
        other("cc", options).start().wait().assert_code(0);
        let text = format!(
            "</usr/share/alsa/alsa.conf>\n\
             pcm_type.loop_card {{ lib \"{library}\" }}\n\
             pcm.card {{ type loop_card file \"{card}\" }}\n"
        );
        fs::write(config, text).expect("there is room");
        fs::write(card, vec![0; 8 + 65_536 * 16]).expect("there is room"); // `card_t` of the source
        let card = Self { folder };
        card.plug();
        card
    }

    pub fn plug(&self) {
        self.set_plugged(true);
    }

    pub fn unplug(&self) {
        self.set_plugged(false);
    }

    /// What a program must have in its environment to find it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("ALSA_CONFIG_PATH", path(self.folder.path(), "asound.conf"))]
    }

    fn set_plugged(&self, plugged: bool) {
        let file = fs::OpenOptions::new().write(true).open(self.folder.path().join("card")).expect("it is there");
        file.write_all_at(&i64::from(plugged).to_ne_bytes(), 0).expect("it is as long");
    }
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}
