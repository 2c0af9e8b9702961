//! What the report says.

use audiostreamer_core::Codec;

use crate::card::Card;
use crate::client::Client;
use crate::netem::Netem;
use crate::paths;
use crate::rules::Outcome;
use crate::signal::Signal;
use crate::tuning::Profile;

use super::crowd;
use super::duel::{self, Duel, PEERS, duels};
use super::run::{Figures, Likeness, Run};
use super::table::{Table, median_and_worst, rounded};

/// Seeds that playout is tuned on, and others that it is not.
const TUNED: [u64; 3] = [1, 2, 3];
pub const HELD_OUT: [u64; 3] = [101, 102, 103];

/// What the crystals are off by, capture and playback; the last once per path.
const SKEWS: [(f64, f64); 4] = [(0.0, 0.0), (100.0, -100.0), (-100.0, 100.0), (150.0, -150.0)];

/// The heading of the table that the normal tests check.
pub const CHECK: &str = "## Check";

const COLUMNS: [&str; 11] =
    ["path", "p50", "p95", "max", "beyond", "concealed", "stretched", "events", "gap", "pitch", "settled"];

/// How long each is run, in seconds.
const PATH_SECONDS: f64 = 40.0;
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
        stays for a second; {PATH_SECONDS} is never. All but `settled` from the fifth second on.\n\n\
        ## Paths, PCM, seeds {TUNED:?}\n\n{tuned}\n\
        ## Paths, PCM, held out: seeds {HELD_OUT:?}, and H1, H2\n\n{held_out}\n\
        ## Voices and strings\n\n\
        Seed {}, +100 and -100 ppm, {SOUND_SECONDS} s. Delays are those of stretches of 100 ms that are found again \
        in what was said; `alike` is the correlation that 19 of 20 of them reach. Numbers of Opus differ a little \
        from machine to machine.\n\n{sounds}\n\
        ## Rules on the same arrivals, seeds {TUNED:?}\n\n\
        Paths without their losses, cards without skew, {} s each, of which the first 20 are not \
        counted. Means over the seeds of: ms of delay after the fastest packet / packets in a hundred that are late \
        / events per minute. For peers that is their target rule alone, without period, tick or resampler \
        (`rules/`); for ours it is what the whole playout makes heard, less the path's least delay, a packet and \
        three periods.\n\n{rules}\n\
        ## Rules on the same arrivals, held out: seeds {HELD_OUT:?}, and H1, H2\n\n{rules_held_out}\n\
        {CHECK}\n\n\
        One seed, +100 and -100 ppm: what the normal tests run and compare.\n\n{check}",
        TUNED[0],
        duel::SECONDS
    )
}

/// The table that the normal tests compare.
pub fn check() -> Table {
    let runs: Vec<Run> = paths(&Client::l24()).into_iter().map(|(_, netem)| run(netem, 1, SKEWS[1])).collect();
    let mut table = Table::new(&COLUMNS);
    for ((name, _), figures) in paths(&Client::l24()).into_iter().zip(crowd::map(&runs, Run::figures)) {
        table.row(name, cells(&[figures], |all, digits| rounded(all[0], digits)));
    }
    table
}

fn paths_table(seeds: &[u64]) -> Table {
    let mut runs = Vec::new();
    let paths = paths(&Client::l24());
    for (_, netem) in &paths {
        for &ppm in &SKEWS[..3] {
            runs.extend(seeds.iter().map(|&seed| run(netem.clone(), seed, ppm)));
        }
        runs.push(run(netem.clone(), seeds[0], SKEWS[3]));
    }
    let figures = crowd::map(&runs, Run::figures);
    let per_path = figures.len() / paths.len();
    let mut table = Table::new(&COLUMNS);
    for ((name, _), figures) in paths.into_iter().zip(figures.chunks(per_path)) {
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
    for (sound, client) in sounds {
        for (name, netem) in paths(&client) {
            let run =
                Run { client: client.fragile().rigid(), seconds: SOUND_SECONDS, ..run(netem, TUNED[0], SKEWS[1]) };
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
    let ours = Profile::ALL.map(|profile| format!("ours {}", profile.lambda()));
    let names = PEERS.iter().map(|(name, _)| *name).chain(ours.iter().map(String::as_str));
    let columns: Vec<&str> = std::iter::once("path").chain(names).collect();
    let mut table = Table::new(&columns);
    for Duel { path, peers, ours } in duels(seeds, |_| true) {
        table.row(path, peers.iter().chain(&ours).map(outcome).collect());
    }
    table
}

/// All paths for a client, those that are held out last.
pub fn paths(client: &Client) -> Vec<(&'static str, Netem)> {
    let packets = f64::from(client.format.rate) / client.frames as f64;
    // As if each sample had 24 bits.
    let bytes = client.frames as f64 * f64::from(client.format.channels) * 3.0 + 40.0;
    let narrow = paths::bufferbloat_for(packets * bytes * 8.0);
    let all = paths::all().into_iter().chain(paths::held_out());
    let narrowed = |(name, netem): (&'static str, Netem)| match (name.starts_with("N10"), client.format.codec) {
        (true, Codec::Pcm(_)) => (name, narrow.clone()),
        _ => (name, netem),
    };
    all.map(narrowed).collect()
}

fn run(netem: Netem, seed: u64, ppm: (f64, f64)) -> Run {
    Run { netem, client: Client::l24().fragile(), profile: Profile::Talk, seed, ppm, seconds: PATH_SECONDS }
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

fn outcome(outcome: &Outcome) -> String {
    let Outcome { delay, late, events } = *outcome;
    format!("{} / {} / {}", rounded(delay, 1), rounded(late, 2), rounded(events, 1))
}
