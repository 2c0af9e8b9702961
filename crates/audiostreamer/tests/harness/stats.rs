//! What `--stats json` says, second by second.

use std::path::Path;

use serde_json::Value;

use super::wait;

fn objects(text: &str) -> Vec<Value> {
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

/// Waits for an object that `is_it` in a growing file.
#[track_caller]
pub fn wait_for_object(path: &Path, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, || objects(&std::fs::read_to_string(path).unwrap_or_default()).into_iter().find(&is_it))
}
