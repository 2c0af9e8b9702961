//! The picture: for each measurement a bar from p50 to the maximum, and the delay over time beside it.

use std::fmt::Write;

use crate::report::Row;

/// An SVG drawing of the measurements, the delay on a logarithmic axis.
pub fn draw(rows: &[Row]) -> String {
    let height = TOP + rows.len() as f64 * LINE + BOTTOM;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(&mut svg, LABELS, 20.0, "start", "Mouth to ear, ms: p50 (dot), p95 (thick), maximum (thin)");
    text(&mut svg, TRACES, 20.0, "start", "over the run, 0 to its maximum");
    text(&mut svg, GAPS, 20.0, "start", "gaps/min");
    axis(&mut svg, height);
    for (n, row) in rows.iter().enumerate() {
        measurement(&mut svg, row, TOP + (n as f64 + 0.5) * LINE);
    }
    svg + "</svg>\n"
}

fn axis(svg: &mut String, height: f64) {
    for ms in [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0] {
        let x = place(ms);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
            height - BOTTOM
        );
        text(svg, x, height - 10.0, "middle", &ms.to_string());
    }
}

fn measurement(svg: &mut String, row: &Row, y: f64) {
    let mut label = row.system.clone();
    if row.link != "loopback" {
        label += &format!(" on {}", row.link);
    }
    if let Some(ppm) = row.skew_ppm {
        label += &format!(", {ppm:+.0} ppm");
    }
    text(svg, LABELS, y + 4.0, "start", &format!("{label}, {}", row.setting));
    let (Some(p50), Some(p95), Some(max)) = (row.p50_ms, row.p95_ms, row.max_ms) else {
        return text(svg, BARS, y + 4.0, "start", "no sound");
    };
    let color = if row.system.starts_with("ours") { "#c0392b" } else { "#2c6e9b" };
    for (end, width) in [(p95, 5), (max, 1)] {
        let (from, to) = (place(p50), place(end));
        let _ = writeln!(
            svg,
            "<line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" stroke-width=\"{width}\"/>"
        );
    }
    let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{color}\"/>", place(p50));
    text(svg, place(max) + 6.0, y + 4.0, "start", &format!("{p50:.2}"));
    text(svg, GAPS, y + 4.0, "start", &format!("{:.1}", row.gaps_per_minute()));
    trace(svg, row, y, max, color);
}

fn trace(svg: &mut String, row: &Row, y: f64, max: f64, color: &str) {
    let (Some(first), Some(last)) = (row.delays.first(), row.delays.last()) else {
        return;
    };
    let span = (last.0 - first.0).max(1e-9);
    let points: String = row
        .delays
        .iter()
        .map(|(s, ms)| {
            let x = TRACES + (s - first.0) / span * TRACE_WIDTH;
            let up = ms / max.max(1e-9) * (LINE - 6.0);
            format!("{x:.1},{:.1} ", y + LINE / 2.0 - 3.0 - up)
        })
        .collect();
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\"/>", points.trim_end());
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn place(ms: f64) -> f64 {
    let share = (ms.max(1.0) / 1.0).ln() / 1000f64.ln();
    BARS + share.min(1.0) * BAR_WIDTH
}

const WIDTH: f64 = 1180.0;
const LABELS: f64 = 10.0;
const BARS: f64 = 330.0;
const BAR_WIDTH: f64 = 480.0;
const TRACES: f64 = 880.0;
const TRACE_WIDTH: f64 = 220.0;
const GAPS: f64 = 1115.0;
const TOP: f64 = 32.0;
const LINE: f64 = 26.0;
const BOTTOM: f64 = 28.0;
