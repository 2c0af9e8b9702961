//! The `audiostreamer` program.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use audiostreamer::cli::console::{Console, Show};
use audiostreamer::cli::stats::Statistics;
use audiostreamer::cli::view::Controls;
use audiostreamer::cli::{Cli, Command, Verbosity, WireArgs, manual};
use audiostreamer::device::SinkSpec;
use audiostreamer::error::Error;
use audiostreamer::report::Report;
use audiostreamer::{cli, client, demo, device, server, service};
use clap::CommandFactory;
use clap_complete::Generator;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

fn main() -> ExitCode {
    match cli::config::parse(std::env::args_os()).and_then(|cli| run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("audiostreamer: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Server(args) => {
            let config = args.config()?;
            let invites = match &config.encryption {
                Some(encryption) => cli::trust::welcome(encryption, config.listen)?,
                None => false,
            };
            // The server's loop stands between the network and the card.
            let _ = device::priority::raise_for_audio();
            let sound_on_stdout = matches!(config.sink, SinkSpec::Stdout(_));
            let (remote, commands) = server::Remote::new();
            let show = args.verbosity.show(Controls::Server(remote), sound_on_stdout || args.stats.use_stdout())?;
            let show = match show {
                Show::View(controls) if invites && !args.verbosity.tui => Show::ViewOfClients(controls),
                show => show,
            };
            let statistics = args.stats.start(sound_on_stdout)?;
            with_console(&args.verbosity, &args.wire, (show, statistics), async |console, ended| {
                server::run_with(config, commands, told(console), ended).await.map(drop)
            })
        }
        Command::Client(mut args) => {
            args.find_server()?;
            let config = args.config()?;
            // Encrypted packets go out through the runtime.
            let _ = device::priority::raise_for_audio();
            let (volume, volumes) = watch::channel(config.volume);
            let show = args.verbosity.show(Controls::Client(volume), args.stats.use_stdout())?;
            let statistics = args.stats.start(false)?;
            with_console(&args.verbosity, &args.wire, (show, statistics), async |console, ended| {
                client::run_with(config, volumes, told(console), ended).await.map(drop)
            })
        }
        Command::Config(command) => command.run(),
        Command::Replay(args) => args.run(),
        Command::Devices(args) => device::print_list(args.json).map_err(Error::Stdout),
        Command::Discover(args) => args.run(),
        Command::Doctor(args) => runtime()?.block_on(async {
            let ended = until_signal()?;
            tokio::select! {
                result = args.run() => result,
                () = ended => Ok(()),
            }
        }),
        Command::Invite(args) => args.run(),
        Command::Pair(args) => args.run(),
        Command::Identity(args) => args.run(),
        Command::Demo => runtime()?.block_on(async { demo::run(until_signal()?).await }),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            command.set_bin_name("audiostreamer");
            command.build();
            shell.try_generate(&command, &mut std::io::stdout()).map_err(Error::Stdout)
        }
        Command::Man { markdown: true, .. } => {
            std::io::stdout().write_all(cli::reference::markdown().as_bytes()).map_err(Error::Stdout)
        }
        Command::Man { output: None, .. } => manual::print(std::io::stdout().lock()).map_err(Error::Stdout),
        Command::Man { output: Some(directory), .. } => {
            manual::write_to(&directory).map_err(|why| Error::Manual { path: directory.display().to_string(), why })
        }
    }
}

/// Runs one end until it ends or a signal comes.
fn with_console(
    verbosity: &Verbosity,
    wire: &WireArgs,
    (show, statistics): (Show, Statistics),
    run: impl AsyncFnOnce(&Console, Ended) -> Result<(), Error>,
) -> Result<(), Error> {
    show_traces(verbosity.verbose);
    let runtime = runtime()?;
    let (console, result) = runtime.block_on(async {
        let ended = until_signal()?; // before the first word: who reads it may press Ctrl-C
        if wire.is_plain() {
            eprintln!("audiostreamer: the sound on this link is not encrypted: everybody on the way can listen");
        }
        let console = Console::start(show, statistics);
        let result = tokio::select! {
            result = run(&console, ended) => result,
            () = service::keep_alive() => unreachable!("it never ends"),
        };
        Ok::<_, Error>((console, result))
    })?;
    runtime.shutdown_background();
    console.finish();
    result
}

/// Reports go to the console, and what they mean to the service manager.
fn told(console: &Console) -> impl Fn(Report) + Send + Clone + 'static {
    let report = console.report();
    move |told| {
        service::tell(&told);
        report(told);
    }
}

/// What `-v` adds: why things are tried again, and more with each further one.
fn show_traces(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)
}

type Ended = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Completes at the first SIGINT or SIGTERM. The second ends the process at once, from inside the
/// signal handler: whatever hangs then, hangs no longer.
fn until_signal() -> Result<Ended, Error> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, asked.clone()).map_err(Error::Signals)?;
    }
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        asked.store(true, Ordering::Relaxed);
    }))
}
