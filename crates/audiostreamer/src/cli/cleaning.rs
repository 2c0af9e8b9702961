//! Of what a voice is cleaned before it is sent.

use clap::Args;

use crate::client::{Cleaning, Played};

/// For a voice.
#[derive(Debug, Args)]
pub struct CleaningArgs {
    /// Take noise that goes on, like a fan's or hiss, out of a voice before it is sent. Adds 15 ms (with
    /// --cancel-echo, too), and makes all channels the same
    #[arg(long)]
    pub denoise: bool,
    /// With --duplex: take what the loudspeaker plays out of what the microphone hears, so that the other end
    /// does not hear itself. Adds 9 ms, and makes all channels the same
    #[arg(long, requires = "duplex")]
    pub cancel_echo: bool,
}

impl CleaningArgs {
    pub(super) fn cleaning(&self) -> Cleaning {
        Cleaning { noise: self.denoise, echo_of: self.cancel_echo.then(Played::default) }
    }
}
