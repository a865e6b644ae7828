//! Drawings as SVG; they need no style sheet.

use std::fmt::Write as _;

use super::{comma, percent};

const BLUE: &str = "#1f4e79";
const RED: &str = "#b3261e";
const GREEN: &str = "#2e7d32";
const GREY: &str = "#d5dce4";

/// An item among others.
pub(super) struct Dot {
    pub(super) facility: f64,
    pub(super) discrimination: f64,
    pub(super) item_id: u32,
    pub(super) alarmed: bool,
}

/// How a choice was made.
pub(super) struct Bar {
    /// Escaped.
    pub(super) name: String,
    pub(super) in_key: bool,
    pub(super) share: f64,
    pub(super) upper: Option<f64>,
    pub(super) lower: Option<f64>,
}

macro_rules! draw {
    ($svg:expr, $($arg:tt)*) => {
        write!($svg, $($arg)*).expect("a string takes everything")
    };
}

fn open(width: u32, height: usize, what: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" font-size=\"10\" font-family=\"system-ui, DejaVu Sans, sans-serif\" \
         role=\"img\" aria-label=\"{what}\">"
    )
}

fn line(svg: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], how: &str) {
    draw!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {how}/>"
    );
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, what: &str) {
    draw!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#3a4656\">{what}</text>"
    );
}

/// Draws how often scores occurred: least score of each bar and number; `mean` is in bars from the left.
pub(super) fn histogram(bins: &[(f64, i64)], mean: Option<f64>) -> String {
    let (left, top, width, height) = (40.0, 18.0, 640.0, 150.0);
    let most = bins.iter().map(|bin| bin.1).max().unwrap_or(0).max(1) as f64;
    let step = width / bins.len() as f64;
    let mut svg = open(700, 200, "Phân bố điểm / Distribution of scores");
    for part in [0.5, 1.0] {
        let y = top + height * (1.0 - part);
        line(
            &mut svg,
            [left, y],
            [left + width, y],
            &format!("stroke=\"{GREY}\""),
        );
        text(
            &mut svg,
            [left - 6.0, y + 3.0],
            "end",
            &format!("{:.0}", most * part),
        );
    }
    let every = bins.len().div_ceil(11);
    for (at, (score, n)) in bins.iter().enumerate() {
        let (x, tall) = (left + step * at as f64, height * *n as f64 / most);
        draw!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{BLUE}\"/>",
            x + step * 0.08,
            top + height - tall,
            step * 0.84
        );
        if at % every == 0 {
            let label = comma(&format!("{score:.2}"));
            let label = label.trim_end_matches('0').trim_end_matches(',');
            text(
                &mut svg,
                [x + step / 2.0, top + height + 14.0],
                "middle",
                label,
            );
        }
    }
    line(
        &mut svg,
        [left, top + height],
        [left + width, top + height],
        &format!("stroke=\"{BLUE}\""),
    );
    if let Some(mean) = mean {
        let x = left + step * (mean + 0.5);
        let how = format!("stroke=\"{RED}\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"");
        line(&mut svg, [x, top - 4.0], [x, top + height], &how);
        text(&mut svg, [x, top - 6.0], "middle", "trung bình / mean");
    }
    text(
        &mut svg,
        [left + width / 2.0, top + height + 30.0],
        "middle",
        "điểm / score",
    );
    svg + "</svg>"
}

/// Draws items by facility and correlation with the rest of the paper; those with alarms are red, with their number.
pub(super) fn scatter(dots: &[Dot]) -> String {
    let (left, top, width, height) = (40.0, 8.0, 640.0, 250.0);
    let least = dots
        .iter()
        .map(|dot| dot.discrimination)
        .fold(-0.1, f64::min);
    let most = dots
        .iter()
        .map(|dot| dot.discrimination)
        .fold(0.6, f64::max);
    let least = (least * 5.0).floor() / 5.0;
    let most = (most * 5.0).ceil() / 5.0;
    let place = |x: f64, y: f64| [left + width * x, top + height * (most - y) / (most - least)];
    let mut svg = open(
        700,
        296,
        "Độ dễ và độ phân biệt / Facility and discrimination",
    );
    let lines = (0..).map(|at| least + f64::from(at) / 5.0);
    for y in lines.take_while(|y| *y < most + 0.1) {
        let how = if y.abs() < 1e-9 { BLUE } else { GREY };
        line(
            &mut svg,
            place(0.0, y),
            place(1.0, y),
            &format!("stroke=\"{how}\""),
        );
        let [x, at] = place(0.0, y);
        text(
            &mut svg,
            [x - 6.0, at + 3.0],
            "end",
            &comma(&format!("{:.1}", y + 0.0)),
        );
    }
    for at in 0..=5 {
        let x = f64::from(at) / 5.0;
        line(
            &mut svg,
            place(x, least),
            place(x, most),
            &format!("stroke=\"{GREY}\""),
        );
        let [at, y] = place(x, least);
        text(
            &mut svg,
            [at, y + 14.0],
            "middle",
            &percent(x).replace("0.0", "0"),
        );
    }
    let (alarmed, sound): (Vec<_>, Vec<_>) = dots.iter().partition(|dot| dot.alarmed);
    for dot in sound.into_iter().chain(alarmed) {
        let [x, y] = place(dot.facility.clamp(0.0, 1.0), dot.discrimination);
        let (radius, fill) = if dot.alarmed { (4.5, RED) } else { (3.0, BLUE) };
        draw!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" fill-opacity=\".7\"><title>#{}</title></circle>",
            dot.item_id
        );
        if dot.alarmed {
            text(
                &mut svg,
                [x + 7.0, y + 3.5],
                "start",
                &format!("#{}", dot.item_id),
            );
        }
    }
    let [x, y] = place(0.5, least);
    text(
        &mut svg,
        [x, y + 30.0],
        "middle",
        "độ dễ / facility → · ↑ độ phân biệt r / discrimination",
    );
    svg + "</svg>"
}

/// Draws one bar a choice, with what the best and the weakest chose.
pub(super) fn options(bars: &[Bar]) -> String {
    let (left, width, row) = (80.0, 190.0, 18.0);
    let mut svg = open(330, bars.len() * 18 + 2, "Tỷ lệ chọn / Shares of choices");
    for (at, bar) in bars.iter().enumerate() {
        let y = row * at as f64;
        let fill = if bar.in_key { GREEN } else { "#9fb3c8" };
        let short: String = bar.name.chars().take(14).collect();
        // a name that is cut may end within an escape
        let name = if short.contains('&') {
            &bar.name
        } else {
            &short
        };
        text(&mut svg, [left - 6.0, y + 12.5], "end", name);
        draw!(
            svg,
            "<rect x=\"{left}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\" fill=\"{fill}\"/>",
            y + 3.0,
            width * bar.share
        );
        for (share, fill) in [(bar.lower, "#fff"), (bar.upper, "#1c2430")] {
            if let Some(share) = share {
                draw!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.6\" fill=\"{fill}\" stroke=\"#1c2430\"/>",
                    left + width * share,
                    y + 9.0
                );
            }
        }
        text(
            &mut svg,
            [left + width + 50.0, y + 12.5],
            "end",
            &comma(&percent(bar.share)),
        );
    }
    svg + "</svg>"
}
