//! Two sound cards on one time axis: what was recorded from the one, as if the other had recorded it.
//!
//! Each period's first frame has a time, noted when JACK called. A call may be late, by some
//! microseconds or, on a busy machine, milliseconds; it is never early, and the least late of a
//! second are late by about the same on both servers. They make the line from frames to time.

use crate::jackd::RATE;

/// One call of a JACK server: the first frame of the period, and the true time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    pub frame: usize,
    pub nanos: u64,
}

/// When each frame of a card is due.
#[derive(Debug)]
pub struct Timebase {
    /// What a frame takes, in nanoseconds.
    frame_nanos: f64,
    /// Between one overrun and the next, rising: a server that overruns loses time.
    stretches: Vec<Stretch>,
    start: u64,
}

/// Frames and their times, in nanoseconds from the timebase's start.
type Point = (f64, f64);

#[derive(Debug)]
struct Stretch {
    begin: Point,
    /// One for each second.
    knots: Vec<Point>,
}

impl Timebase {
    /// Of a server that has called so, and overran at these frames. `None` where there is nowhere
    /// a whole second of cycles.
    pub fn new(cycles: &[Cycle], xruns: &[usize]) -> Option<Self> {
        let start = cycles.first()?.nanos;
        let points: Vec<Point> =
            cycles.iter().map(|cycle| (cycle.frame as f64, (cycle.nanos - start) as f64)).collect();
        let xruns_before = |point: &Point| xruns.iter().filter(|xrun| **xrun as f64 <= point.0).count();
        let between: Vec<&[Point]> = points.chunk_by(|a, b| xruns_before(a) == xruns_before(b)).collect();
        let frame_nanos = common_slope(&between);
        let stretches: Vec<Stretch> = between.iter().filter_map(|points| Stretch::new(points, frame_nanos)).collect();
        (!stretches.is_empty()).then_some(Self { frame_nanos, stretches, start })
    }

    /// The true time of a frame, in nanoseconds.
    pub fn time(&self, frame: f64) -> f64 {
        let stretch = self.stretch(|begin| begin.0 <= frame);
        self.start as f64 + along(&stretch.knots, frame, self.frame_nanos, |knot| knot)
    }

    /// The frame that is due at a true time.
    pub fn frame(&self, nanos: f64) -> f64 {
        let nanos = nanos - self.start as f64;
        let stretch = self.stretch(|begin| begin.1 <= nanos);
        along(&stretch.knots, nanos, 1.0 / self.frame_nanos, |(frame, nanos)| (nanos, frame))
    }

    /// The last one that has begun; before all of them, the first.
    fn stretch(&self, has_begun: impl Fn(Point) -> bool) -> &Stretch {
        let begun = self.stretches.partition_point(|stretch| has_begun(stretch.begin));
        &self.stretches[begun.saturating_sub(1)]
    }

    /// By how many ppm this card is faster than the other.
    pub fn faster_than(&self, other: &Self) -> f64 {
        (other.frame_nanos / self.frame_nanos - 1.0) * 1e6
    }

    /// What this card has recorded, as a card with the other timebase would have.
    pub fn bring_to(&self, other: &Self, recording: &[f32], frames: usize) -> Vec<f32> {
        (0..frames).map(|n| at(recording, self.frame(other.time(n as f64)))).collect()
    }
}

impl Stretch {
    /// `None` where it has no whole second, in which some call was hardly late.
    fn new(points: &[Point], frame_nanos: f64) -> Option<Self> {
        let (first, last) = (points.first()?.0, points.last()?.0);
        let second = |point: &Point| ((point.0 - first) / SECOND) as usize;
        let lateness = |point: &Point| point.1 - point.0 * frame_nanos;
        let seconds = points.chunk_by(|a, b| second(a) == second(b));
        let whole = seconds.filter(|points| first + (second(&points[0]) + 1) as f64 * SECOND <= last);
        let least_late = whole.filter_map(|of| of.iter().copied().min_by(|a, b| lateness(a).total_cmp(&lateness(b))));
        let knots: Vec<Point> = least_late.collect();
        let (frame, nanos) = *knots.first()?;
        Some(Self { begin: (first, nanos - (frame - first) * frame_nanos), knots })
    }
}

/// The y of x on the line through the knots, `as_xy`; beyond them, where the line of all is better
/// than that of two, with `slope`.
fn along(knots: &[Point], x: f64, slope: f64, as_xy: impl Fn(Point) -> (f64, f64)) -> f64 {
    let next = knots.partition_point(|knot| as_xy(*knot).0 <= x);
    let (after, before) = (knots.get(next), next.checked_sub(1).map(|last| &knots[last]));
    match (before.map(|knot| as_xy(*knot)), after.map(|knot| as_xy(*knot))) {
        (Some((x0, y0)), Some((x1, y1))) => y0 + (x - x0) * (y1 - y0) / (x1 - x0),
        (Some((x0, y0)), None) | (None, Some((x0, y0))) => y0 + (x - x0) * slope,
        (None, None) => unreachable!("a stretch has a knot"),
    }
}

/// Of the straight lines with the least squares, one through each piece and all of one slope.
fn common_slope(pieces: &[&[Point]]) -> f64 {
    let (mut covariance, mut variance) = (0.0, 0.0);
    for piece in pieces {
        let n = piece.len() as f64;
        let mean_x = piece.iter().map(|p| p.0).sum::<f64>() / n;
        let mean_y = piece.iter().map(|p| p.1).sum::<f64>() / n;
        covariance += piece.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum::<f64>();
        variance += piece.iter().map(|p| (p.0 - mean_x).powi(2)).sum::<f64>();
    }
    covariance / variance
}

/// Between the samples, by the cubic of Catmull and Rom: the reference has nothing above 3500 Hz.
fn at(recording: &[f32], position: f64) -> f32 {
    let (whole, part) = (position.floor(), position.fract() as f32);
    if whole < 1.0 || whole + 2.0 >= recording.len() as f64 {
        return 0.0;
    }
    let near = &recording[whole as usize - 1..whole as usize + 3];
    let (a, b, c, d) = (near[0], near[1], near[2], near[3]);
    b + 0.5 * part * (c - a + part * (2.0 * a - 5.0 * b + 4.0 * c - d + part * (3.0 * (b - c) + d - a)))
}

const SECOND: f64 = RATE as f64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Findings;
    use crate::reference::Reference;

    /// Calls of a card that is faster by so many ppm and began at `offset` ns; most are up to 60 us
    /// late, some 5 ms.
    fn cycles(ppm: f64, offset: f64, seconds: usize, seed: u32) -> Vec<Cycle> {
        let mut random = seed;
        let calls = (0..seconds * RATE as usize).step_by(128);
        calls
            .map(|frame| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let late = match random >> 24 {
                    0..4 => 5e6,
                    some => f64::from(some) / 256.0 * 60e3,
                };
                let due = offset + frame as f64 * 1e9 / SECOND / (1.0 + ppm * 1e-6);
                Cycle { frame, nanos: (due + late) as u64 }
            })
            .collect()
    }

    #[test]
    fn the_line_is_found_under_late_calls() {
        let timebase = Timebase::new(&cycles(0.0, 7e12, 20, 1), &[]).unwrap();
        for frame in [0.0, 100_000.5, 900_000.0] {
            let error = timebase.time(frame) - (7e12 + frame * 1e9 / SECOND);
            assert!(error.abs() < 5e3, "{error} ns at {frame}");
            assert!((timebase.frame(timebase.time(frame)) - frame).abs() < 1e-3);
        }
    }

    #[test]
    fn the_skew_is_found() {
        let [near, far] =
            [(0.0, 1), (100.0, 2)].map(|(ppm, seed)| Timebase::new(&cycles(ppm, 7e12, 20, seed), &[]).unwrap());
        assert!((far.faster_than(&near) - 100.0).abs() < 1.0, "{}", far.faster_than(&near));
    }

    #[test]
    fn a_server_that_overruns_loses_time_but_runs_no_slower() {
        let mut cycles = cycles(0.0, 7e12, 20, 1);
        let lost = |frame: usize| if frame < 500_000 { 0.0 } else { 3e6 };
        cycles.iter_mut().for_each(|cycle| cycle.nanos += lost(cycle.frame) as u64);
        let timebase = Timebase::new(&cycles, &[500_200]).unwrap(); // the news comes a little later
        for frame in [0, 499_000, 501_000, 900_000] {
            let error = timebase.time(frame as f64) - (7e12 + lost(frame) + frame as f64 * 1e9 / SECOND);
            assert!(error.abs() < 10e3, "{error} ns at {frame}");
        }
        assert!((timebase.frame_nanos / (1e9 / SECOND) - 1.0).abs() < 2e-6);
    }

    #[test]
    fn a_delay_between_two_cards_is_found_to_microseconds() {
        let reference = Reference::new(RATE as usize * 9).left;
        let [near, far] =
            [(0.0, 7.0e12, 1), (100.0, 7.0012e12, 2)].map(|(ppm, offset, seed)| cycles(ppm, offset, 9, seed));
        let [near, far] = [near, far].map(|cycles| Timebase::new(&cycles, &[]).unwrap());
        // What the far card hears after exactly 6.25 ms: it began 1.2 s later.
        let heard: Vec<f32> = (0..RATE as usize * 7)
            .map(|n| {
                let since = 1.2 + n as f64 / SECOND / (1.0 + 100e-6);
                at(&reference, (since - 0.00625) * SECOND)
            })
            .collect();
        let brought = far.bring_to(&near, &heard, RATE as usize * 8);
        let findings = Findings::new(&reference, &brought, RATE as usize * 2..RATE as usize * 8);
        for share in [0.0, 0.5, 1.0] {
            let ms = findings.percentile_ms(share).unwrap();
            assert!((ms - 6.25).abs() < 0.01, "{ms}");
        }
        assert!(findings.drift_ppm().abs() < 1.0, "{}", findings.drift_ppm());
        assert!(findings.gaps.is_empty(), "{:?}", findings.gaps);
    }

    #[test]
    fn a_moment_is_too_little() {
        assert!(Timebase::new(&cycles(0.0, 0.0, 1, 1), &[]).is_none());
        assert!(Timebase::new(&[], &[]).is_none());
    }
}
