//! Statistics for programs: a snapshot a second, as JSON lines and for Prometheus.

pub mod metrics;
mod prometheus;
pub mod snapshot;

use std::time::Duration;

use audiostreamer_core::Instant;

use crate::client::FeedStatus;
use crate::clock;
use crate::report::Report;
use crate::server::{StreamId, StreamStatus};
use snapshot::{Client, SCHEMA, Server, Side, Snapshot};

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Makes one snapshot a second of the reports of one side, which come more often.
#[derive(Debug)]
pub struct Sampler {
    next: Instant,
    /// The loudest since the last snapshot, of the whole and of each stream.
    peak: f32,
    limiter_gain: f32,
    peaks: Vec<(StreamId, f32)>,
    /// When the bytes were last counted, and how many there were of each stream or to each destination.
    counted: Instant,
    bytes: Vec<(String, u64)>,
    /// Of the other direction, and what it made last.
    talkback: Option<(Box<Sampler>, Option<Side>)>,
}

impl Sampler {
    /// One that begins at `now`; the first snapshot comes a second later.
    pub fn new(now: Instant) -> Self {
        let (peaks, bytes) = (Vec::new(), Vec::new());
        Self { next: now + INTERVAL, peak: 0.0, limiter_gain: 1.0, peaks, counted: now, bytes, talkback: None }
    }

    /// Takes a report; when a second is over, what it was like.
    pub fn handle_report(&mut self, now: Instant, report: &Report) -> Option<Snapshot> {
        match report {
            Report::Event(_) => return None,
            Report::Client(status) => {
                let talkback = status.talkback.clone();
                self.sample_talkback(now, talkback.map(|status| Report::Server(*status)));
                self.peak = self.peak.max(status.peak);
            }
            Report::Server(status) => {
                let talkback = status.talkback.clone();
                self.sample_talkback(now, talkback.map(|status| Report::Client(*status)));
                let levels = status.levels.unwrap_or_default();
                self.peak = self.peak.max(levels.peak);
                self.limiter_gain = self.limiter_gain.min(levels.limiter_gain);
                for stream in &status.streams {
                    match self.peaks.iter_mut().find(|(id, _)| *id == stream.id) {
                        Some((_, peak)) => *peak = peak.max(stream.peak),
                        None => self.peaks.push((stream.id, stream.peak)),
                    }
                }
            }
        }
        (now >= self.next).then(|| self.sample(now, report))
    }

    fn sample_talkback(&mut self, now: Instant, report: Option<Report>) {
        let Some(report) = report else { return };
        let (sampler, last) = self.talkback.get_or_insert_with(|| (Box::new(Sampler::new(now)), None));
        *last = sampler.handle_report(now, &report).map(|snapshot| snapshot.side).or(last.take());
    }

    fn sample(&mut self, now: Instant, report: &Report) -> Snapshot {
        let talkback = self.talkback.as_ref().and_then(|(_, last)| last.clone()).map(Box::new);
        let side = match report {
            Report::Server(status) => Side::Server(Server { talkback, ..self.sample_server(now, status) }),
            Report::Client(status) => {
                let bitrate = |to: &FeedStatus| self.bitrate(now, &to.peer, to.stats.bytes_sent);
                let client = Client { peak: self.peak, talkback, ..Client::new(status, bitrate) };
                self.bytes = status.destinations.iter().map(|to| (to.peer.clone(), to.stats.bytes_sent)).collect();
                Side::Client(client)
            }
            Report::Event(_) => unreachable!("an event is no status"),
        };
        let (bytes, talkback) = (std::mem::take(&mut self.bytes), self.talkback.take());
        // Each second, though reports don't fall on its end; after a standstill there is nothing to make up for.
        let due = self.next + INTERVAL;
        let next = if due > now { due } else { now + INTERVAL };
        *self = Self { next, bytes, talkback, ..Self::new(now) };
        Snapshot { schema: SCHEMA, timestamp: clock::unix_time().as_secs_f64(), side }
    }

    fn sample_server(&mut self, now: Instant, status: &crate::server::Status) -> Server {
        let name = |stream: &StreamStatus| stream.id.0.to_string();
        let mut server = Server::new(status, |stream| self.bitrate(now, &name(stream), stream.received.bytes_received));
        self.bytes = status.streams.iter().map(|stream| (name(stream), stream.received.bytes_received)).collect();
        if let Some(output) = &mut server.output {
            (output.peak, output.limiter_gain) = (self.peak, self.limiter_gain);
        }
        for stream in &mut server.streams {
            let peak = self.peaks.iter().find(|(id, _)| id.0 == stream.id);
            stream.peak = peak.map_or(0.0, |(_, peak)| *peak);
        }
        server
    }

    /// Bits of payload per second since the last snapshot; of a new stream, since then, too.
    fn bitrate(&self, now: Instant, name: &str, bytes: u64) -> f64 {
        let before = self.bytes.iter().find(|(known, _)| known == name).map_or(0, |(_, bytes)| *bytes);
        let seconds = now.seconds_since(self.counted).max(1e-3);
        bytes.saturating_sub(before) as f64 * 8.0 / seconds
    }
}

#[cfg(test)]
mod tests {
    use audiostreamer_core::{Format, sender};

    use super::*;
    use crate::client::{FeedStatus, State, Status};
    use crate::volume::Volume;

    fn status(peak: f32, bytes_sent: u64) -> Report {
        Report::Client(Status {
            format: Some(Format::OPUS),
            volume: Volume::default(),
            peak,
            xruns: 0,
            send_delay: Duration::from_millis(3),
            destinations: [("studio:5004", 1), ("kitchen:5004", 2)]
                .into_iter()
                .map(|(peer, times)| FeedStatus {
                    state: State::Heard,
                    peer: peer.into(),
                    transport: None,
                    encrypted: true,
                    stats: sender::Stats { bytes_sent: times * bytes_sent, ..Default::default() },
                    packets_dropped: 0,
                    target_bps: 96_000.0,
                })
                .collect(),
            talkback: None,
        })
    }

    #[test]
    fn a_second_has_the_loudest_of_its_peaks_and_the_bits_of_all_its_packets() {
        let mut sampler = Sampler::new(Instant::default());
        let mut samples = Vec::new();
        for tenth in 1..=20 {
            let peak = if tenth == 4 { 0.75 } else { 0.1 };
            let now = Instant::from_nanos(tenth * 100_000_000);
            samples.extend(sampler.handle_report(now, &status(peak, tenth * 1_200)));
        }
        let [Side::Client(first), Side::Client(second)] = [&samples[0].side, &samples[1].side] else { panic!() };
        assert_eq!((first.peak, second.peak), (0.75, 0.1));
        for second in [first, second] {
            let bitrates: Vec<f64> = second.destinations.iter().map(|to| to.bitrate).collect();
            assert_eq!(bitrates, [96_000.0, 192_000.0]);
        }
        assert_eq!(samples.len(), 2);
    }

    #[test]
    fn each_second_has_one_whenever_reports_come_and_a_standstill_is_not_made_up_for() {
        let mut sampler = Sampler::new(Instant::default());
        let mut count = |millis: std::ops::Range<u64>| {
            let times = millis.step_by(105).map(|millis| Instant::from_nanos(millis * 1_000_000));
            times.filter_map(|now| sampler.handle_report(now, &status(0.1, 0))).count()
        };
        assert_eq!(count(0..60_150), 60);
        assert_eq!(count(90_000..95_000), 5);
    }

    #[test]
    fn a_snapshot_is_one_object_with_a_version() {
        let mut sampler = Sampler::new(Instant::default());
        let snapshot = sampler.handle_report(Instant::from_nanos(1_000_000_000), &status(0.5, 0)).unwrap();
        let json = serde_json::to_value(snapshot).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(
            (&json["side"], &json["codec"], &json["sendDelay"]),
            (&"client".into(), &"opus".into(), &0.003.into())
        );
        let to = &json["destinations"][1];
        assert_eq!((&to["peer"], &to["state"]), (&"kitchen:5004".into(), &"streaming".into()));
        assert_eq!(to["roundTripTime"], serde_json::Value::Null, "what is not known is said to be");
    }
}
