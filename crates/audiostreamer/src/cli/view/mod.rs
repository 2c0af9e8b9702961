//! The terminal view: how the sound travels at the moment, and keys to change it.
//!
//! It runs on the console's thread and sees what the console is told; what it can't take in time is
//! dropped, so that it never costs the sound anything.

mod draw;
mod keys;
mod meter;
mod picture;
mod theme;

use std::io::{self, BufWriter, IsTerminal, Stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audiostreamer_core::Instant;
use crossterm::cursor::Show;
use crossterm::event::{Event, KeyEvent, KeyEventKind};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{event, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::report::Report;
use crate::server::StreamId;
use keys::Meaning;
use picture::Picture;
use theme::Theme;

pub use keys::Controls;

/// Between two drawings: a meter that moves smoothly enough. More would only cost.
const REDRAW: Duration = Duration::from_millis(100);

/// By itself it is shown on a terminal of at least this size.
const WIDTH_MIN: u16 = 80;
const HEIGHT_MIN: u16 = 20;

/// The view on a terminal, which is as it was when this is dropped.
pub struct View {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    picture: Picture,
    controls: Controls,
    theme: Theme,
    /// Whether to send that client away; the user is asked.
    asked: Option<StreamId>,
    /// Set by a signal that is to end the program.
    ending: Arc<AtomicBool>,
    next_drawing: Instant,
}

/// What becomes of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Stays,
    /// Lines from now on.
    Leaves,
}

impl View {
    /// Whether a user who has not said would like it: somebody sits at a terminal that is large
    /// enough, and the program is not in the background, where it would be stopped.
    pub fn is_welcome() -> bool {
        let stdin = io::stdin();
        let in_front = || rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
        let large = || crossterm::terminal::size().is_ok_and(|(x, y)| x >= WIDTH_MIN && y >= HEIGHT_MIN);
        let capable = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        stdin.is_terminal() && io::stderr().is_terminal() && capable && in_front() && large()
    }

    /// Takes over the terminal.
    pub fn start(now: Instant, controls: Controls) -> io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, ending.clone())?;
        }
        restore_before_panics();
        enable_raw_mode()?;
        let taken = execute!(io::stderr(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr()))));
        let terminal = taken.inspect_err(|_| restore())?;
        let (picture, theme) = (Picture::new(now), Theme::of_environment());
        Ok(Self { terminal, picture, controls, theme, asked: None, ending, next_drawing: now })
    }

    /// Takes a report.
    pub fn handle_report(&mut self, now: Instant, report: Report) {
        self.picture.handle_report(now, report);
    }

    /// Does what keys say, and draws when it is time to.
    pub fn handle_time(&mut self, now: Instant) -> io::Result<Next> {
        if self.ending.load(Ordering::Relaxed) {
            return Ok(Next::Leaves);
        }
        while event::poll(Duration::ZERO)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match self.handle_key(&key) {
                    Meaning::Quit => {
                        // As Ctrl-C does where the terminal is not ours.
                        signal_hook::low_level::raise(SIGINT)?;
                        return Ok(Next::Leaves);
                    }
                    Meaning::Lines => return Ok(Next::Leaves),
                    Meaning::Nothing | Meaning::Ask(_) => self.next_drawing = now,
                },
                Event::Resize(..) => self.next_drawing = now,
                _ => {}
            }
        }
        if now >= self.next_drawing {
            self.next_drawing = now + REDRAW;
            self.draw()?;
        }
        Ok(Next::Stays)
    }

    fn handle_key(&mut self, key: &KeyEvent) -> Meaning {
        if let Some(stream) = self.asked.take() {
            if key.code == event::KeyCode::Char('y') {
                keys::kick(stream, &self.controls);
            }
            return Meaning::Nothing;
        }
        let meaning = keys::handle_key(key, &mut self.picture, &self.controls);
        if let Meaning::Ask(stream) = meaning {
            self.asked = Some(stream);
        }
        meaning
    }

    fn draw(&mut self) -> io::Result<()> {
        let question = self.asked.and(self.picture.selected()).map(|stream| format!("send {} away? y/n", stream.peer));
        let (picture, theme) = (&self.picture, self.theme);
        self.terminal.draw(|frame| draw::draw(frame, picture, theme, question.as_deref())).map(drop)
    }

    /// What has happened meanwhile, for who reads lines afterwards.
    pub fn leave(mut self) -> Vec<String> {
        self.picture.log.drain(..).map(|(_, line)| line).collect()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was. Where that fails there is no terminal any more.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
}

/// What a panic says is to be read.
fn restore_before_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        before(info);
    }));
}

#[cfg(test)]
mod tests;
