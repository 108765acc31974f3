//! Line plots as inline SVG: axes, ticks, lines with gaps, values on hover without any script.
//!
//! Owns how a plot is drawn. Colours are classes (`line0` to `line3`) that the page's style gives a value for light and
//! dark. Drawn by hand, not with plotters, because a plotters chart has fixed colours and fonts: it cannot follow the
//! reader's light or dark. Pure; every text is escaped here. Called by [`super::html`].

use std::fmt::Write as _;

use super::text;

/// Size of the drawing and of its margins, in the units of its view box.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// How an axis runs, and how its ticks are chosen and written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Axis {
    /// Seconds since the beginning, from 0.
    Seconds,
    /// Counts and plain numbers, from 0.
    Number,
    /// Bytes, from 0.
    Bytes,
    /// Milliseconds, from 0.
    Millis,
    /// Microseconds, logarithmic.
    DelayLog,
    /// Microseconds, from 0.
    Delay,
    /// Percentiles: values are 1 / (1 - q), logarithmic, so that each nine takes the same room.
    Nines,
}

/// One line: a name, and a value or a gap at every place of [`Plot::x`].
pub struct Line {
    /// What it shows; goes into the legend.
    pub name: String,
    /// As many as the plot has places.
    pub values: Vec<Option<f64>>,
}

/// A plot with all that a person needs to read it.
pub struct Plot {
    /// What is shown.
    pub title: String,
    /// One sentence on how to read it.
    pub sentence: String,
    /// The horizontal axis with its name and the places of all lines.
    pub x_axis: Axis,
    /// As above.
    pub x_name: String,
    /// As above.
    pub x: Vec<f64>,
    /// The vertical axis with its name.
    pub y_axis: Axis,
    /// As above.
    pub y_name: String,
    /// At most four.
    pub lines: Vec<Line>,
}

impl Axis {
    fn logarithmic(self) -> bool {
        matches!(self, Axis::DelayLog | Axis::Nines)
    }

    /// A value as the axis writes it.
    pub fn label(self, value: f64) -> String {
        match self {
            Axis::Seconds if value.fract() > 0.0 => text::span((value * 1_000.0).round() as u64),
            Axis::Seconds => text::clock((value * 1_000.0) as u64),
            Axis::Number => plain(text::number(value)),
            Axis::Bytes => text::bytes(value),
            Axis::Millis => text::delay(value * 1_000.0),
            Axis::DelayLog | Axis::Delay => text::delay(value),
            Axis::Nines => {
                let q = 100.0 * (1.0 - 1.0 / value);
                let digits = (value.log10() - 2.0 - 1e-6).ceil().max(0.0) as usize;
                format!("{q:.digits$} %")
            }
        }
    }

    /// Both ends of the axis and its ticks for values from `low` to `high`.
    fn ticks(self, low: f64, high: f64) -> (f64, f64, Vec<f64>) {
        match self {
            Axis::Nines => {
                let high = high.max(10.0);
                let mut ticks = vec![1.0, 2.0];
                ticks.extend(
                    (1..18)
                        .map(|power| 10_f64.powi(power))
                        .take_while(|tick| *tick <= high * 1.001),
                );
                (1.0, high, ticks)
            }
            Axis::DelayLog => {
                let (low, high) = (low.max(1.0), high.max(low.max(1.0) * 2.0));
                let mut all = Vec::new();
                for power in 0..12 {
                    all.extend([1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
                }
                let first = all.iter().rposition(|tick| *tick <= low).unwrap_or(0);
                let last = all.iter().position(|tick| *tick >= high).unwrap_or(all.len() - 1);
                let mut ticks = all[first..=last].to_vec();
                let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
                if ticks.len() > 8 {
                    ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-9);
                }
                (low, high, ticks)
            }
            Axis::Seconds => {
                let steps = [
                    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0,
                ];
                let days = (0..12).map(|double| 3_600.0 * f64::from(1 << double));
                let span = high.max(0.1);
                let step = steps
                    .into_iter()
                    .chain(days)
                    .find(|step| span / step <= 8.0)
                    .unwrap_or(span);
                (0.0, span, stepped(0.0, span, step))
            }
            Axis::Number | Axis::Bytes | Axis::Millis | Axis::Delay => {
                let unit = match self {
                    Axis::Bytes => 1024_f64.powi(((high.max(1.0).log2() / 10.0).floor() as i32).clamp(0, 4)),
                    _ => 1.0,
                };
                let rough = (high.max(f64::MIN_POSITIVE) / unit / 4.0).max(1e-6);
                let power = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 2.5, 5.0, 10.0]
                    .into_iter()
                    .find(|step| step * power >= rough)
                    .unwrap_or(10.0);
                let step = unit * step * power;
                let top = if high > 0.0 { (high / step).ceil() * step } else { unit };
                let step = step.min(top);
                (0.0, top, stepped(0.0, top, step))
            }
        }
    }
}

/// A number without zeros that say nothing, for ticks.
fn plain(number: String) -> String {
    match number.contains('.') && !number.contains('e') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => number,
    }
}

fn stepped(low: f64, high: f64, step: f64) -> Vec<f64> {
    let first = (low / step).ceil() as i64;
    (first..first + 64)
        .map(|index| index as f64 * step)
        .take_while(|tick| *tick <= high + step * 1e-6)
        .collect()
}

/// One direction of the drawing: from values to places.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let bend = |value: f64| {
            if self.logarithmic {
                value.max(f64::MIN_POSITIVE).ln()
            } else {
                value
            }
        };
        let (low, high) = (bend(self.low), bend(self.high));
        let share = if high > low {
            (bend(value) - low) / (high - low)
        } else {
            0.0
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

/// The plot as a `<figure>`. Where nothing was measured it says so instead of drawing axes.
pub fn figure(plot: &Plot) -> String {
    let mut out = format!("<figure>\n<figcaption><h3>{}</h3>\n", text::escape(&plot.title));
    let _ = writeln!(out, "<p>{}</p>", text::escape(&plot.sentence));
    let values = || {
        plot.lines
            .iter()
            .flat_map(|line| line.values.iter().flatten())
            .filter(|value| value.is_finite())
    };
    if values().next().is_none() {
        out.push_str("</figcaption>\n<p class=\"none\">Not measured in this run.</p>\n</figure>\n");
        return out;
    }
    legend(&mut out, plot);
    out.push_str("</figcaption>\n");
    let least = |values: &mut dyn Iterator<Item = &f64>| values.copied().fold(f64::INFINITY, f64::min);
    let most = |values: &mut dyn Iterator<Item = &f64>| values.copied().fold(f64::NEG_INFINITY, f64::max);
    let (x_low, x_high, x_ticks) = plot.x_axis.ticks(least(&mut plot.x.iter()), most(&mut plot.x.iter()));
    let (y_low, y_high, y_ticks) = plot.y_axis.ticks(least(&mut values()), most(&mut values()));
    let across = Scale {
        low: x_low,
        high: x_high,
        from: LEFT,
        to: WIDTH - RIGHT,
        logarithmic: plot.x_axis.logarithmic(),
    };
    let up = Scale {
        low: y_low,
        high: y_high,
        from: HEIGHT - BOTTOM,
        to: TOP,
        logarithmic: plot.y_axis.logarithmic(),
    };

    let _ = writeln!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        text::escape(&format!("{}. {}", plot.title, plot.sentence))
    );
    for tick in y_ticks {
        let y = up.place(tick);
        let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>", WIDTH - RIGHT);
        let label = text::escape(&plot.y_axis.label(tick));
        let _ = writeln!(
            out,
            "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let floor = HEIGHT - BOTTOM;
    let _ = writeln!(
        out,
        "<path class=\"axis\" d=\"M{LEFT} {floor:.1}H{:.1}\"/>",
        WIDTH - RIGHT
    );
    for tick in x_ticks {
        let x = across.place(tick);
        let _ = writeln!(out, "<path class=\"axis\" d=\"M{x:.1} {floor:.1}v4\"/>");
        let label = text::escape(&plot.x_axis.label(tick));
        let _ = writeln!(
            out,
            "<text class=\"tick middle\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
            floor + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"name middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 8.0,
        text::escape(&plot.x_name)
    );
    let middle = f64::midpoint(TOP, floor);
    let _ = writeln!(
        out,
        "<text class=\"name middle\" transform=\"translate(13 {middle:.1}) rotate(-90)\">{}</text>",
        text::escape(&plot.y_name)
    );
    for (index, line) in plot.lines.iter().enumerate() {
        draw(&mut out, index, &plot.x, line, &across, &up);
    }
    hover(&mut out, plot, &across);
    out.push_str("</svg>\n</figure>\n");
    out
}

fn legend(out: &mut String, plot: &Plot) {
    if plot.lines.len() < 2 {
        return;
    }
    out.push_str("<p class=\"legend\">");
    for (index, line) in plot.lines.iter().enumerate() {
        let _ = write!(
            out,
            "<span><svg viewBox=\"0 0 26 10\"><path class=\"line line{}\" d=\"M1 5H25\"/></svg>{}</span>",
            index % 4,
            text::escape(&line.name)
        );
    }
    out.push_str("</p>\n");
}

/// A line broken at its gaps; a value between two gaps is a dot, for a path of one point shows nothing.
fn draw(out: &mut String, index: usize, x: &[f64], line: &Line, across: &Scale, up: &Scale) {
    let mut path = String::new();
    let mut dots = String::new();
    let known = |index: usize| {
        line.values
            .get(index)
            .copied()
            .flatten()
            .filter(|value| value.is_finite())
    };
    let mut drawing = false;
    for (place, at) in x.iter().enumerate() {
        let Some(value) = known(place) else {
            drawing = false;
            continue;
        };
        let (at, value) = (across.place(*at), up.place(value));
        if !drawing && known(place + 1).is_none() {
            let _ = write!(
                dots,
                "<circle class=\"dot line{}\" cx=\"{at:.1}\" cy=\"{value:.1}\" r=\"2\"/>",
                index % 4
            );
            continue;
        }
        let _ = write!(path, "{}{at:.1} {value:.1}", if drawing { 'L' } else { 'M' });
        drawing = true;
    }
    if !path.is_empty() {
        let _ = writeln!(out, "<path class=\"line line{}\" d=\"{path}\"/>", index % 4);
    }
    if !dots.is_empty() {
        let _ = writeln!(out, "{dots}");
    }
}

/// An unseen strip at every place whose title has the values there: browsers show it when the pointer rests on it.
fn hover(out: &mut String, plot: &Plot, across: &Scale) {
    let places: Vec<f64> = plot.x.iter().map(|x| across.place(*x)).collect();
    for (index, (x, place)) in plot.x.iter().zip(&places).enumerate() {
        let said: Vec<String> = plot
            .lines
            .iter()
            .filter_map(|line| {
                let value = line
                    .values
                    .get(index)
                    .copied()
                    .flatten()
                    .filter(|value| value.is_finite())?;
                Some(format!("{} {}", line.name, plot.y_axis.label(value)))
            })
            .collect();
        if said.is_empty() {
            continue;
        }
        let from = if index == 0 {
            LEFT
        } else {
            f64::midpoint(places[index - 1], *place)
        };
        let to = places
            .get(index + 1)
            .map_or(WIDTH - RIGHT, |next| f64::midpoint(*place, *next));
        let _ = writeln!(
            out,
            "<rect class=\"hover\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            (to - from).max(0.1),
            HEIGHT - BOTTOM - TOP,
            text::escape(&format!("{}: {}", plot.x_axis.label(*x), said.join(", ")))
        );
    }
}
