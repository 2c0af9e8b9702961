//! `audiostreamer doctor` on machines where something is wrong, and where nothing is.

mod harness;

use harness::machine::Machine;
use harness::netns::{Fate, Networks, SERVER};
use harness::port;
use harness::program::{Ended, installed};
use harness::pulse::{self, Pulse};
use serde_json::Value;

/// Without sound cards.
const CARDLESS: [&str; 3] = ["--input=tone:440", "--output=null", "--json"];

struct Diagnosis {
    findings: Vec<Value>,
    delay: Value,
}

impl Diagnosis {
    /// Reads what was said; the process must have ended with that code.
    #[track_caller]
    fn of(ended: &Ended, code: i32) -> Self {
        ended.assert_no_panic();
        let text = String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(code), "{text}\n{:#?}", ended.log);
        let mut value: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(value["exitCode"], code);
        let findings = value["findings"].as_array().expect("it is a list").clone();
        Self { findings, delay: value["delay"].take() }
    }

    #[track_caller]
    fn finding(&self, check: &str) -> &Value {
        let found = self.findings.iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("nothing of {check} in {:#?}", self.findings))
    }

    #[track_caller]
    fn assert_is(&self, check: &str, verdict: &str, says: &str) {
        let finding = self.finding(check);
        assert_eq!(finding["verdict"], verdict, "{finding:#?}");
        assert!(finding["says"].as_str().is_some_and(|text| text.contains(says)), "{finding:#?}");
    }
}

#[test]
fn a_path_is_measured_by_a_client_that_is_let_in() {
    let studio = Machine::new();
    let server = studio.server(&[]);
    let ended = studio.run(&[&["doctor", &server.address(), "--measure=2s"], &CARDLESS[..]].concat());
    let diagnosis = Diagnosis::of(&ended, 0);
    for check in ["name", "udp", "tcp", "mtu", "entry"] {
        diagnosis.assert_is(check, "good", "");
    }
    let sent = diagnosis.finding("loss")["measured"]["sent"].as_f64().expect("it was counted");
    assert!(sent > 300.0, "2 s are 400 packets, and not {sent}");
    let trip = diagnosis.finding("delay")["measured"]["roundTripShortest"].as_f64().expect("it was measured");
    assert!(trip > 0.0 && trip < 1.0, "{trip}");
    assert!(diagnosis.delay["sum"].as_f64().is_some_and(|sum| sum > 0.005), "{:#?}", diagnosis.delay);
    server.wait_for_client(1);
    let played = server.stop();
    assert!(played.samples.iter().all(|&sample| sample == 0.0), "it was heard");
}

#[test]
fn who_is_not_let_in_is_told_so_after_all_that_can_be_told_without() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&[]);
    let ended = guest.run(&[&["doctor", &server.address()], &CARDLESS[..]].concat());
    let diagnosis = Diagnosis::of(&ended, 5);
    diagnosis.assert_is("udp", "good", "there and back in");
    diagnosis.assert_is("mtu", "good", "");
    diagnosis.assert_is("entry", "noentry", "Ask for an invite");
}

#[test]
fn a_port_at_which_nobody_listens_is_told_from_a_name_that_leads_nowhere() {
    let guest = Machine::new();
    let address = format!("127.0.0.1:{}", port::free());
    let closed = guest.run(&[&["doctor", &address], &CARDLESS[..]].concat());
    let diagnosis = Diagnosis::of(&closed, 4);
    diagnosis.assert_is("udp", "nopath", "was refused");
    diagnosis.assert_is("firewall", "nopath", "nobody listens at that port");
    let nameless = guest.run(&[&["doctor", "nowhere.invalid"], &CARDLESS[..]].concat());
    Diagnosis::of(&nameless, 4).assert_is("name", "nopath", "nowhere.invalid does not resolve");
}

#[test]
fn a_plain_server_is_told_from_one_that_is_not_there() {
    let (studio, guest) = (Machine::new(), Machine::new());
    let server = studio.server(&["--plain"]);
    let ended = guest.run(&[&["doctor", &server.address(), "--protocol=udp"], &CARDLESS[..]].concat());
    Diagnosis::of(&ended, 5).assert_is("firewall", "noentry", "was started with --plain");
    let plain = guest.run(&[&["doctor", &server.address(), "--plain", "--measure=1s"], &CARDLESS[..]].concat());
    Diagnosis::of(&plain, 0).assert_is("entry", "good", "");
}

#[test]
fn a_network_that_lets_no_udp_pass_is_told_by_its_symptoms() {
    let Some(networks) = Networks::new() else { return };
    let studio = Machine::new();
    let server = networks.on_server(studio.ours(&["server", "--output=null"])).start();
    server.wait_for_line("listening on");
    networks.block_udp(Fate::Blackhole);
    let doctor = studio.ours(&[&["doctor", SERVER, "--measure=1s"], &CARDLESS[..]].concat());
    let ended = networks.on_client(doctor).keeping_stdout().start().wait();
    let diagnosis = Diagnosis::of(&ended, 0);
    diagnosis.assert_is("udp", "limits", "nothing comes back");
    diagnosis.assert_is("tcp", "good", "");
    diagnosis.assert_is("firewall", "limits", "TCP gets through and UDP does not");
    diagnosis.assert_is("entry", "good", "lets this machine in");
}

#[test]
fn cards_are_played_on_and_listened_to() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let pulse = Pulse::start(&["room"]);
    let machine = Machine::new();
    let run =
        |arguments: &[&str]| machine.ours(arguments).environment(&pulse.environment()).keeping_stdout().start().wait();
    let diagnosis = Diagnosis::of(&run(&["doctor", "--json"]), 0);
    let (output, input) = (diagnosis.finding("output"), diagnosis.finding("input"));
    assert_eq!(output["measured"]["rate"], 48_000, "{output:#?}");
    assert_eq!(input["measured"]["hearsOutput"], true, "the sink's monitor is the input: {input:#?}");
    assert!(diagnosis.delay["sum"].as_f64().is_some_and(|sum| sum > 0.005), "{:#?}", diagnosis.delay);
    let silent = Diagnosis::of(&run(&["doctor", "--json", "--silent"]), 0);
    silent.assert_is("input", "limits", "nothing but silence");
    Diagnosis::of(&run(&["doctor", "--json", "--output=pulse:none"]), 3).assert_is("output", "nodevice", "none");
}
