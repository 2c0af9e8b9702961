//! What one check has found.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub check: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// The same as a sentence.
    pub says: String,
    /// What to do about it, where there is something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The figures behind it; times in seconds.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub measured: Map<String, Value>,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should.
    Good,
    /// Sound passes, and could do so better.
    Limits,
    /// No sound passes: a device.
    NoDevice,
    /// No sound passes: the network.
    NoPath,
    /// No sound passes: the server does not let us in, or is not the one that it should be.
    NoEntry,
}

impl Verdict {
    /// That of a client or server that fails for the same reason; `None` where none would.
    pub fn exit_code(self) -> Option<u8> {
        match self {
            Verdict::Good | Verdict::Limits => None,
            Verdict::NoDevice => Some(3),
            Verdict::NoPath => Some(4),
            Verdict::NoEntry => Some(5),
        }
    }
}

impl Finding {
    /// As it should be.
    pub fn good(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, says)
    }

    /// With any verdict.
    pub fn new(check: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self { check, verdict, says: says.into(), advice: None, measured: Map::new() }
    }

    /// With what to do about it.
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// With a figure.
    pub fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.measured.insert(name.into(), value.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Limits => "hm",
            _ => "NO",
        };
        write!(f, "{mark:<3} {:<10} {}", self.check, self.says)?;
        match &self.advice {
            Some(advice) => write!(f, "\n    {:<10} -> {advice}", ""),
            None => Ok(()),
        }
    }
}
