//! With what it is drawn: a terminal may have no colour, and no characters beyond ASCII.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::meter::{FLOOR, Meter};

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    pub colour: bool,
    pub unicode: bool,
}

impl Theme {
    /// As the environment says: NO_COLOR (no-color.org), and the locale's character set.
    pub fn of_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default().to_uppercase();
        Self { colour: variable("NO_COLOR").is_none(), unicode: locale.contains("UTF-8") || locale.contains("UTF8") }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn faint(self) -> Style {
        self.coloured(Color::DarkGray)
    }

    pub fn title(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A level of `width` characters from -60 dBFS to full scale, with a mark at the loudest.
    pub fn meter(self, meter: &Meter, width: usize) -> Vec<Span<'static>> {
        let place = |level: f32| (((level - FLOOR) / -FLOOR).clamp(0.0, 1.0) * width as f32).round() as usize;
        let (full, empty, mark) = if self.unicode { ("█", "·", "│") } else { ("#", ".", "|") };
        let (level, hold) = (place(meter.level()), place(meter.hold()));
        // The last 6 dB are where care is needed.
        let loud = width - width / 10;
        let style = |at: usize| if at >= loud { self.bad() } else { self.good() };
        (0..width)
            .map(|at| match at {
                _ if at < level => Span::styled(full, style(at)),
                _ if at + 1 == hold => Span::styled(mark, style(at)),
                _ => Span::styled(empty, self.faint()),
            })
            .collect()
    }

    /// The latest of `values`, a character each, the highest as high as can be; at least `least` is.
    pub fn sparkline(
        self,
        values: impl DoubleEndedIterator<Item = f64> + Clone,
        width: usize,
        least: f64,
    ) -> Line<'static> {
        let steps: Vec<char> = if self.unicode { "▁▂▃▄▅▆▇█" } else { "_.:-=+*#" }.chars().collect();
        let values: Vec<f64> = values.rev().take(width).collect();
        let highest = values.iter().copied().fold(least, f64::max);
        let text: String = values
            .iter()
            .rev()
            .map(|value| match value {
                0.0 => steps[0],
                // What was there is seen to have been.
                value => steps[((value / highest * 7.0).ceil() as usize).clamp(1, 7)],
            })
            .collect();
        Line::styled(text, if values.iter().any(|value| *value > 0.0) { self.bad() } else { self.faint() })
    }

    /// Parts of a whole side by side, `width` characters in all: each with its letter, so that it
    /// needs no colour, and at least one character of what is not nothing.
    pub fn stacked(self, parts: &[(char, f64)], width: usize) -> Line<'static> {
        const COLOURS: [Color; 6] = [Color::Blue, Color::Magenta, Color::Yellow, Color::Green, Color::Red, Color::Cyan];
        let sum: f64 = parts.iter().map(|(_, part)| part).sum();
        let mut end = 0.0;
        let mut drawn = 0;
        let mut spans = Vec::new();
        for ((letter, part), colour) in parts.iter().zip(COLOURS) {
            end += part;
            let to = if sum > 0.0 { (end / sum * width as f64).round() as usize } else { 0 };
            let length = to.saturating_sub(drawn).max(usize::from(*part > 0.0)).min(width - drawn);
            drawn += length;
            let style = self.coloured(colour);
            spans.push(Span::styled(letter.to_string().repeat(length), style));
        }
        Line::from(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Theme = Theme { colour: false, unicode: false };

    fn text(line: Line<'_>) -> String {
        line.spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn a_second_with_one_loss_is_seen_among_many() {
        let values = [0.0, 1.0, 100.0, 0.0, 50.0];
        assert_eq!(text(PLAIN.sparkline(values.into_iter(), 10, 1.0)), "_.#_=");
        assert_eq!(text(PLAIN.sparkline(values.into_iter(), 2, 1.0)), "_#", "the latest");
    }

    #[test]
    fn parts_fill_the_whole() {
        assert_eq!(text(PLAIN.stacked(&[('a', 1.0), ('b', 2.0), ('c', 1.0)], 8)), "aabbbbcc");
        assert_eq!(text(PLAIN.stacked(&[('a', 0.01), ('b', 2.0), ('c', 0.0)], 8)), "abbbbbbb");
        assert_eq!(text(PLAIN.stacked(&[('a', 0.0)], 8)), "");
    }
}
