//! Paths as they are met: the set of scenarios that every change to playout is measured on.
//!
//! Times are in milliseconds one way, rates of stalls and bursts per slot of 5 ms.

use crate::netem::Netem;

/// All of them with their short names.
pub fn all() -> [(&'static str, Netem); 12] {
    [
        ("N0 ideal", Netem::ideal()),
        ("N1 wired LAN", wired_lan()),
        ("N2 good Wi-Fi", good_wifi()),
        ("N3 bad Wi-Fi", bad_wifi()),
        ("N4 metro", metro()),
        ("N5 LTE", lte()),
        ("N6 continental", continental()),
        ("N7 bursty WAN", bursty_wan()),
        ("N8 hard bursts", hard_bursts()),
        ("N9 very bad", very_bad()),
        ("N10 bufferbloat", bufferbloat()),
        ("N11 handover", handover()),
    ]
}

/// Paths that nothing was tuned on, made of parts of N2 and N5.
pub fn held_out() -> [(&'static str, Netem); 2] {
    [("H1 Wi-Fi before LTE", wifi_before_lte()), ("H2 two access points", two_access_points())]
}

/// N1.
pub fn wired_lan() -> Netem {
    Netem::ideal().delay(0.15).exponential(0.05).spikes(0.002, 0.5..2.0)
}

/// N2: short stalls, next to no loss.
pub fn good_wifi() -> Netem {
    Netem::ideal().delay(0.5).exponential(1.0).stalls(0.02, 5.0..30.0).loss(0.001)
}

/// N3: as N2, with long stalls, and 1 % lost in bursts of two slots.
pub fn bad_wifi() -> Netem {
    good_wifi().stalls(0.0005, 60.0..120.0).bursts(0.00505, 0.5)
}

/// N4.
pub fn metro() -> Netem {
    Netem::ideal().delay(8.0).exponential(0.5).loss(0.001)
}

/// N5: retransmission on the air, one time in ten and one time in a hundred; 0.5 % lost in bursts
/// of three slots.
pub fn lte() -> Netem {
    Netem::ideal()
        .delay(25.0)
        .jitter(0.0..4.0)
        .spikes(0.1, 8.0..8.0)
        .spikes(0.01, 8.0..8.0)
        .stalls(0.0008, 30.0..90.0)
        .bursts(0.00168, 0.333)
}

/// N6: 2 % lost here and there.
pub fn continental() -> Netem {
    Netem::ideal().delay(40.0).exponential(2.0).loss(0.02)
}

/// N7: 5 % lost in bursts of three slots.
pub fn bursty_wan() -> Netem {
    Netem::ideal().delay(40.0).exponential(3.0).bursts(0.01754, 0.333)
}

/// N8: 5 % lost in bursts of eight slots.
pub fn hard_bursts() -> Netem {
    Netem::ideal().delay(40.0).exponential(3.0).bursts(0.00658, 0.125)
}

/// N9: 20 % lost in bursts of four slots.
pub fn very_bad() -> Netem {
    Netem::ideal().delay(60.0).exponential(8.0).bursts(0.0625, 0.25)
}

/// N10: somebody else fills a queue of 200 ms and lets it drain, every 10 s, before a bottleneck.
pub fn bufferbloat() -> Netem {
    Netem::ideal().triangle(20.0, 220.0, 10_000.0).rate(256_000.0, 200.0)
}

/// N11: another route every 30 s, with nothing for a quarter of a second; 5 % overtaken.
pub fn handover() -> Netem {
    Netem::ideal().routes(20.0, 60.0, 30_000.0, 250.0).reorder(0.05)
}

/// N10 before a bottleneck that is as tight for so many bits per second as it is for the 160 kb/s of
/// Opus.
pub fn bufferbloat_for(bits_per_second: f64) -> Netem {
    bufferbloat().rate(1.6 * bits_per_second, 200.0)
}

/// H1: the stalls of a home on the way to those of the air.
pub fn wifi_before_lte() -> Netem {
    Netem::ideal()
        .delay(25.5)
        .exponential(1.0)
        .jitter(0.0..4.0)
        .spikes(0.1, 8.0..8.0)
        .stalls(0.02, 5.0..30.0)
        .stalls(0.0008, 30.0..90.0)
        .bursts(0.00168, 0.333)
}

/// H2: every 20 s over another one, a little farther away, with stalls more rarely than in N2 and
/// short ones beside N5's.
pub fn two_access_points() -> Netem {
    Netem::ideal()
        .routes(10.0, 25.0, 20_000.0, 0.0)
        .exponential(1.5)
        .spikes(0.05, 8.0..8.0)
        .stalls(0.01, 5.0..30.0)
        .stalls(0.0004, 30.0..90.0)
        .loss(0.001)
}
