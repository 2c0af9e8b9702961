//! What delay is possible, and what limits it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::cards::Cards;
use super::machine::millis;
use super::stream::Path;

/// From mouth to ear, by stage. What was not measured is left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delay {
    /// Each stage with its seconds, in the order in which sound passes them.
    pub stages: Vec<Stage>,
    /// Of all of them, in seconds.
    pub sum: f64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// What it is.
    pub name: &'static str,
    /// In seconds.
    pub seconds: f64,
    /// What makes it shorter.
    #[serde(skip)]
    way_out: &'static str,
}

/// What one packet holds where nothing else is said.
const FRAME: Duration = Duration::from_millis(5);

/// What the playout needs where nothing is late: half a period of the card, and its resampler.
const PLAYOUT: Duration = Duration::from_millis(2);

impl Delay {
    /// Of what was measured; `None` where nothing was.
    pub fn possible(cards: &Cards, path: Option<&Path>, frame: Option<Duration>) -> Option<Self> {
        if cards.input.is_none() && cards.output.is_none() && path.is_none() {
            return None;
        }
        let stage = |name, delay: Duration, way_out| Stage { name, seconds: delay.as_secs_f64(), way_out };
        let input = cards.input.map(|card| {
            stage("capture", card.delay, "ask the card for shorter blocks (--period 128), or use it through JACK")
        });
        let frame = stage("frame", frame.unwrap_or(FRAME), "--frame 2.5ms, at the price of more packets");
        let network = path.map(|path| {
            stage(
                "network",
                path.round_trip() / 2,
                "nothing shortens the way itself; a cable in place of Wi-Fi, and no VPN, often do",
            )
        });
        let buffer = stage(
            "playout",
            PLAYOUT + path.map_or(Duration::ZERO, |path| 4 * path.jitter),
            "what varies on the way has to be waited for: a cable in place of Wi-Fi, `server --profile live`",
        );
        let output = cards.output.map(|card| {
            stage("playback", card.delay, "ask the card for shorter blocks (--period 128), or use it through JACK")
        });
        let stages: Vec<Stage> = [input, Some(frame), network, Some(buffer), output].into_iter().flatten().collect();
        let sum = stages.iter().map(|stage| stage.seconds).sum();
        Some(Self { stages, sum })
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |seconds: f64| millis(Duration::from_secs_f64(seconds.max(0.0)));
        let has = |name| self.stages.iter().any(|stage| stage.name == name);
        let ends = match (has("capture"), has("network"), has("playback")) {
            (true, true, true) => "From this microphone to a card like this one at the other end",
            (true, false, true) => "From this microphone to a card like this one beside it",
            (_, true, _) => "Of what was measured, from here to there",
            _ => "Of what was measured",
        };
        let list: Vec<String> =
            self.stages.iter().map(|stage| format!("{} {}", stage.name, millis(stage.seconds))).collect();
        write!(f, "{ends} about {} are possible: {}.", millis(self.sum), list.join(", "))?;
        let longest = self.stages.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
        match longest {
            Some(Stage { name, seconds, way_out }) => {
                write!(f, "\nMost of it is {name} ({}): {way_out}.", millis(*seconds))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::beat::Regularity;

    #[test]
    fn the_longest_stage_is_named() {
        let card = |delay| Regularity {
            frames: 240,
            delay: Duration::from_millis(delay),
            late: Duration::ZERO,
            latest: Duration::ZERO,
        };
        let cards = Cards { input: Some(card(8)), output: Some(card(30)) };
        let path =
            Path { round_trips: vec![Duration::from_millis(4)], jitter: Duration::from_millis(1), lost: 0, sent: 0 };
        let delay = Delay::possible(&cards, Some(&path), None).unwrap();
        assert!((delay.sum - 0.051).abs() < 1e-9, "{delay:?}");
        let text = delay.to_string();
        assert!(
            text.contains("about 51.0 ms are possible") && text.contains("Most of it is playback (30.0 ms)"),
            "{text}"
        );
        assert_eq!(Delay::possible(&Cards::default(), None, None), None);
    }
}
