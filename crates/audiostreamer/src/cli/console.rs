//! Standard error: lines as things happen, and on a terminal a status line that stays below them.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use audiostreamer_core::Instant;

use super::stats::Statistics;
use crate::clock;
use crate::report::Report;

/// Reports that wait to be written: about 10 s of statuses. When standard error is stuck, later
/// ones are dropped; sound never waits for text.
const WAITING_MAX: usize = 128;

/// On a terminal the status is redrawn at every report, otherwise a line is printed so often.
const STATUS_LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Writes reports on a thread of its own.
pub struct Console {
    reports: SyncSender<Report>,
    writing: JoinHandle<()>,
}

impl Console {
    /// Starts the thread. `status` says whether statuses are shown.
    pub fn start(status: bool, mut statistics: Statistics) -> Self {
        let (reports, inbox) = sync_channel(WAITING_MAX);
        let writing = std::thread::spawn(move || {
            let mut screen = Screen::new(status);
            for report in &inbox {
                screen.show(&report);
                statistics.handle_report(clock::now(), &report);
            }
            screen.finish();
        });
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

struct Screen {
    terminal: bool,
    status: bool,
    drawn: bool,
    next_line: Instant,
}

impl Screen {
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

    fn finish(&mut self) {
        self.clear();
    }
}
