//! Settings from a file and from the environment.

mod harness;

use std::path::Path;

use harness::port;
use harness::program::{Launch, ours};
use tempfile::TempDir;

/// A home with that configuration file.
fn home(text: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("audiostreamer")).unwrap();
    std::fs::write(home.path().join("audiostreamer/config.toml"), text).unwrap();
    home
}

fn at(home: &Path, arguments: &[&str]) -> Launch {
    ours(arguments).at_home(home).keeping_stdout()
}

fn shown(launch: Launch) -> String {
    let ended = launch.start().wait();
    ended.assert_code(0);
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn a_server_and_a_client_need_no_options_where_the_file_has_them() {
    let port = port::free();
    let home = home(&format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\noutput = \"null\"\n\
         [client]\nhost = \"127.0.0.1:{port}\"\ninput = \"tone:440\"\nbitrate = \"64k\"\n\
         [preset.studio.client]\ncodec = \"l24\"\nbitrate = \"4M\"\n"
    ));
    let server = at(home.path(), &["server"]).start();
    server.wait_for_line(&format!("listening on 127.0.0.1:{port}"));
    let client = at(home.path(), &["client", "--preset=studio"]).start();
    client.wait_for_line("l24, 48000 Hz");
    server.wait_for_line(", over udp");
    client.interrupt().assert_code(0);
    // The command line wins.
    let client = at(home.path(), &["client", "--preset=studio", "--codec=opus"]).start();
    client.wait_for_line("opus, 48000 Hz");
    client.interrupt().assert_code(0);
    server.interrupt().assert_code(0);
}

#[test]
fn the_environment_wins_over_the_file_and_show_says_where_all_comes_from() {
    let home = home("[server]\nlatency = \"12ms\"\nprofile = \"live\"\nmax-clients = 4\n");
    let text = shown(at(home.path(), &["config", "show"]).environment(&[("AUDIOSTREAMER_PROFILE", "hifi".into())]));
    for line in [
        "latency = '12ms' # line 2",
        "profile = 'hifi' # the environment",
        "max-clients = 4 # line 4",
        "gain = 0 # default",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    // What is shown is a file that says the same.
    let copy = home.path().join("copy.toml");
    std::fs::write(&copy, &text).unwrap();
    let again = shown(at(home.path(), &["config", "show", "--config", &copy.display().to_string()]));
    let settings = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(settings(&again), settings(&text));
}

#[test]
fn a_mistake_has_its_line_and_column() {
    let home = home("[server]\noutput = \"null\"\nlatency = \"soon\"\n");
    let server = at(home.path(), &["server"]).start().wait();
    server.assert_code(2);
    server.assert_says("config.toml:3:11: latency: invalid value 'soon'");
    // What has nothing to do with it works all the same.
    at(home.path(), &["server", "--help"]).start().wait().assert_code(0);
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let server = ours(["server", "--config", "/nowhere/at/all.toml"]).start().wait();
    server.assert_code(2);
    server.assert_says("/nowhere/at/all.toml");
}
