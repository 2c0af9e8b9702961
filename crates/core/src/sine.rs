//! For tests: what of a signal is a sine, and what is not.

use std::f64::consts::TAU;

/// The level of the sine of `hz` in `signal`, and that of all the rest, by least squares. Both are
/// amplitudes: a sine of the same power as the rest would have the second.
pub fn level_and_rest(signal: &[f32], rate: u32, hz: f64) -> (f64, f64) {
    let angle = |n: usize| TAU * hz * n as f64 / f64::from(rate);
    let (mut ss, mut sc, mut cc, mut sx, mut cx) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, &x) in signal.iter().enumerate() {
        let (s, c) = angle(n).sin_cos();
        (ss, sc, cc, sx, cx) = (ss + s * s, sc + s * c, cc + c * c, sx + s * f64::from(x), cx + c * f64::from(x));
    }
    let determinant = ss * cc - sc * sc;
    let (s, c) = ((sx * cc - cx * sc) / determinant, (cx * ss - sx * sc) / determinant);
    let rest = signal.iter().enumerate().map(|(n, &x)| {
        let (sin, cos) = angle(n).sin_cos();
        (f64::from(x) - s * sin - c * cos).powi(2)
    });
    (s.hypot(c), (2.0 * rest.sum::<f64>() / signal.len() as f64).sqrt())
}
