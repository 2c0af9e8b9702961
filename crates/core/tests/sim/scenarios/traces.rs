//! What users have seen: their traces, replayed.

use std::time::Duration;

use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::replay::{Choice, Replay, Replayed};
use audiostreamer_core::trace;

/// All runs of a trace, with each profile in turn.
fn replayed(bytes: &[u8]) -> Vec<Replayed> {
    let choice = |profile| Choice { latency: Latency::Auto, profile };
    let profiles = [Profile::Live, Profile::Talk, Profile::Listen, Profile::Hifi];
    let mut replay = Replay::new(profiles.map(choice).to_vec());
    trace::lines(bytes).expect("it begins as one").for_each(|line| replay.handle(&line));
    replay.finish_all()
}

/// A real server on a machine with ten times the work that it can do, so that it hears of packets late; played
/// with the profile talk.
#[test]
fn a_trace_is_played_as_it_was_and_as_it_might_have_been() {
    let runs = replayed(include_bytes!("../traces/busy.trace"));
    let [run] = &runs[..] else { panic!("{runs:?}") };
    let [live, talk, _, hifi] = &run.would_be[..] else { panic!("{runs:?}") };
    assert!(run.units > 500 && run.duration > Duration::from_secs(9), "{run:?}");
    for part in [0.5, 0.95] {
        let (was, again) = (run.was.delay(part).unwrap(), talk.delay(part).unwrap());
        assert!(was.abs_diff(again) < Duration::from_millis(4), "{part}: {was:?}, and replayed {again:?}");
    }
    assert!(run.was.concealed.abs_diff(talk.concealed) < Duration::from_millis(60), "{run:?}");
    assert!(live.delay(0.5) < hifi.delay(0.5), "{live:?} and {hifi:?}");
    assert!(hifi.events <= live.events, "{live:?} and {hifi:?}");
}
