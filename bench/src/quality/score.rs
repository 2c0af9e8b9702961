//! What is spoken, and what is heard of it, judged by Python packages: PESQ, ViSQOL and ESTOI.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Heard;
use crate::jackd::RATE;

/// What `speech.py` has found to be spoken.
pub struct Speech {
    pub samples: Vec<i16>,
    /// In words.
    pub what: String,
    file: PathBuf,
}

/// What `score.py` says of one clip.
pub struct Clip {
    /// `None` where the speech was not found.
    pub delay_ms: Option<f64>,
    pub pesq: f64,
    pub visqol_speech: f64,
    pub visqol_audio: f64,
    pub estoi: f64,
}

impl Clip {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let delay_ms = words.next()?.parse().ok().map(|seconds: f64| seconds * 1000.0);
        let mut next = || words.next()?.parse().ok();
        let (pesq, visqol_speech, visqol_audio, estoi) = (next()?, next()?, next()?, next()?);
        Some(Self { delay_ms, pesq, visqol_speech, visqol_audio, estoi })
    }
}

/// A Python of our own, with what the scores need.
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// Makes it where it is missing, beside the results; that takes a C compiler and a minute.
    pub fn beside(results: &Path) -> Result<Self> {
        let home = results.join("python");
        let program = home.join("bin/python");
        let (ready, requirements) = (home.join("ready"), scripts().join("requirements.txt"));
        let required = fs::read(&requirements)?;
        if fs::read(&ready).ok() != Some(required.clone()) {
            let home = home.display().to_string();
            crate::process::run(&["python3", "-m", "venv", &home]).context("python3 with venv is needed")?;
            let requirements = requirements.display().to_string();
            let pip = ["-m", "pip", "install", "--quiet", "--requirement", &requirements];
            crate::process::run(&[&[program.to_str().unwrap_or_default()], &pip[..]].concat())?;
            fs::write(&ready, required)?;
        }
        Ok(Self { program })
    }

    /// So many clips, kept in `dir`.
    pub fn speech(&self, clips: usize, dir: &Path) -> Result<Speech> {
        let file = dir.join("speech.wav");
        let said = self.run("speech.py", &[file.display().to_string(), clips.to_string()])?;
        let what = format!("{clips} clips of {}", said.trim());
        Ok(Speech { samples: samples(&fs::read(&file)?[WAV_HEADER..]), what, file })
    }

    /// How each clip of the speech sounds in what was heard.
    pub fn score(&self, speech: &Speech, heard: &Heard) -> Result<Vec<Clip>> {
        let file = speech.file.with_file_name("heard.wav");
        fs::write(&file, wav(&heard.samples))?;
        let arguments = [speech.file.display().to_string(), file.display().to_string(), heard.lead.to_string()];
        Ok(self.run("score.py", &arguments)?.lines().filter_map(Clip::parse).collect())
    }

    /// What a script of ours says.
    fn run(&self, script: &str, arguments: &[String]) -> Result<String> {
        let mut command = std::process::Command::new(&self.program);
        let output = command.arg(scripts().join(script)).args(arguments).output()?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("quality")
}

pub fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let bytes = samples.len() as u32 * 2;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let mut file = b"RIFF".to_vec();
    file.extend(words(&[bytes + 36]));
    file.extend(b"WAVEfmt ");
    file.extend(words(&[16, 1 << 16 | 1, RATE, RATE * 2, 16 << 16 | 2]));
    file.extend(b"data");
    file.extend(words(&[bytes]));
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}

/// That of `speech.py`.
const WAV_HEADER: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_that_was_not_found_is_scored_all_the_same() {
        let clip = Clip::parse("0.1115 4.31 4.5 4.61 0.97").unwrap();
        assert_eq!((clip.delay_ms, clip.pesq), (Some(111.5), 4.31));
        assert_eq!(Clip::parse("- 1 1 1 0").unwrap().delay_ms, None);
        assert!(Clip::parse("Traceback").is_none());
    }

    #[test]
    fn the_file_is_as_long_as_it_says() {
        let file = wav(&[1, -2, 3]);
        assert_eq!(file.len(), WAV_HEADER + 6);
        assert_eq!(samples(&file[WAV_HEADER..]), [1, -2, 3]);
    }
}
