//! Curves as SVG: two panels side by side, over one scale.
//!
//! Enters: values with their least and greatest. Leaves: an image that is read on light and on dark ground. Never: a script, a font or
//! anything else from elsewhere; markup in a label.

mod axis;

use std::fmt::Write;

use self::axis::{Axis, label};

/// All of an image.
pub struct Plot {
    /// Said above.
    pub title: String,
    /// What grows, with its unit.
    pub grows: &'static str,
    /// Where there are values, and what is written there.
    pub at: Vec<(f64, String)>,
    /// Left and right.
    pub panels: [Panel; 2],
}

/// One of them.
pub struct Panel {
    /// What is shown, with its unit.
    pub title: &'static str,
    /// Whether equal ratios are equal ways.
    pub log: bool,
    /// What is held against it.
    pub curves: Vec<Curve>,
}

/// Values, one where each stands.
pub struct Curve {
    /// Whose they are.
    pub name: &'static str,
    /// Median, least, greatest.
    pub values: Vec<[f64; 3]>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 350.0;
/// Of a panel: what is left of the image after axes and words.
const INNER: [f64; 2] = [370.0, 210.0];
/// Left edges of the panels, and their upper one.
const LEFT: [f64; 2] = [60.0, 510.0];
const TOP: f64 = 74.0;
/// Apart enough to be told from each other by those who see few colours, too: the curves also differ in their strokes.
const STYLE: &str = "\
svg{font:13px system-ui,sans-serif}\
.ground{fill:#fff}.words{fill:#333}.faint{fill:#666}.title{font-weight:600}.grid{stroke:#ddd}.axis{stroke:#888}\
.curve{fill:none;stroke-width:2}.c0{stroke:#777;stroke-dasharray:5 4}.c1{stroke:#0969da}.c2{stroke:#bc4c00;stroke-dasharray:9 3}\
.d0{fill:#777}.d1{fill:#0969da}.d2{fill:#bc4c00}\
@media(prefers-color-scheme:dark){\
.ground{fill:#0d1117}.words{fill:#e6edf3}.faint{fill:#9da7b3}.grid{stroke:#2d333b}.axis{stroke:#768390}\
.c0{stroke:#adbac7}.c1{stroke:#6cb6ff}.c2{stroke:#f69d50}.d0{fill:#adbac7}.d1{fill:#6cb6ff}.d2{fill:#f69d50}}";

impl Plot {
    /// The image.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n\
             <text class=\"words title\" x=\"16\" y=\"26\">{title}</text>\n",
            title = escaped(&self.title),
        );
        for (panel, left) in self.panels.iter().zip(LEFT) {
            self.panel(&mut svg, panel, left);
        }
        svg + "</svg>\n"
    }

    fn panel(&self, svg: &mut String, panel: &Panel, left: f64) {
        let [width, height] = INNER;
        let bottom = TOP + height;
        let horizontal =
            Axis::log(self.at.first().map_or(1.0, |(at, _)| *at), self.at.last().map_or(1.0, |(at, _)| *at));
        let all = || panel.curves.iter().flat_map(|curve| curve.values.iter().flatten().copied());
        let greatest = all().fold(0.0, f64::max);
        let vertical = match panel.log {
            true => Axis::decades(all().fold(f64::INFINITY, f64::min), greatest),
            false => Axis::linear(greatest),
        };
        let x = |value: f64| left + 8.0 + horizontal.place(value) * (width - 16.0);
        let y = |value: f64| bottom - vertical.place(value) * height;
        text(svg, ("faint", "start"), [left - 44.0, TOP - 14.0], panel.title);
        for tick in vertical.ticks() {
            line(svg, "grid", [left, y(tick)], [left + width, y(tick)]);
            text(svg, ("faint", "end"), [left - 6.0, y(tick) + 4.0], &label(tick));
        }
        line(svg, "axis", [left, bottom], [left + width, bottom]);
        for (at, words) in &self.at {
            line(svg, "axis", [x(*at), bottom], [x(*at), bottom + 4.0]);
            text(svg, ("faint", "middle"), [x(*at), bottom + 18.0], words);
        }
        text(svg, ("faint", "middle"), [left + width / 2.0, bottom + 38.0], self.grows);
        for (which, curve) in panel.curves.iter().enumerate() {
            let points: Vec<_> = self.at.iter().zip(&curve.values).map(|((at, _), values)| (x(*at), *values)).collect();
            let path: Vec<_> = points.iter().map(|(x, [median, ..])| format!("{x:.1},{:.1}", y(*median))).collect();
            let _ = writeln!(svg, "<polyline class=\"curve c{which}\" points=\"{}\"/>", path.join(" "));
            for (x, [median, least, greatest]) in points {
                line(svg, &format!("c{which}"), [x, y(least)], [x, y(greatest)]);
                let _ = writeln!(svg, "<circle class=\"d{which}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\"/>", y(median));
            }
        }
        self.legend(svg, panel, left + width);
    }

    /// In the upper right corner above the panel, the last one rightmost.
    fn legend(&self, svg: &mut String, panel: &Panel, mut right: f64) {
        for (which, curve) in panel.curves.iter().enumerate().rev() {
            let y = TOP - 30.0;
            text(svg, ("words", "end"), [right, y], curve.name);
            // Letters are not measured: about so wide on the average.
            right -= 7.2 * f64::from(u32::try_from(curve.name.chars().count()).unwrap_or(0)) + 8.0;
            let _ = writeln!(
                svg,
                "<polyline class=\"curve c{which}\" points=\"{:.1},{:.1} {right:.1},{:.1}\"/>",
                right - 22.0,
                y - 4.0,
                y - 4.0
            );
            right -= 38.0;
        }
    }
}

fn line(svg: &mut String, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn text(svg: &mut String, (class, anchor): (&str, &str), [x, y]: [f64; 2], words: &str) {
    let words = escaped(words);
    let _ = writeln!(svg, "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        let curve = |name, by: f64| Curve {
            name,
            values: [30.0, 60.0, 45.0].map(|it| [it * by, it * by * 0.9, it * by * 1.2]).into(),
        };
        let panel = |title, by, log| Panel {
            title,
            log,
            curves: vec![curve("directly", by), curve("exeat, everything on", by * 2.0)],
        };
        Plot {
            title: "Cost & <growth>".to_owned(),
            grows: "connections",
            at: vec![(1.0, "1".to_owned()), (16.0, "16".to_owned()), (256.0, "256".to_owned())],
            panels: [panel("requests/s ÷ direct", 0.01, false), panel("CPU µs a request", 10.0, true)],
        }
    }

    #[test]
    fn every_value_is_drawn_within_its_panel() {
        let svg = plot().svg();
        let circles: Vec<[f64; 2]> = svg.lines().filter(|line| line.starts_with("<circle")).map(centre).collect();
        assert_eq!(circles.len(), 12);
        for [x, y] in circles {
            assert!(LEFT.iter().any(|left| (*left..=left + INNER[0]).contains(&x)), "{x}");
            assert!((TOP..=TOP + INNER[1]).contains(&y), "{y}");
        }
    }

    #[test]
    fn what_is_greater_stands_higher_and_what_comes_later_further_right() {
        let svg = plot().svg();
        let mut circles = svg.lines().filter(|line| line.starts_with("<circle")).map(centre);
        let (first, second) = (circles.next().unwrap_or_default(), circles.next().unwrap_or_default());
        assert!(second[0] > first[0] && second[1] < first[1], "{first:?} {second:?}");
    }

    #[test]
    fn words_are_no_markup() {
        let svg = plot().svg();
        assert!(svg.contains("Cost &amp; &lt;growth>") && !svg.contains("<growth"));
    }

    fn centre(line: &str) -> [f64; 2] {
        ["cx=\"", "cy=\""].map(|name| {
            let rest = line.split(name).nth(1).unwrap_or_default();
            rest.split('"').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
        })
    }
}
