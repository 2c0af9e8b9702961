//! What the report says.

use crate::card::Card;
use crate::client::Client;
use crate::netem::Netem;
use crate::paths;
use crate::rules::{Outcome, Rule};
use crate::server::Profile;
use crate::signal::Signal;

use super::crowd;
use super::run::{Figures, Likeness, Run};
use super::table::{Table, median_and_worst, rounded};

/// Seeds that playout is tuned on, and others that it is not.
const TUNED: [u64; 3] = [1, 2, 3];
const HELD_OUT: [u64; 3] = [101, 102, 103];

/// What the crystals are off by, capture and playback; the last once per path.
const SKEWS: [(f64, f64); 4] = [(0.0, 0.0), (100.0, -100.0), (-100.0, 100.0), (150.0, -150.0)];

/// Paths that tell the rules nothing that another does not: without its losses N8 is N7.
const CALM: [&str; 3] = ["N0", "N4", "N8"];

/// The heading of the table that the normal tests check.
pub const CHECK: &str = "## Check";

const COLUMNS: [&str; 11] =
    ["path", "p50", "p95", "max", "beyond", "concealed", "stretched", "events", "gap", "pitch", "settled"];

/// A run for the tables of paths, in seconds, and one for the rules, where rare events count.
const PATH_SECONDS: f64 = 40.0;
const RULE_SECONDS: f64 = 180.0;
const SOUND_SECONDS: f64 = 20.0;

/// The whole report.
pub fn all() -> String {
    let [tuned, held_out] = [TUNED, HELD_OUT].map(|seeds| paths_table(&seeds).markdown());
    let [rules, rules_held_out] = [TUNED, HELD_OUT].map(|seeds| rules_table(&seeds).markdown());
    let (sounds, check) = (sounds_table().markdown(), check().markdown());
    format!(
        "# What the simulator hears\n\n\
        Written by `UPDATE_REPORT=1 cargo test -p audiostreamer-core --test sim report`; do not edit.\n\n\
        Cards of 48 kHz with periods of 128 frames, packets of 5 ms, {PATH_SECONDS} s each. A cell is the median \
        over seeds and skews of the cards (none, +-100 ppm, -+100 ppm, once 300 ppm), in parentheses the worst. \
        `p50`, `p95`, `max`: mouth to ear in ms. `beyond`: of the median, what is more than the path's least delay, \
        a packet and three periods. `concealed`, `stretched` (cut out or put in): ms per minute. `events`: gaps per \
        minute, those within 20 ms being one. `gap`: the longest, in ms. `pitch`: the largest deviation over 50 ms, \
        in cents. `settled`: seconds from the first sound until the delay is within 1 ms or a tenth of where it \
        stays for a second; {PATH_SECONDS} is never. All but `settled`, `concealed` and `stretched` from the fifth \
        second on.\n\n\
        ## Paths, PCM, seeds {TUNED:?}\n\n{tuned}\n\
        ## Paths, PCM, held out: seeds {HELD_OUT:?}, and H1, H2\n\n{held_out}\n\
        ## Voices and strings\n\n\
        Seed {}, +100 and -100 ppm, {SOUND_SECONDS} s. Delays are those of stretches of 100 ms that are found again \
        in what was said; `alike` is the correlation that 19 of 20 of them reach. Numbers of Opus differ a little \
        from machine to machine.\n\n{sounds}\n\
        ## Rules on the same arrivals, seeds {TUNED:?}\n\n\
        Paths without their losses, cards without skew, {RULE_SECONDS} s each, of which the first 20 are not \
        counted. Means over the seeds of: ms of delay after the fastest packet / packets in a hundred that are late \
        / events per minute. For peers that is their target rule alone, without period, tick or resampler \
        (`rules/`); for ours it is what the whole playout makes heard, less the path's least delay, a packet and \
        three periods.\n\n{rules}\n\
        ## Rules on the same arrivals, held out: seeds {HELD_OUT:?}, and H1, H2\n\n{rules_held_out}\n\
        {CHECK}\n\n\
        One seed, +100 and -100 ppm: what the normal tests run and compare.\n\n{check}",
        TUNED[0]
    )
}

/// The table that the normal tests compare.
pub fn check() -> Table {
    let runs: Vec<Run> = paths().into_iter().map(|(_, netem)| run(netem, 1, SKEWS[1])).collect();
    let mut table = Table::new(&COLUMNS);
    for ((name, _), figures) in paths().into_iter().zip(crowd::map(&runs, Run::figures)) {
        table.row(name, cells(&[figures], |all, digits| rounded(all[0], digits)));
    }
    table
}

fn paths_table(seeds: &[u64]) -> Table {
    let mut runs = Vec::new();
    for (_, netem) in paths() {
        for &ppm in &SKEWS[..3] {
            runs.extend(seeds.iter().map(|&seed| run(netem.clone(), seed, ppm)));
        }
        runs.push(run(netem, seeds[0], SKEWS[3]));
    }
    let figures = crowd::map(&runs, Run::figures);
    let per_path = figures.len() / paths().len();
    let mut table = Table::new(&COLUMNS);
    for ((name, _), figures) in paths().into_iter().zip(figures.chunks(per_path)) {
        table.row(name, cells(figures, median_and_worst));
    }
    table
}

fn sounds_table() -> Table {
    let opus = Client::opus().card(Card::new(2));
    let sounds = [
        ("Opus, voice", opus.signal(Signal::Speech)),
        ("Opus, strings", opus.signal(Signal::Music)),
        ("L16, voice", Client::l16().signal(Signal::Speech)),
        ("L16, strings", Client::l16().signal(Signal::Music)),
    ];
    let mut runs = Vec::new();
    for (name, netem) in paths::all().into_iter().chain(paths::held_out()) {
        for (sound, client) in sounds {
            let narrow = name.starts_with("N10") && sound.starts_with("L16");
            let netem = if narrow { paths::bufferbloat_for_pcm() } else { netem.clone() };
            let run = Run { client, seconds: SOUND_SECONDS, ..run(netem, TUNED[0], SKEWS[1]) };
            runs.push((format!("{name}: {sound}"), run));
        }
    }
    let mut table = Table::new(&["path", "p50", "p95", "max", "alike", "concealed", "stretched", "concealments"]);
    for ((name, _), likeness) in runs.iter().zip(crowd::map(&runs, |(_, run)| run.likeness())) {
        let Likeness { p50, p95, max, alike, concealed, stretched, concealments } = likeness;
        let figures = [(p50, 1), (p95, 1), (max, 1), (alike, 2), (concealed, 0), (stretched, 0), (concealments, 0)];
        table.row(name, figures.map(|(figure, digits)| rounded(figure, digits)).to_vec());
    }
    table
}

fn rules_table(seeds: &[u64]) -> Table {
    let peers = [Rule::NetEq, Rule::NetEqMid, Rule::JackTrip, Rule::Fixed(200.0)];
    let mut runs = Vec::new();
    let paths: Vec<_> =
        paths().into_iter().filter(|(name, _)| !CALM.iter().any(|calm| name.starts_with(calm))).collect();
    for (_, netem) in &paths {
        for &seed in seeds {
            runs.extend(Profile::ALL.map(|profile| Run {
                profile,
                seconds: RULE_SECONDS,
                ..run(netem.clone().lossless(), seed, SKEWS[0])
            }));
        }
    }
    // One run tells the arrivals, which are the same for each profile.
    let outcomes = crowd::map(&runs, |run| {
        let (ours, arrivals) = run.outcome();
        let peers = if run.profile == Profile::ALL[0] {
            peers.map(|rule| run.judge(&arrivals, rule)).to_vec()
        } else {
            Vec::new()
        };
        (ours, peers)
    });
    let ours = Profile::ALL.map(|profile| format!("ours {}", profile.lambda()));
    let mut columns = vec!["path", "NetEq", "NetEq mid", "JackTrip", "200 ms"];
    columns.extend(ours.iter().map(String::as_str));
    let mut table = Table::new(&columns);
    for ((name, _), outcomes) in paths.into_iter().zip(outcomes.chunks(seeds.len() * Profile::ALL.len())) {
        let mut cells: Vec<String> = Vec::new();
        for peer in 0..peers.len() {
            cells.push(outcome(outcomes.iter().filter_map(|(_, peers)| peers.get(peer))));
        }
        for profile in 0..Profile::ALL.len() {
            cells.push(outcome(outcomes.iter().skip(profile).step_by(Profile::ALL.len()).map(|(ours, _)| ours)));
        }
        table.row(name, cells);
    }
    table
}

/// All paths, those that are held out last.
fn paths() -> Vec<(&'static str, Netem)> {
    let all = paths::all().into_iter().chain(paths::held_out());
    all.map(|(name, netem)| if name.starts_with("N10") { (name, paths::bufferbloat_for_pcm()) } else { (name, netem) })
        .collect()
}

fn run(netem: Netem, seed: u64, ppm: (f64, f64)) -> Run {
    Run { netem, client: Client::l24(), profile: Profile::Talk, seed, ppm, seconds: PATH_SECONDS }
}

fn cells(figures: &[Figures], cell: impl Fn(Vec<f64>, usize) -> String) -> Vec<String> {
    let column = |of: fn(&Figures) -> f64, digits| cell(figures.iter().map(of).collect(), digits);
    vec![
        column(|figures| figures.p50, 1),
        column(|figures| figures.p95, 1),
        column(|figures| figures.max, 1),
        column(|figures| figures.beyond, 1),
        column(|figures| figures.concealed, 0),
        column(|figures| figures.stretched, 0),
        column(|figures| figures.events_per_minute, 1),
        column(|figures| figures.longest_gap, 0),
        column(|figures| figures.pitch, 1),
        column(|figures| figures.settled, 1),
    ]
}

fn outcome<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let all: Vec<&Outcome> = outcomes.collect();
    let mean = |of: fn(&Outcome) -> f64| all.iter().map(|&outcome| of(outcome)).sum::<f64>() / all.len() as f64;
    let [delay, late, events] = [mean(|one| one.delay), mean(|one| one.late), mean(|one| one.events)];
    format!("{} / {} / {}", rounded(delay, 1), rounded(late, 2), rounded(events, 1))
}
