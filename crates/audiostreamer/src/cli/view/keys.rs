//! What the keys do.

use audiostreamer_core::playout::{Latency, Profile};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::text::{Line, Span};
use tokio::sync::watch;

use super::picture::Picture;
use super::theme::Theme;
use crate::server::{Command, Remote, StreamId};
use crate::volume::{GAIN_MAX, GAIN_MIN, Volume};

/// How much one key press changes, in dB.
const GAIN_STEP: f32 = 1.0;

/// What the keys change.
#[derive(Clone, Debug)]
pub enum Controls {
    Server(Remote),
    Client(watch::Sender<Volume>),
}

/// What a key means to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Nothing,
    /// End the program.
    Quit,
    /// Lines instead of the view, from now on.
    Lines,
    /// Whether to send that client away.
    Ask(StreamId),
}

/// The line at the bottom.
pub fn help(is_server: bool, theme: Theme) -> Line<'static> {
    let keys: &[(&str, &str)] = if is_server {
        &[
            ("up/down", "choose"),
            ("m", "mute"),
            ("+ -", "gain"),
            ("k", "kick"),
            ("p", "profile"),
            ("l", "lines"),
            ("q", "quit"),
        ]
    } else {
        &[("up/down", "choose"), ("m", "mute"), ("+ -", "gain"), ("l", "lines"), ("q", "quit")]
    };
    let spans = keys
        .iter()
        .flat_map(|(key, what)| [Span::styled(format!(" {key}"), theme.title()), Span::raw(format!(" {what} "))]);
    Line::from(spans.collect::<Vec<_>>())
}

/// Does what a key says.
pub fn handle_key(key: &KeyEvent, picture: &mut Picture, controls: &Controls) -> Meaning {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if key.code == KeyCode::Char('c') { Meaning::Quit } else { Meaning::Nothing };
    }
    match key.code {
        KeyCode::Char('q') => return Meaning::Quit,
        KeyCode::Char('l') => return Meaning::Lines,
        KeyCode::Up => picture.select(-1),
        KeyCode::Down => picture.select(1),
        KeyCode::Char('m') => change_volume(picture, controls, |volume| Volume { muted: !volume.muted, ..volume }),
        KeyCode::Char('+' | '=') => change_volume(picture, controls, |volume| turned(volume, GAIN_STEP)),
        KeyCode::Char('-') => change_volume(picture, controls, |volume| turned(volume, -GAIN_STEP)),
        KeyCode::Char('p') => next_profile(picture, controls),
        KeyCode::Char('k') => return picture.selected().map_or(Meaning::Nothing, |stream| Meaning::Ask(stream.id)),
        _ => {}
    }
    Meaning::Nothing
}

/// Sends a client away.
pub fn kick(stream: StreamId, controls: &Controls) {
    if let Controls::Server(remote) = controls {
        remote.send(Command::Kick { stream });
    }
}

fn turned(volume: Volume, step: f32) -> Volume {
    Volume { gain: (volume.gain + step).clamp(GAIN_MIN, GAIN_MAX), ..volume }
}

/// What is shown changes with it at once: the next key press builds on it, whenever the next status
/// comes.
fn change_volume(picture: &mut Picture, controls: &Controls, change: impl Fn(Volume) -> Volume) {
    match controls {
        Controls::Client(volume) => volume.send_modify(|volume| *volume = change(*volume)),
        Controls::Server(remote) => {
            let selected = picture.selected;
            let streams = picture.server.iter_mut().flat_map(|status| &mut status.streams);
            for stream in streams.filter(|stream| Some(stream.id) == selected) {
                stream.volume = change(stream.volume);
                remote.send(Command::Volume { stream: stream.id, volume: stream.volume });
            }
        }
    }
}

/// The one with a little more delay and less to be heard, then from the front again. A fixed delay
/// becomes one that finds itself.
fn next_profile(picture: &mut Picture, controls: &Controls) {
    let (Controls::Server(remote), Some(status)) = (controls, &mut picture.server) else { return };
    status.profile = match status.profile {
        Profile::Live => Profile::Talk,
        Profile::Talk => Profile::Listen,
        Profile::Listen => Profile::Hifi,
        Profile::Hifi => Profile::Live,
    };
    status.latency = Latency::Auto;
    remote.send(Command::Profile(status.profile));
    remote.send(Command::Latency(Latency::Auto));
}
