//! What was measured along one curve.
//!
//! Enters: rounds, a point after the other; in each round whoever goes directly is the first. Leaves: an image and a table. Never: a ratio of
//! two rounds.

use crate::plot::{Curve, Panel, Plot};

use super::super::spread::Spread;
use super::crew::Done;

/// All points.
pub struct Grown {
    /// The image's name.
    pub file: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// How it was measured.
    pub about: &'static str,
    grows: &'static str,
    who: Vec<&'static str>,
    log: bool,
    points: Vec<Point>,
    /// Where there is no point, and why.
    missing: Vec<String>,
}

/// One of them.
pub struct Point {
    at: f64,
    label: String,
    rounds: Vec<Vec<Done>>,
}

impl Grown {
    /// Without points.
    pub fn new(
        file: &'static str,
        title: &'static str,
        grows: &'static str,
        about: &'static str,
        who: &[&'static str],
    ) -> Self {
        Self { file, title, about, grows, who: who.to_vec(), log: false, points: Vec::new(), missing: Vec::new() }
    }

    /// CPU time on a logarithmic scale.
    pub fn logarithmic(self) -> Self {
        Self { log: true, ..self }
    }

    /// One more point.
    pub fn point(&mut self, at: f64, label: String) -> &mut Point {
        let rounds = Vec::new();
        self.points.push(Point { at, label, rounds });
        let last = self.points.len() - 1;
        &mut self.points[last]
    }

    /// Says that there is no point, and why.
    pub fn without(&mut self, why: String) {
        self.missing.push(why);
    }

    /// The image.
    pub fn plot(&self) -> Plot {
        let curves = |of: fn(&Point, usize) -> Spread| {
            let curve = |(which, name): (usize, &&'static str)| Curve {
                name,
                values: self.points.iter().map(|point| of(point, which).ends()).collect(),
            };
            self.who.iter().enumerate().map(curve).collect()
        };
        Plot {
            title: self.title.to_owned(),
            grows: self.grows,
            at: self.points.iter().map(|point| (point.at, point.label.clone())).collect(),
            panels: [
                Panel { title: "requests/s ÷ direct", log: false, curves: curves(Point::ratio) },
                Panel { title: "CPU µs a request", log: self.log, curves: curves(Point::cpu) },
            ],
        }
    }

    /// The same in numbers.
    pub fn table(&self) -> String {
        let proxied = || self.who.iter().enumerate().skip(1);
        let mut heads = vec![self.grows.to_owned(), "directly, a second".to_owned()];
        heads.extend(proxied().map(|(_, name)| format!("{name} ÷ direct")));
        heads.push("directly, both ends' CPU µs".to_owned());
        heads.extend(proxied().map(|(_, name)| format!("{name}, CPU µs")));
        let mut table = super::section(self, &heads.iter().map(String::as_str).collect::<Vec<_>>());
        for point in &self.points {
            let rate: Spread = point.rounds.iter().map(|round| round[0].rate).collect();
            let mut cells = vec![point.label.clone(), rate.told(0)];
            cells.extend(proxied().map(|(which, _)| point.ratio(which).told(2)));
            cells.extend((0..self.who.len()).map(|which| point.cpu(which).told(0)));
            table.row(&cells);
        }
        for why in &self.missing {
            table.row(std::slice::from_ref(why));
        }
        table.end()
    }
}

impl Point {
    /// One more round, everybody in the order of the curves.
    pub fn round(&mut self, done: Vec<Done>) {
        self.rounds.push(done);
    }

    fn ratio(&self, which: usize) -> Spread {
        self.rounds.iter().map(|round| round[which].rate / round[0].rate).collect()
    }

    fn cpu(&self, which: usize) -> Spread {
        self.rounds.iter().map(|round| round[which].cpu).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_one_round() {
        let mut grown = Grown::new("file", "Title", "things", "About.", &["directly", "exeat"]);
        let point = grown.point(1.0, "1".to_owned());
        for (direct, exeat) in [(100.0, 50.0), (1000.0, 400.0), (10.0, 6.0)] {
            point.round([direct, exeat].map(|rate| Done { rate, cpu: 7.0 }).into());
        }
        let row = "| 1 | 100 (10–1000) | 0.50 (0.40–0.60) | 7 (7–7) | 7 (7–7) |";
        assert!(grown.table().contains(row), "{}", grown.table());
        assert_eq!(grown.plot().panels[0].curves[1].values, [[0.5, 0.4, 0.6]]);
    }
}
