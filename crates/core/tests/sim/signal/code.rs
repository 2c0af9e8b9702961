//! The time code: a signal that says at each sample which moment of the microphone it is.

/// A triangle whose slopes are the frame number and whose steps are irregular.
///
/// - Its corners are round: no resampler rings, no splice and no prediction meets an edge.
/// - The irregularity is noise to whoever does not know it. A concealment that carries on the
///   line, however well, stands out from the code by frames, as do gains and mirrored tails; real
///   sound follows it to hundredths.
/// - It is a cubic spline over knots that are [`knot`](Self::knot) frames apart, so it is known
///   between frames as well, and next to nothing of it lies where a resampler's filter ends.
/// - The position is known up to a multiple of two slopes: the longest delay that can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeCode {
    /// Frames in one slope, a power of two.
    pub length: u32,
    /// Frames between two knots, a power of two.
    pub knot: u32,
    /// How far a sample of sound may be from the code, in frames: what rounding to the format's
    /// bits and a resampler's arithmetic make of it, with room.
    pub tolerance: f64,
}

/// The slopes are full scale high, around zero as sound is: the gain of rubato's filter is off by
/// 2.6 millionths, which would be frames at a level that is always high.
const LOW: f64 = -0.5;
const HEIGHT: f64 = 1.0;

/// How far a knot may be off the triangle, in knots: so much that noise is told from a line, so
/// little that the slopes never turn: they are 0.2 to 1.8 times as steep as without.
const WANDER: f64 = 0.4;

impl TimeCode {
    /// 256 steps of a 24 bit sample per frame; tells 1.4 s at 48 kHz.
    pub const FINE: TimeCode = TimeCode { length: 1 << 15, knot: 8, tolerance: 0.15 };
    /// Two steps of a 16 bit sample per frame; tells 0.7 s at 48 kHz.
    pub const L16: TimeCode = TimeCode { length: 1 << 14, knot: 32, tolerance: 0.6 };

    /// Frames after which the code begins anew.
    pub fn period(&self) -> f64 {
        2.0 * f64::from(self.length)
    }

    /// How much a sample moves from frame to frame, on average.
    pub fn slope(&self) -> f64 {
        HEIGHT / f64::from(self.length)
    }

    /// Where the code has this value on its way up, or down; near the corners only about.
    pub fn place(&self, value: f64, rising: bool) -> f64 {
        let frames = (value - LOW) / self.slope();
        let mut place = if rising { frames } else { self.period() - frames };
        let mut cursor = Cursor::new(*self);
        for _ in 0..6 {
            let (there, steepness) = cursor.at(place);
            let steepness = steepness.abs().max(0.5) * if rising { 1.0 } else { -1.0 };
            place += (value - there) / (self.slope() * steepness);
        }
        place.rem_euclid(self.period())
    }

    /// The height of a knot.
    fn knot_value(&self, number: i64) -> f64 {
        let number = number & i64::from(2 * self.length / self.knot - 1);
        let frames = (number * i64::from(self.knot)) as f64;
        let triangle = frames.min(self.period() - frames);
        LOW + self.slope() * (triangle + WANDER * f64::from(self.knot) * noise(number as u64))
    }
}

/// Evenly from -1 to 1, the same for the same number forever.
fn noise(number: u64) -> f64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Walks along a code; cheap as long as the steps are small.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    code: TimeCode,
    /// The knot before.
    knot: i64,
    /// The heights of the one before it, of itself and of the two after it.
    heights: [f64; 4],
    /// The cubic from it to the next, by rising powers.
    cubic: [f64; 4],
    /// Knots per frame, and frames per knot's worth of slope: hours are walked, divisions add up.
    per_frame: f64,
    per_slope: f64,
}

impl Cursor {
    pub fn new(code: TimeCode) -> Self {
        let per_frame = 1.0 / f64::from(code.knot);
        let (heights, cubic) = ([0.0; 4], [0.0; 4]);
        let mut cursor = Self { code, knot: -2, heights, cubic, per_frame, per_slope: per_frame / code.slope() };
        cursor.enter(0);
        cursor
    }

    /// The code at a position between frames, and how steep it is there: 1 as on average, negative
    /// on the way down.
    #[inline]
    pub fn at(&mut self, position: f64) -> (f64, f64) {
        let knots = position * self.per_frame;
        let mut u = knots - self.knot as f64;
        if !(0.0..1.0).contains(&u) {
            self.enter(knots.floor() as i64);
            u = knots - self.knot as f64;
        }
        let [a, b, c, d] = self.cubic;
        let steepness = (b + u * (2.0 * c + u * 3.0 * d)) * self.per_slope;
        (a + u * (b + u * (c + u * d)), steepness)
    }

    /// The uniform cubic B-spline between a knot and the next.
    fn enter(&mut self, knot: i64) {
        if knot == self.knot + 1 {
            self.heights.rotate_left(1);
            self.heights[3] = self.code.knot_value(knot + 2);
        } else {
            self.heights = [-1, 0, 1, 2].map(|offset| self.code.knot_value(knot + offset));
        }
        self.knot = knot;
        let [p, q, r, s] = self.heights;
        let sixth = 1.0 / 6.0;
        self.cubic =
            [(p + 4.0 * q + r) * sixth, (r - p) * 0.5, (p - 2.0 * q + r) * 0.5, (s - p + 3.0 * (q - r)) * sixth];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_again_from_its_value() {
        for code in [TimeCode::FINE, TimeCode::L16] {
            let (mut cursor, corner) = (Cursor::new(code), 2.0 * f64::from(code.knot));
            let length = f64::from(code.length);
            for place in (0..2_000).map(|n| f64::from(n) * code.period() / 2_000.0 + 0.3) {
                if (place % length).min(length - place % length) > corner {
                    let (value, steepness) = cursor.at(place);
                    assert!((0.19..1.81).contains(&steepness.abs()), "{steepness} at {place}");
                    let found = code.place(value, place < length);
                    assert!((found - place).abs() < 0.1, "{place}, found at {found}");
                }
            }
        }
    }
}
