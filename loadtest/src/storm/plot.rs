//! A storm as a picture: load and goodput, what was refused, and how long it took, second by second.
//!
//! Plain SVG, so that it stands in a page without any program. Three panels share the time axis; each line is named where
//! it is drawn. Invariant: equal numbers give equal bytes.

use std::fmt::Write as _;

use super::series::{Class, Row, Series};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 190.0;
/// Heights of the panels: load needs room for five times the peak.
const PANELS: [f64; 3] = [270.0, 150.0, 150.0];
const GAP: f64 = 52.0;
const TOP: f64 = 56.0;
/// Height of a name.
const LETTERS: f64 = 15.0;
/// Grid lines of a panel.
const TICKS: u32 = 4;
/// Colours that people with any kind of sight tell apart (Okabe and Ito).
const COLOURS: [&str; 5] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"];
const GREY: &str = "#888888";

/// Where phases begin and end, seconds.
pub(super) struct Marks {
    /// The closed loop begins.
    pub(super) peak_from: usize,
    /// The overload begins
    pub(super) overload_from: usize,
    /// and ends.
    pub(super) overload_until: usize,
    /// The most that the machine saves, answers a second.
    pub(super) peak_per_s: f64,
}

struct Line {
    name: String,
    colour: &'static str,
    is_dashed: bool,
    points: Vec<(f64, f64)>,
}

impl Line {
    fn of(name: &str, colour: &'static str, rows: &[Row], value: impl Fn(&Row) -> f64) -> Self {
        Self {
            name: name.to_owned(),
            colour,
            is_dashed: false,
            points: (0_u32..)
                .zip(rows)
                .map(|(second, row)| (f64::from(second), value(row)))
                .collect(),
        }
    }
}

/// Draws the seconds of a storm.
pub(super) fn svg(series: &Series, marks: &Marks) -> String {
    picture(&series.rows(marks.overload_until), marks)
}

fn picture(rows: &[Row], marks: &Marks) -> String {
    let height = TOP + PANELS.iter().map(|panel| panel + GAP).sum::<f64>() + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let panels = [
        ("answers a second", load(rows, marks)),
        ("refused for now, % of the calls sent", sheds(rows)),
        ("99th percentile of starts and answers, ms", latency(rows)),
    ];
    let seconds = rows.len().max(1) as f64;
    let mut top = TOP;
    for ((title, lines), height) in panels.iter().zip(PANELS) {
        let frame = Frame {
            top,
            height,
            seconds,
        };
        frame.shade(&mut svg, marks);
        frame.panel(&mut svg, title, lines);
        top += height + GAP;
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let bottom = height - 8.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.0}\" y=\"{bottom:.0}\" text-anchor=\"middle\">seconds</text>\n</svg>"
    ); // writing to a String does not fail
    svg
}

fn load(rows: &[Row], marks: &Marks) -> Vec<Line> {
    let answer = Class::Answer as usize;
    let mut peak = Line::of("peak", GREY, rows, |_| marks.peak_per_s);
    peak.is_dashed = true;
    vec![
        Line::of("due", COLOURS[1], rows, |row| row.due as f64),
        Line::of("sent", COLOURS[4], rows, |row| row.sent[answer] as f64),
        Line::of("saved", COLOURS[0], rows, |row| row.done[answer] as f64),
        Line::of("started", COLOURS[2], rows, |row| {
            row.done[Class::Start as usize] as f64
        }),
        peak,
    ]
}

/// A class of which nothing was refused has no line.
fn sheds(rows: &[Row]) -> Vec<Line> {
    let line = |(class, colour): (Class, &&'static str)| {
        Line::of(class.name(), colour, rows, move |row| {
            let sent = row.sent[class as usize].max(1) as f64;
            (row.shed[class as usize] as f64 / sent * 100.0).min(100.0) // some were sent in the second before
        })
    };
    let has_sheds = |line: &Line| line.points.iter().any(|(_, y)| *y > 0.0);
    let lines = Class::ALL.into_iter().zip(&COLOURS).map(line);
    lines.filter(has_sheds).collect()
}

fn latency(rows: &[Row]) -> Vec<Line> {
    let mut line = Line::of("p99", COLOURS[0], rows, |_| 0.0);
    let points = (0_u32..).zip(rows);
    line.points = points
        .filter_map(|(second, row)| Some((f64::from(second), row.latency_ms_p99?)))
        .collect();
    vec![line]
}

/// Returns where a second stands.
fn x_of(second: f64, seconds: f64) -> f64 {
    LEFT + second / seconds * (WIDTH - LEFT - RIGHT)
}

/// Where a panel stands.
struct Frame {
    top: f64,
    height: f64,
    seconds: f64,
}

impl Frame {
    /// Shades the phases, and names them above the first panel.
    fn shade(&self, svg: &mut String, marks: &Marks) {
        let phases = [
            ("start", 0, marks.peak_from, "#f3f6fa"),
            (
                "closed loop",
                marks.peak_from,
                marks.overload_from,
                "#ffffff",
            ),
            (
                "overload",
                marks.overload_from,
                marks.overload_until,
                "#fbf3ee",
            ),
        ];
        let Self {
            top,
            height,
            seconds,
        } = self;
        for (name, from, until, colour) in phases {
            let (left, right) = (x_of(from as f64, *seconds), x_of(until as f64, *seconds));
            let width = (right - left).max(0.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>"
            ); // as above
            if *top <= TOP {
                let (middle, y) = (left + width / 2.0, top - 26.0);
                let _ = writeln!(
                    svg,
                    "<text x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#555555\">{name}</text>"
                ); // as above
            }
        }
    }

    fn panel(&self, svg: &mut String, title: &str, lines: &[Line]) {
        let values = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
        let most = round_up(values.fold(0.0, f64::max));
        let y = self.top - 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{y:.1}\" font-weight=\"bold\">{title}</text>"
        ); // as above
        self.grid(svg, most);
        for line in lines {
            self.line(svg, line, most);
        }
        self.names(svg, lines, most);
    }

    fn y_of(&self, value: f64, most: f64) -> f64 {
        self.top + self.height - value / most * self.height
    }

    fn grid(&self, svg: &mut String, most: f64) {
        let right = WIDTH - RIGHT;
        for tick in 0..=TICKS {
            let value = most * f64::from(tick) / f64::from(TICKS);
            let (x, y) = (LEFT - 8.0, self.y_of(value, most));
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                y + 4.0
            ); // as above
        }
        let step = (round_up(self.seconds / 8.0)).max(1.0);
        let mut second = 0.0;
        while second <= self.seconds {
            let x = x_of(second, self.seconds);
            let y = self.top + self.height + 16.0;
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{second}</text>"
            ); // as above
            second += step;
        }
    }

    fn line(&self, svg: &mut String, line: &Line, most: f64) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(x, y)| {
                let x = x_of(x + 0.5, self.seconds);
                format!("{x:.1},{:.1}", self.y_of(*y, most))
            })
            .collect();
        let dashes = if line.is_dashed {
            " stroke-dasharray=\"5 4\""
        } else {
            ""
        };
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{dashes}/>",
            points.join(" "),
            line.colour
        ); // as above
    }

    /// Names each line where it ends, none over another: pushed down from the top, then back up from the bottom.
    fn names(&self, svg: &mut String, lines: &[Line], most: f64) {
        let mut names: Vec<(f64, &Line)> = lines
            .iter()
            .filter_map(|line| Some((self.y_of(line.points.last()?.1, most), line)))
            .collect();
        names.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut free = self.top;
        for (y, _) in &mut names {
            *y = y.max(free);
            free = *y + LETTERS;
        }
        let mut free = self.top + self.height;
        for (y, _) in names.iter_mut().rev() {
            *y = y.min(free);
            free = *y - LETTERS;
        }
        for (y, line) in names {
            let (x, y) = (WIDTH - RIGHT + 8.0, y + 4.0);
            let Line { name, colour, .. } = line;
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y:.1}\" fill=\"{colour}\">{name}</text>"
            ); // as above
        }
    }
}

/// Rounds up to a number that divides well: 1, 2, 4 or 8 and zeros.
fn round_up(value: f64) -> f64 {
    let mut step = 1.0;
    loop {
        for digit in [1.0, 2.0, 4.0, 8.0] {
            if digit * step >= value {
                return digit * step;
            }
        }
        step *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |due, saved| Row {
            due,
            done: [saved, 0, 0, 0, 0],
            shed: [due - saved, 0, 0, 0, 2],
            latency_ms_p99: (saved > 0).then_some(4.0),
            ..Row::default()
        };
        vec![row(0, 0), row(100, 80), row(400, 79)]
    }

    fn marks() -> Marks {
        Marks {
            peak_from: 1,
            overload_from: 2,
            overload_until: 3,
            peak_per_s: 80.0,
        }
    }

    #[test]
    fn every_line_has_its_points_and_its_name() {
        let svg = picture(&rows(), &marks());
        let n_lines = svg.matches("<polyline").count();
        assert_eq!(n_lines, 5 + 2 + 1, "two classes were refused");
        for name in [
            "due", "sent", "saved", "answers", "boards", "p99", "overload",
        ] {
            assert!(svg.contains(&format!(">{name}</text>")), "{name}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg, picture(&rows(), &marks()));
    }

    #[test]
    fn a_storm_without_seconds_is_a_picture_too() {
        let svg = picture(&[], &marks());
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let found = [0.0, 1.0, 3.0, 5.0, 9.0, 410.0].map(round_up);
        assert_eq!(found, [1.0, 1.0, 4.0, 8.0, 10.0, 800.0]);
    }
}
