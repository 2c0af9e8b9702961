//! A picture as lines of text, for any size of terminal: what matters most stands first and is cut
//! last.

use std::time::Duration;

use audiostreamer_core::fader::decibels;
use audiostreamer_core::playout::Latency;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span, Text};

use super::keys;
use super::meter::Meter;
use super::picture::{Histories, History, Picture};
use super::theme::Theme;
use crate::client::{self, FeedStatus};
use crate::link::Transport;
use crate::report::{self, Count, Milliseconds};
use crate::server::{Status, StreamStatus};

/// What stands before a row's contents.
const LABEL: usize = 11;

/// What the time of an event takes.
const TIME: usize = 8;

/// Streams that have a row; the chosen one is always among them.
const ROWS_MAX: usize = 8;

/// Draws all of it; `question` stands where the keys are.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture, theme: Theme, question: Option<&str>) {
    let width = usize::from(frame.area().width);
    let lines = match (&picture.server, &picture.client) {
        (Some(status), _) => server(picture, status, theme, width),
        (None, Some(status)) => client(picture, status, theme, width),
        (None, None) => vec![Line::styled(" audiostreamer", theme.title())],
    };
    let rows = [Constraint::Max(lines.len() as u16), Constraint::Min(0), Constraint::Length(1)];
    let [main, log, last] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Text::from(lines), main);
    frame.render_widget(log_lines(picture, theme, log), log);
    let keys = match question {
        Some(question) => Line::styled(format!(" {question}"), theme.bad()),
        None => keys::help(picture.server.is_some(), theme),
    };
    frame.render_widget(keys, last);
}

fn server(picture: &Picture, status: &Status, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let delay = match status.latency {
        Latency::Auto => format!("profile {}", status.profile),
        Latency::Fixed(delay) => format!("delay {}", Milliseconds(delay)),
    };
    let listening = picture.listening.clone().unwrap_or_default();
    let mut lines = vec![
        title(theme, width, &format!("audiostreamer server  {listening}"), &delay),
        row(theme, "output", vec![picture.device.clone().into()]),
        level(theme, width, &picture.meter, limited(status)),
        row(theme, "", vec![counts(status).into()]),
    ];
    if let Some(back) = &status.talkback {
        let hear = Count(back.destinations.len() as u64, "client");
        lines.push(row(theme, "talkback", vec![format!("{} to {hear}", report::Meter(back.peak)).into()]));
    }
    if status.streams.is_empty() {
        lines.push(Line::styled(" waiting for a client", theme.faint()));
        return lines;
    }
    lines.push(Line::styled(STREAM_HEAD, theme.faint()));
    let chosen = status.streams.iter().position(|stream| Some(stream.id) == picture.selected).unwrap_or(0);
    let first = chosen.saturating_sub(ROWS_MAX - 1);
    for stream in status.streams.iter().skip(first).take(ROWS_MAX) {
        lines.push(stream_row(picture, status, stream, theme));
    }
    if status.streams.len() > ROWS_MAX {
        lines.push(Line::styled(format!(" {} in all", status.streams.len()), theme.faint()));
    }
    if let Some(stream) = picture.selected() {
        lines.push(Line::default());
        lines.extend(stream_details(picture, status, stream, theme, width));
    }
    lines
}

const STREAM_HEAD: &str = "   client                codec way           level        gain  latency  lost";

fn stream_row(picture: &Picture, status: &Status, stream: &StreamStatus, theme: Theme) -> Line<'static> {
    let way = way(stream.transport, stream.encrypted);
    let budget = stream.budget(&status.levels.unwrap_or_default());
    let meter = picture.remembered(stream.id).map(|known| theme.meter(&known.meter, 10)).unwrap_or_default();
    let is_chosen = picture.selected == Some(stream.id);
    let mark = if is_chosen { ">" } else { " " };
    let mut spans = vec![Span::raw(format!(
        " {mark} {:<21} {:<5} {way:<13} ",
        shortened(&stream.peer.to_string(), 21),
        stream.format.codec.to_string(),
    ))];
    spans.extend(meter);
    spans.push(Span::raw(format!(
        " {:>6} {:>8} {:>5}",
        stream.volume.to_string(),
        Milliseconds(budget.sum()).to_string(),
        stream.received.packets_lost
    )));
    let line = Line::from(spans);
    if is_chosen { line.style(theme.chosen()) } else { line }
}

fn stream_details(
    picture: &Picture,
    status: &Status,
    stream: &StreamStatus,
    theme: Theme,
    width: usize,
) -> Vec<Line<'static>> {
    let budget = stream.budget(&status.levels.unwrap_or_default());
    let stages = budget.stages();
    let seconds = |delay: Option<Duration>| delay.unwrap_or_default().as_secs_f64();
    let parts = stages.map(|(name, delay)| (name.chars().next().unwrap_or_default(), seconds(delay)));
    let names = stages.map(|(name, delay)| {
        let letter = name.chars().next().unwrap_or_default();
        match delay {
            Some(delay) => format!("{letter} {name} {}", Milliseconds(delay)),
            None => format!("{letter} {name} ?"),
        }
    });
    let playout = &stream.playout;
    let (bitrate, histories) =
        picture.remembered(stream.id).map(|known| (known.bitrate, Some(&known.histories))).unwrap_or_default();
    let trip = stream.received.round_trip_time;
    let mut lines = vec![
        bar_row(theme, "latency", theme.stacked(&parts, width.saturating_sub(LABEL + 1))),
        row(theme, &Milliseconds(budget.sum()).to_string(), vec![names[..3].join("  ").into()]),
        row(theme, "", vec![names[3..].join("  ").into()]),
        row(
            theme,
            "playout",
            vec![
                format!(
                    "delay {}  target {}  clock {:+.1} ppm  jitter {}",
                    Milliseconds(playout.delay),
                    Milliseconds(playout.target_delay),
                    playout.clock_offset_ppm,
                    Milliseconds(stream.received.jitter)
                )
                .into(),
            ],
        ),
        row(
            theme,
            "stream",
            vec![
                format!(
                    "{}  {:.0} kbit/s  round trip {}",
                    stream.format,
                    bitrate / 1e3,
                    trip.map_or("?".into(), |trip| Milliseconds(trip).to_string())
                )
                .into(),
            ],
        ),
    ];
    lines.extend(
        histories.map(|histories| history_rows(theme, width, histories, ("concealed", "ms"))).into_iter().flatten(),
    );
    lines
}

fn client(picture: &Picture, status: &client::Status, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let name = match &*status.destinations {
        [one] => one.peer.clone(),
        several => Count(several.len() as u64, "destination").to_string(),
    };
    let format = status.format.map_or("?".into(), |format| format.to_string());
    let delay =
        format!("{} from the card to the wire  {}", Milliseconds(status.send_delay), Count(status.xruns, "xrun"));
    let mut lines = vec![
        title(theme, width, &format!("audiostreamer client  {name}"), &format),
        row(theme, "input", vec![picture.device.clone().into()]),
        level(theme, width, &picture.meter, Span::raw(status.volume.to_string())),
        row(theme, "delay", vec![delay.into()]),
    ];
    if let Some(back) = &status.talkback {
        lines.push(row(theme, "hears", vec![back.to_string().into()]));
    }
    lines.push(Line::styled(DESTINATION_HEAD, theme.faint()));
    let first = picture.chosen.saturating_sub(ROWS_MAX - 1);
    for (index, to) in status.destinations.iter().enumerate().skip(first).take(ROWS_MAX) {
        lines.push(destination_row(to, index == picture.chosen, theme));
    }
    if status.destinations.len() > ROWS_MAX {
        lines.push(Line::styled(format!(" {} in all", status.destinations.len()), theme.faint()));
    }
    if let Some(to) = status.destinations.get(picture.chosen) {
        lines.push(Line::default());
        lines.extend(destination_details(picture, to, theme, width));
    }
    lines
}

const DESTINATION_HEAD: &str = "   server                way           state                packets  lost  round trip";

fn destination_row(to: &FeedStatus, is_chosen: bool, theme: Theme) -> Line<'static> {
    let way = to.transport.map_or("no link".into(), |transport| way(transport, to.encrypted));
    let trip = to.stats.round_trip_time.map_or("?".into(), |trip| Milliseconds(trip).to_string());
    let line = Line::from(format!(
        " {} {:<21} {way:<13} {:<18} {:>9} {:>5} {trip:>11}",
        if is_chosen { ">" } else { " " },
        shortened(&to.peer, 21),
        to.state.to_string(),
        to.stats.packets_sent,
        to.stats.packets_lost,
    ));
    if is_chosen { line.style(theme.chosen()) } else { line }
}

fn destination_details(picture: &Picture, to: &FeedStatus, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let known = picture.destinations.iter().find(|known| known.peer == to.peer);
    let text = format!(
        "{:.0} kbit/s  {} not sent  jitter at the server {}",
        known.map_or(0.0, |known| known.bitrate) / 1e3,
        Count(to.packets_dropped, "packet"),
        Milliseconds(to.stats.jitter)
    );
    let mut lines = vec![row(theme, "stream", vec![text.into()])];
    lines.extend(
        known.into_iter().flat_map(|known| history_rows(theme, width, &known.histories, ("not sent", "packets"))),
    );
    lines
}

/// How packets travel, in two words.
fn way(transport: Transport, encrypted: bool) -> String {
    format!("{transport}{}", if encrypted { " encrypted" } else { " clear" })
}

fn history_rows(
    theme: Theme,
    width: usize,
    Histories { lost, concealed }: &Histories,
    (second, unit): (&'static str, &str),
) -> [Line<'static>; 2] {
    let line = |name, history: &History, unit: &str, least| {
        let text = format!(" {:.0} {unit}", history.sum());
        let space = width.saturating_sub(LABEL + 1 + text.len());
        let mut bar = theme.sparkline(history.seconds.iter().copied(), space, least);
        bar.push_span(Span::raw(text));
        bar_row(theme, name, bar)
    };
    [line("lost", lost, "packets", 10.0), line(second, concealed, unit, 100.0)]
}

/// A name on the left, and something on the right where there is room for both.
fn title(theme: Theme, width: usize, name: &str, right: &str) -> Line<'static> {
    let space = width.saturating_sub(name.chars().count() + 2);
    Line::styled(format!(" {name}{right:>space$} "), theme.title())
}

fn row(theme: Theme, label: &str, contents: Vec<Span<'static>>) -> Line<'static> {
    bar_row(theme, label, Line::from(contents))
}

fn bar_row(theme: Theme, label: &str, contents: Line<'static>) -> Line<'static> {
    let style = contents.style;
    let mut spans = vec![Span::styled(format!(" {label:<10}"), theme.faint())];
    spans.extend(contents.spans.into_iter().map(|span| Span::styled(span.content, style.patch(span.style))));
    Line::from(spans)
}

fn level(theme: Theme, width: usize, meter: &Meter, after: Span<'static>) -> Line<'static> {
    let numbers = format!(" {:>4.0} dBFS  hold {:>4.0} ", meter.level(), meter.hold());
    let clip = if meter.is_clipping() { "CLIP " } else { "     " };
    let space = width.saturating_sub(LABEL + 1 + numbers.len() + clip.len() + after.width());
    let mut spans = theme.meter(meter, space.min(60));
    spans.extend([Span::raw(numbers), Span::styled(clip, theme.bad()), after]);
    row(theme, "level", spans)
}

/// By how much the whole is brought down, where it is.
fn limited(status: &Status) -> Span<'static> {
    match status.levels {
        Some(levels) if levels.limiter_gain < 1.0 => {
            Span::raw(format!("limited {:.0} dB", decibels(levels.limiter_gain)))
        }
        _ => Span::raw(" ".repeat(14)),
    }
}

fn counts(status: &Status) -> String {
    let card = status.levels.map_or("?".into(), |levels| Milliseconds(levels.output_delay).to_string());
    let mut text = format!("{card} in the card's buffer  {}", Count(status.xruns, "xrun"));
    let refused = status.refusals.all_connections();
    if refused > 0 {
        text += &format!("  {} refused", Count(refused, "connection"));
    }
    text
}

/// The latest of what happened, as much as there is room for; what does not fit into a line goes on in the next.
fn log_lines(picture: &Picture, theme: Theme, area: Rect) -> Text<'static> {
    let Some(room) = usize::from(area.height).checked_sub(1) else { return Text::default() };
    let width = usize::from(area.width).saturating_sub(TIME);
    let latest = picture.log.iter().skip(picture.log.len().saturating_sub(room));
    let lines: Vec<Line> = latest.flat_map(|(at, text)| log_entry(*at, text, theme, width)).collect();
    let skipped = lines.len().saturating_sub(room);
    std::iter::once(Line::default()).chain(lines.into_iter().skip(skipped)).collect()
}

fn log_entry(at: Duration, text: &str, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let (minutes, seconds) = (at.as_secs() / 60, at.as_secs() % 60);
    let time = format!(" {minutes:>3}:{seconds:02} ");
    let times = std::iter::once(time).chain(std::iter::repeat(" ".repeat(TIME)));
    let parts = textwrap::wrap(text, width.max(1));
    times
        .zip(parts)
        .map(|(time, part)| Line::from(vec![Span::styled(time, theme.faint()), Span::raw(part.into_owned())]))
        .collect()
}

/// The end of a name that is too long says more than its beginning: there is the port.
fn shortened(name: &str, length: usize) -> String {
    let skipped = name.chars().count().saturating_sub(length);
    name.chars().skip(skipped).collect()
}
