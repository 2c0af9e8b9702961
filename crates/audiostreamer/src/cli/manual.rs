//! The manual: one page for the program and one for each of its commands.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::builder::Resettable;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Cli;

/// Prints all pages one after the other: `man -l` shows them as one document.
pub fn print(mut out: impl Write) -> io::Result<()> {
    pages().iter().try_for_each(|page| render(page, &mut out))
}

/// Writes each page into a file of its own in `directory`, which is made where it is not there:
/// `audiostreamer.1`, `audiostreamer-server.1` ...
pub fn write_to(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for page in pages() {
        let name = Man::new(page.clone()).get_filename();
        render(&page, &mut File::create(directory.join(name))?)?;
    }
    Ok(())
}

/// The program, then its commands. What `--help` hides because few need it has its page, too.
pub(super) fn pages() -> Vec<Command> {
    let mut program = Cli::command().disable_help_subcommand(true).mut_subcommands(|command| command.hide(false));
    program.build(); // gives the commands their full names
    let commands = program.get_subcommands().cloned().collect::<Vec<_>>();
    [vec![program], commands].concat()
}

fn render(page: &Command, out: &mut impl Write) -> io::Result<()> {
    let closing = page.get_after_help().map(ToString::to_string);
    let source = concat!("audiostreamer ", env!("CARGO_PKG_VERSION"));
    Man::new(page.clone().after_help(Resettable::Reset)).source(source).render(out)?;
    match closing {
        // Its lines are lines, which clap_mangen would run together.
        Some(text) => writeln!(out, ".SH NOTES\n.nf\n{text}\n.fi"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(page: &Command) -> String {
        let mut text = Vec::new();
        render(page, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// As roff has it: there a bare `-` may become a dash.
    fn in_roff(text: &str) -> String {
        text.replace('-', "\\-")
    }

    #[test]
    fn each_page_has_all_options_and_arguments_of_its_command() {
        let pages = pages();
        for name in ["audiostreamer", "server", "client", "devices", "demo", "man"] {
            assert!(pages.iter().any(|page| page.get_name() == name), "{name} has no page");
        }
        for page in &pages {
            let text = rendered(page);
            let (_, options) = text.split_once(".SH OPTIONS").expect("there is --help at least");
            for argument in page.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let wanted = match (argument.get_long(), argument.get_value_names()) {
                    (Some(long), _) => in_roff(&format!("--{long}")),
                    (None, names) => in_roff(&names.expect("it is positional").join(" ")),
                };
                assert!(options.contains(&wanted), "{wanted} is missing in {text}");
            }
        }
    }

    #[test]
    fn the_first_page_names_the_others() {
        let pages = pages();
        let first = rendered(&pages[0]);
        for page in &pages[1..] {
            let name = in_roff(&format!("audiostreamer-{}(1)", page.get_name()));
            assert!(first.contains(&name), "{name} is missing in {first}");
        }
        assert!(first.contains("\nThen:        audiostreamer server"), "examples keep their lines");
    }

    #[test]
    fn one_document_and_the_files_have_the_same_pages() {
        let directory = tempfile::tempdir().unwrap();
        write_to(&directory.path().join("man1")).unwrap();
        let mut document = Vec::new();
        print(&mut document).unwrap();
        let document = String::from_utf8(document).unwrap();
        for page in ["audiostreamer.1", "audiostreamer-server.1", "audiostreamer-client.1", "audiostreamer-man.1"] {
            let text = std::fs::read_to_string(directory.path().join("man1").join(page)).unwrap();
            assert!(document.contains(&text), "{page}");
        }
    }
}
