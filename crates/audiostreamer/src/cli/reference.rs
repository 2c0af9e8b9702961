//! The reference: every command and option as one page of Markdown, made from what clap knows.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::manual::pages;

/// The whole page.
pub fn markdown() -> String {
    let mut text = String::from("# Reference\n\nMade by `audiostreamer man --markdown`; do not edit.\n");
    for page in pages() {
        let _ = write!(text, "\n{}", section(&page)); // a String takes everything
    }
    text
}

fn section(page: &Command) -> String {
    let about = page.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = page.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let mut text = format!("## {}\n\n{about}.\n\n```\n{usage}\n```\n", title(page));
    let rows: Vec<String> = page.get_arguments().filter(|argument| !argument.is_hide_set()).map(row).collect();
    if !rows.is_empty() {
        let _ = write!(text, "\n| | |\n| --- | --- |\n{}", rows.concat());
    }
    text
}

fn title(page: &Command) -> &str {
    page.get_bin_name().unwrap_or(page.get_name())
}

fn row(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut cell = in_table(&help);
    let takes_values = argument.get_action().takes_values();
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes_values && !values.is_empty() {
        let _ = write!(cell, " ({})", values.join(", "));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_values && !defaults.is_empty() {
        let _ = write!(cell, "; by default `{}`", defaults.join(","));
    }
    format!("| `{}` | {cell} |\n", in_table(&name(argument)))
}

/// As it is written on the command line.
fn name(argument: &Arg) -> String {
    let value = argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    let takes_values = argument.get_action().takes_values();
    let long = match (argument.get_long(), takes_values) {
        (Some(long), true) => format!("--{long} {value}"),
        (Some(long), false) => format!("--{long}"),
        (None, _) => value,
    };
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let again = if matches!(argument.get_action(), ArgAction::Count) { "..." } else { "" };
    format!("{short}{long}{again}")
}

fn in_table(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_of_each_command_is_in_the_reference() {
        let text = markdown();
        for page in pages() {
            let (_, section) = text.split_once(&format!("## {}\n", title(&page))).expect("it is there");
            for argument in page.get_arguments().filter(|argument| !argument.is_hide_set()) {
                if let Some(long) = argument.get_long() {
                    assert!(section.contains(&format!("--{long}")), "--{long} of {}", page.get_name());
                }
            }
        }
        assert!(text.contains("`udp`, `tcp`") && text.contains("by default `auto`"), "{text}");
    }
}
