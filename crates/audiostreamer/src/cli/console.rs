//! What is written while sound goes: the terminal view, or lines on standard error with a status
//! line below them, and statistics for programs.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use audiostreamer_core::Instant;

use super::stats::Statistics;
use super::view::{Controls, Next, View};
use crate::clock;
use crate::report::{Event, Report};

/// Reports that wait to be written: 12 s of statuses. When the terminal is stuck, later ones
/// are dropped; sound never waits for text.
const WAITING_MAX: usize = 128;

/// Of what happens before the first client comes, the view is told so much: where it listens, what it plays on.
const EVENTS_MAX: usize = 64;

/// On a terminal the status is redrawn at every report, otherwise a line is printed so often.
const STATUS_LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Keys are looked for so often.
const KEYS_INTERVAL: Duration = Duration::from_millis(50);

/// How the user is shown what happens.
#[derive(Debug)]
pub enum Show {
    /// The terminal view, where keys change this.
    View(Controls),
    /// Lines until a client has come, for there is something above them to be read; then the view.
    ViewOfClients(Controls),
    /// Lines and statuses.
    Lines,
    /// Lines alone.
    Events,
}

/// Writes reports on a thread of its own.
pub struct Console {
    reports: SyncSender<Report>,
    writing: JoinHandle<()>,
}

impl Console {
    /// Starts the thread.
    pub fn start(show: Show, statistics: Statistics) -> Self {
        let (reports, inbox) = sync_channel(WAITING_MAX);
        let writing = std::thread::spawn(move || write_all(&inbox, show, statistics));
        Self { reports, writing }
    }

    /// A function that hands reports to the thread.
    pub fn report(&self) -> impl Fn(Report) + Send + Clone + 'static {
        let reports = self.reports.clone();
        move |report| drop(reports.try_send(report))
    }

    /// Writes what waits, when all who report have ended; gives up when standard error is stuck.
    pub fn finish(self) {
        drop(self.reports);
        let deadline = clock::now() + Duration::from_millis(200);
        while !self.writing.is_finished() && clock::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write_all(inbox: &Receiver<Report>, show: Show, mut statistics: Statistics) {
    let mut screen = Screen::new(show);
    loop {
        let report = match &screen {
            Screen::View(_) => inbox.recv_timeout(KEYS_INTERVAL),
            Screen::Lines(_) | Screen::LinesFirst { .. } => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let now = clock::now();
        match report {
            Ok(report) => {
                statistics.handle_report(now, &report);
                screen = screen.handle_report(now, report);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        screen = screen.at(now);
    }
    screen.into_lines().clear();
}

enum Screen {
    View(Box<View>),
    Lines(Lines),
    LinesFirst {
        lines: Lines,
        controls: Controls,
        /// For the view, when it comes.
        events: Vec<Report>,
    },
}

impl Screen {
    fn new(show: Show) -> Self {
        let status = !matches!(show, Show::Events);
        let lines = Lines::new(status);
        match show {
            Show::View(controls) => Self::view(lines, controls),
            Show::ViewOfClients(controls) => Screen::LinesFirst { lines, controls, events: Vec::new() },
            Show::Lines | Show::Events => Screen::Lines(lines),
        }
    }

    fn view(mut lines: Lines, controls: Controls) -> Self {
        lines.clear();
        match View::start(clock::now(), controls) {
            Ok(view) => Screen::View(Box::new(view)),
            Err(error) => {
                lines.line(&format!("no terminal view: {}", crate::error::plain(&error)));
                Screen::Lines(lines)
            }
        }
    }

    fn handle_report(self, now: Instant, report: Report) -> Self {
        match self {
            Screen::View(mut view) => {
                view.handle_report(now, report);
                Screen::View(view)
            }
            Screen::Lines(mut lines) => {
                lines.show(&report);
                Screen::Lines(lines)
            }
            Screen::LinesFirst { lines, controls, events }
                if matches!(report, Report::Event(Event::ClientStarted { .. })) =>
            {
                let view = Self::view(lines, controls);
                events.into_iter().chain([report]).fold(view, |view, event| view.handle_report(now, event))
            }
            Screen::LinesFirst { mut lines, controls, mut events } => {
                lines.show(&report);
                if matches!(report, Report::Event(_)) && events.len() < EVENTS_MAX {
                    events.push(report);
                }
                Screen::LinesFirst { lines, controls, events }
            }
        }
    }

    fn at(mut self, now: Instant) -> Self {
        match &mut self {
            // A terminal that has gone away (ssh) leaves nobody to read the lines, either.
            Screen::View(view) => match view.handle_time(now) {
                Ok(Next::Stays) => self,
                Ok(Next::Leaves) | Err(_) => Screen::Lines(self.into_lines()),
            },
            Screen::Lines(_) | Screen::LinesFirst { .. } => self,
        }
    }

    /// Gives the terminal back, with what happened meanwhile.
    fn into_lines(self) -> Lines {
        match self {
            Screen::Lines(lines) | Screen::LinesFirst { lines, .. } => lines,
            Screen::View(view) => {
                let happened = view.leave();
                let mut lines = Lines::new(true);
                happened.iter().for_each(|text| lines.line(text));
                lines
            }
        }
    }
}

struct Lines {
    terminal: bool,
    status: bool,
    drawn: bool,
    next_line: Instant,
}

impl Lines {
    fn new(status: bool) -> Self {
        Self { terminal: std::io::stderr().is_terminal(), status, drawn: false, next_line: clock::now() }
    }

    fn show(&mut self, report: &Report) {
        match report {
            Report::Event(event) => self.line(&event.to_string()),
            Report::Client(status) => self.show_status(&status.to_string()),
            Report::Server(status) => self.show_status(&status.to_string()),
        }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        // Nobody to read it is no reason to stop the sound.
        let _ = writeln!(std::io::stderr(), "audiostreamer: {text}");
    }

    fn show_status(&mut self, text: &str) {
        if !self.status {
            return;
        }
        if self.terminal {
            let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            let shown: String = text.chars().take(width.saturating_sub(1)).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[K{shown}");
            self.drawn = true;
        } else if clock::now() >= self.next_line {
            self.next_line = clock::now() + STATUS_LINE_INTERVAL;
            self.line(&format!("status: {text}"));
        }
    }

    /// Takes the status line off the screen, so that a line can take its place.
    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
