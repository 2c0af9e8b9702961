//! The lowest setting of a system that still holds, found by halving its ladder of settings.

use anyhow::Result;

use crate::latency::{Case, Lab};
use crate::report::{Row, print_row};
use crate::systems::System;
use crate::weather::Scenario;

/// The measurement at the lowest setting that holds; `None` where not even the most generous does,
/// or where the system has nothing to set.
///
/// It holds when it has no more gaps per minute than the most generous setting, which knows no gaps
/// but those that the link makes for everyone; on an impaired link one a minute more is allowed.
pub fn lowest(lab: &mut Lab, system: System, link: Option<Scenario>) -> Result<Option<Row>> {
    let ladder = system.ladder();
    let Some(&generous) = ladder.first() else {
        return Ok(None);
    };
    let mut best = lab.measure(Case { system, setting: generous, link })?;
    print_row(&best);
    let allowed = match link {
        None => 0.0,
        Some(_) => best.gaps_per_minute() + 1.0,
    };
    if !holds(&best, allowed) {
        return Ok(None);
    }
    let (mut held, mut failed) = (0, ladder.len());
    while failed - held > 1 {
        let middle = (held + failed) / 2;
        let row = lab.measure(Case { system, setting: ladder[middle], link })?;
        print_row(&row);
        if holds(&row, allowed) {
            (held, best) = (middle, row);
        } else {
            failed = middle;
        }
    }
    Ok(Some(best))
}

fn holds(row: &Row, allowed: f64) -> bool {
    row.p50_ms.is_some() && row.gaps_per_minute() <= allowed
}
