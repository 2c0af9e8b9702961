//! The command line: what can be said, and what it means.

#![expect(missing_docs, reason = "a doc comment here is help text: what needs no help has none")]

mod cleaning;
mod client;
pub mod config;
pub mod console;
pub mod discover;
pub mod doctor;
pub mod limits;
pub mod manual;
pub mod record;
pub mod reference;
pub mod replay;
mod server;
pub mod stats;
pub mod trust;
pub mod values;
pub mod view;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::device::{PcmFormat, Wanted};
use crate::error::Error;

pub use client::{ClientArgs, ServerArg};
pub use server::ServerArgs;

/// A live audio link: a client captures a microphone (or a file, a pipe, a tone), a server plays
/// it at once.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Begin with:  audiostreamer demo
Then:        audiostreamer server             on the machine with the speakers
             audiostreamer client HOST        on the machine with the microphone
             audiostreamer doctor HOST        where it does not work, or not well

Exit codes: 0 also on Ctrl-C, 1 internal, 2 usage, 3 sound device, 4 network,
5 authentication, 6 file or pipe.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Listen on a port and play whatever clients send
    Server(Box<ServerArgs>),
    /// Capture a source and send it to a server
    Client(Box<ClientArgs>),
    /// Show what is in effect of the configuration file and the environment
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Show what would have been heard of a trace with another profile or delay
    Replay(replay::ReplayArgs),
    /// List the sound devices
    Devices(DevicesArgs),
    /// List the servers that announce themselves on this network
    Discover(discover::DiscoverArgs),
    /// Find out why there is no sound, or so much delay, and what to do about it
    Doctor(Box<doctor::DoctorArgs>),
    /// Let somebody in: print an invite for `audiostreamer client`
    Invite(trust::InviteArgs),
    /// Let somebody in who types a short code: print one for `audiostreamer client HOST --code`
    Pair(trust::PairArgs),
    /// Show the fingerprint of this machine's key
    Identity(trust::IdentityArgs),
    /// Send a built-in signal through a real server and client on this machine and measure it
    Demo,
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions { shell: clap_complete::Shell },
    /// Print the manual, or write its pages into files
    #[command(hide = true)]
    Man {
        /// Where to write audiostreamer.1, audiostreamer-server.1 and so on; on stdout, as one
        /// document, when not given
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// As one page of Markdown on stdout
        #[arg(long, conflicts_with = "output")]
        markdown: bool,
    },
}

/// What goes on the wire, the same on both sides.
#[derive(Debug, Args)]
pub struct WireArgs {
    /// Bare PCM without any header, as nc, ffmpeg -f s16le and PyAudio scripts send it:
    /// ENCODING,RATE,CHANNELS, like s16le,44100,1
    #[arg(long, value_name = "FORMAT", conflicts_with = "sdp")]
    pub raw: Option<PcmFormat>,
    /// A session description: the client writes one for other programs to receive by, the server
    /// reads one that other programs have written
    #[arg(long, value_name = "FILE")]
    pub sdp: Option<PathBuf>,
    /// Plain RTP in the clear, as other programs speak it: everybody on the way can listen, and whoever
    /// reaches the port is played. --raw and --sdp imply it
    #[arg(long)]
    pub plain: bool,
}

/// What a sound card is asked for.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// Frames per second
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(8_000..=384_000))]
    pub rate: Option<u32>,
    /// Channels
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    pub channels: Option<u16>,
    /// Frames that the card moves at once: smaller is faster and more fragile
    #[arg(long, value_name = "FRAMES", value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub period: Option<u32>,
}

/// How much is said.
#[derive(Debug, Args)]
pub struct Verbosity {
    /// Say more; repeat for even more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No status line
    #[arg(short, long)]
    pub quiet: bool,
    /// Show levels, delays and losses on the whole terminal, with keys; so it is anyway where there is
    /// one of 80x20 and nothing else is asked for
    #[arg(long, conflicts_with_all = ["no_tui", "quiet", "verbose"])]
    pub tui: bool,
    /// Lines and one status line
    #[arg(long)]
    pub no_tui: bool,
}

impl Verbosity {
    /// How it is shown what happens; `stdout_is_used` says that something else is written there.
    pub fn show(&self, controls: view::Controls, stdout_is_used: bool) -> Result<console::Show, Error> {
        let terminal_is_free = !(stdout_is_used && std::io::stdout().is_terminal());
        let said_otherwise = self.no_tui || self.verbose > 0;
        match self {
            Self { tui: true, .. } if !std::io::stderr().is_terminal() => {
                Err(Error::Usage("--tui: standard error is no terminal".into()))
            }
            Self { tui: true, .. } => Ok(console::Show::View(controls)),
            Self { quiet: true, .. } => Ok(console::Show::Events),
            _ if !said_otherwise && terminal_is_free && view::View::is_welcome() => Ok(console::Show::View(controls)),
            _ => Ok(console::Show::Lines),
        }
    }
}

/// `audiostreamer devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
}

impl WireArgs {
    /// Whether everybody on the way can listen.
    pub fn is_plain(&self) -> bool {
        self.plain || self.raw.is_some() || self.sdp.is_some()
    }
}

impl CardArgs {
    fn wanted(&self) -> Wanted {
        Wanted { rate: self.rate, channels: self.channels, period: self.period.map(|frames| frames as usize) }
    }
}
