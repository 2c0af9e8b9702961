//! Arithmetic that gives the same on every machine: the libraries' sines differ in their last bits.

/// The sine of so many turns, to a hundred-millionth.
pub fn sine(turns: f64) -> f64 {
    let turns = turns - turns.round();
    // Folded into a quarter on either side, where Taylor's row is short.
    let folded = if turns.abs() > 0.25 { turns.signum() * 0.5 - turns } else { turns };
    let x = folded * std::f64::consts::TAU;
    let square = x * x;
    let row = [-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5_040.0, 1.0 / 362_880.0, -1.0 / 39_916_800.0, 1.0 / 6_227_020_800.0];
    x * (1.0 + row.iter().rev().fold(0.0, |sum, factor| (sum + factor) * square))
}

/// Evenly from 0 to 1, the same for the same numbers forever.
pub fn chance(number: u64, of: u64) -> f64 {
    let mut z = (number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) ^ of.wrapping_mul(0xd6e8_feb8_6659_fd93);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sine() {
        for n in -1_000..1_000 {
            let turns = f64::from(n) * 0.0137;
            let error = sine(turns) - (turns * std::f64::consts::TAU).sin();
            assert!(error.abs() < 1e-8, "{error} at {turns}");
        }
    }
}
