//! What the terminal view shows, made of reports. Nothing here draws.

use std::collections::VecDeque;
use std::time::Duration;

use audiostreamer_core::Instant;

use super::meter::Meter;
use crate::report::{Event, Report};
use crate::server::{StreamId, StreamStatus};
use crate::stats::Sampler;
use crate::stats::snapshot::{Side, Snapshot};
use crate::{client, server};

/// Seconds that the histories go back: as wide as a wide terminal.
const HISTORY: usize = 240;

/// Lines that are kept of what happened; they are printed when the view is left.
const LOG: usize = 200;

/// How one side stands and how it came to that.
#[derive(Debug)]
pub struct Picture {
    pub started: Instant,
    pub now: Instant,
    /// Where the server listens.
    pub listening: Option<String>,
    /// The sound card, as it was opened; or that it is gone.
    pub device: String,
    pub server: Option<server::Status>,
    pub client: Option<client::Status>,
    /// Of the whole.
    pub meter: Meter,
    pub streams: Vec<StreamPicture>,
    /// The stream that keys are about.
    pub selected: Option<StreamId>,
    pub destinations: Vec<DestinationPicture>,
    /// The destination that is shown in full.
    pub chosen: usize,
    pub log: VecDeque<(Duration, String)>,
    sampler: Sampler,
}

/// What is remembered of a stream.
#[derive(Debug)]
pub struct StreamPicture {
    pub id: StreamId,
    pub meter: Meter,
    pub bitrate: f64,
    pub histories: Histories,
}

/// What is remembered of a destination.
#[derive(Debug)]
pub struct DestinationPicture {
    pub peer: String,
    pub bitrate: f64,
    pub histories: Histories,
}

/// Each second's losses.
#[derive(Debug, Default)]
pub struct Histories {
    /// Packets that never came.
    pub lost: History,
    /// Sound made up, in milliseconds; of a client, packets that were not sent.
    pub concealed: History,
}

/// Growth of a counter, second by second, the latest last.
#[derive(Debug, Default)]
pub struct History {
    counter: f64,
    pub seconds: VecDeque<f64>,
}

impl History {
    /// Takes what the counter says now.
    fn count(&mut self, counter: f64) {
        let growth = (counter - self.counter).max(0.0); // it begins anew with its stream
        self.counter = counter;
        if self.seconds.len() == HISTORY {
            self.seconds.pop_front();
        }
        self.seconds.push_back(growth);
    }

    /// Of all seconds that are remembered.
    pub fn sum(&self) -> f64 {
        self.seconds.iter().sum()
    }
}

impl Picture {
    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            now,
            listening: None,
            device: "not open yet".into(),
            server: None,
            client: None,
            meter: Meter::new(now),
            streams: Vec::new(),
            selected: None,
            destinations: Vec::new(),
            chosen: 0,
            log: VecDeque::new(),
            sampler: Sampler::new(now),
        }
    }

    /// Takes a report.
    pub fn handle_report(&mut self, now: Instant, report: Report) {
        self.now = now;
        if let Some(snapshot) = self.sampler.handle_report(now, &report) {
            self.remember(snapshot);
        }
        match report {
            Report::Event(event) => self.handle_event(&event),
            Report::Client(status) => {
                self.meter.handle_peak(now, status.peak);
                self.chosen = self.chosen.min(status.destinations.len().saturating_sub(1));
                self.client = Some(status);
            }
            Report::Server(status) => self.handle_server(now, status),
        }
    }

    fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Listening { address, transports } => self.listening = Some(format!("{address} ({transports})")),
            // In a conversation there is a card of the other kind, too, which has no place here.
            Event::Playing { name, shape } if self.client.is_none() => self.device = format!("{name}, {shape}"),
            Event::Capturing { name, shape } if self.listening.is_none() => self.device = format!("{name}, {shape}"),
            Event::DeviceLost { name, .. } if self.device.starts_with(name) => self.device = format!("{name} is gone"),
            _ => {}
        }
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back((self.now - self.started, event.to_string()));
    }

    fn handle_server(&mut self, now: Instant, status: server::Status) {
        self.meter.handle_peak(now, status.levels.map_or(0.0, |levels| levels.peak));
        self.streams.retain(|known| status.streams.iter().any(|stream| stream.id == known.id));
        for stream in &status.streams {
            self.stream(now, stream.id).meter.handle_peak(now, stream.peak);
        }
        if !self.streams.iter().any(|stream| Some(stream.id) == self.selected) {
            self.selected = self.streams.first().map(|stream| stream.id);
        }
        self.server = Some(status);
    }

    fn stream(&mut self, now: Instant, id: StreamId) -> &mut StreamPicture {
        let index = self.streams.iter().position(|known| known.id == id).unwrap_or_else(|| {
            let (meter, histories) = (Meter::new(now), Histories::default());
            self.streams.push(StreamPicture { id, meter, bitrate: 0.0, histories });
            self.streams.len() - 1
        });
        &mut self.streams[index]
    }

    fn destination(&mut self, peer: &str) -> &mut DestinationPicture {
        let index = self.destinations.iter().position(|known| known.peer == peer).unwrap_or_else(|| {
            let (peer, histories) = (peer.to_owned(), Histories::default());
            self.destinations.push(DestinationPicture { peer, bitrate: 0.0, histories });
            self.destinations.len() - 1
        });
        &mut self.destinations[index]
    }

    fn remember(&mut self, snapshot: Snapshot) {
        match snapshot.side {
            Side::Client(client) => {
                self.destinations.retain(|known| client.destinations.iter().any(|to| to.peer == known.peer));
                for to in client.destinations {
                    let known = self.destination(&to.peer);
                    known.bitrate = to.bitrate;
                    known.histories.lost.count(to.packets_lost.into());
                    known.histories.concealed.count(to.packets_not_sent as f64);
                }
            }
            Side::Server(server) => {
                for stream in server.streams {
                    let known = self.stream(self.now, StreamId(stream.id));
                    known.bitrate = stream.bitrate;
                    known.histories.lost.count(stream.packets_lost as f64);
                    known.histories.concealed.count(stream.concealed * 1e3);
                }
            }
        }
    }

    /// Chooses the next stream or destination, or with -1 the one before.
    pub fn select(&mut self, step: isize) {
        let destinations = self.client.as_ref().map_or(0, |status| status.destinations.len());
        self.chosen = self.chosen.saturating_add_signed(step).min(destinations.saturating_sub(1));
        let chosen = self.streams.iter().position(|stream| Some(stream.id) == self.selected).unwrap_or(0);
        let chosen = chosen.saturating_add_signed(step).min(self.streams.len().saturating_sub(1));
        self.selected = self.streams.get(chosen).map(|stream| stream.id);
    }

    /// What the server says of the chosen stream.
    pub fn selected(&self) -> Option<&StreamStatus> {
        let streams = &self.server.as_ref()?.streams;
        streams.iter().find(|stream| Some(stream.id) == self.selected)
    }

    /// What is remembered of it.
    pub fn remembered(&self, id: StreamId) -> Option<&StreamPicture> {
        self.streams.iter().find(|known| known.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_growth_and_survives_a_counter_that_begins_anew() {
        let mut history = History::default();
        [0.0, 3.0, 3.0, 1.0, 2.0].into_iter().for_each(|counter| history.count(counter));
        assert_eq!(history.seconds, [0.0, 3.0, 0.0, 0.0, 1.0]);
        (0..1000).for_each(|_| history.count(2.0));
        assert_eq!(history.seconds.len(), HISTORY);
    }

    #[test]
    fn what_happens_is_kept_but_not_for_ever() {
        let mut picture = Picture::new(Instant::default());
        for _ in 0..1000 {
            picture.handle_report(Instant::default(), Report::Event(Event::NoRealTime));
        }
        assert_eq!(picture.log.len(), LOG);
    }
}
