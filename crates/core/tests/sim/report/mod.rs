//! The report: every path with every skew of the cards, beside the rules of others.
//!
//! `report.md` is what [`write`] made of it. The normal tests run its last table anew and refuse
//! figures that have become worse; `UPDATE_REPORT=1 cargo test -p audiostreamer-core --test sim
//! report` runs all and writes it again.

mod crowd;
mod duel;
mod run;
mod sections;
mod table;

use table::Table;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sim/report.md");

/// How much worse a figure may become before that is a regression: absolutely, or as a share of
/// what it was, whichever is more. By the columns of the last table.
const TOLERANCES: [(&str, f64, f64); 10] = [
    ("p50", 1.0, 0.05),
    ("p95", 1.5, 0.05),
    ("max", 3.0, 0.1),
    ("beyond", 1.0, 0.05),
    ("concealed", 25.0, 0.15),
    ("stretched", 25.0, 0.3),
    ("events", 2.0, 0.15),
    ("gap", 5.0, 0.2),
    ("pitch", 1.0, 0.2),
    ("settled", 0.5, 0.2),
];

#[test]
fn no_figure_of_the_report_has_become_worse() {
    if std::env::var_os("UPDATE_REPORT").is_some() {
        return std::fs::write(FILE, sections::all()).expect("the report can be written");
    }
    let text = std::fs::read_to_string(FILE).expect("there is a report; UPDATE_REPORT=1 writes one");
    let before = Table::find(&text, sections::CHECK).expect("the report ends with the table that is checked");
    let worse = worse(&before, &sections::check());
    assert!(worse.is_empty(), "worse than report.md says:\n{}", worse.join("\n"));
}

fn worse(before: &Table, after: &Table) -> Vec<String> {
    assert_eq!(before.columns, after.columns, "UPDATE_REPORT=1 writes the columns anew");
    let mut worse = Vec::new();
    for ((path, before), (name, after)) in before.rows.iter().zip(&after.rows) {
        assert_eq!(path, name, "UPDATE_REPORT=1 writes the rows anew");
        for (((column, least, share), before), after) in TOLERANCES.iter().zip(before).zip(after) {
            let (old, new): (f64, f64) = (number(before), number(after));
            if new > old + f64::max(*least, old.abs() * share) {
                worse.push(format!("{path}: {column} was {before}, is {after}"));
            }
        }
    }
    worse
}

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("{cell:?} is no number"))
}

#[test]
fn what_has_become_worse_is_named() {
    let table = |p50: &str| {
        let mut table = Table::new(&["path", "p50"]);
        table.row("N0", vec![p50.into()]);
        table
    };
    assert_eq!(worse(&table("10.0"), &table("11.0")), [""; 0]);
    assert_eq!(worse(&table("10.0"), &table("11.1")), ["N0: p50 was 10.0, is 11.1"]);
    assert_eq!(worse(&table("10.0"), &table("1.0")), [""; 0]);
}
