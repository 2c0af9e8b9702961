//! Replays the fuzzer's corpus, in which every bug that it found has left an input.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn every_input_of_the_corpus_is_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let inputs = fs::read_dir(corpus.join(name)).expect("a folder for each target");
        for input in inputs.map(|entry| entry.unwrap().path()) {
            println!("{}", input.display()); // the last one printed is the one that failed
            target(&fs::read(&input).unwrap());
        }
    }
}
