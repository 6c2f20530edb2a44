//! Several measurements of one thing.
//!
//! Enters: numbers, a round each. Leaves: their median, and how far they lie apart. Never: a mean, which one disturbed round moves.

/// Numbers, one a round.
#[derive(Debug, Clone, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// One more round.
    pub fn push(&mut self, number: f64) {
        let at = self.0.partition_point(|&other| other < number);
        self.0.insert(at, number);
    }

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.at(1, 2)
    }

    /// The smallest of which `part` in `whole` are not greater.
    pub fn at(&self, part: usize, whole: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * part / whole).copied().unwrap_or(f64::NAN)
    }

    /// Median, least, greatest.
    pub fn ends(&self) -> [f64; 3] {
        [self.median(), self.at(0, 1), self.at(1, 1)]
    }

    /// Median and, in brackets, the least and the greatest.
    pub fn told(&self, digits: usize) -> String {
        let (least, greatest) = (self.at(0, 1), self.at(1, 1));
        format!("{:.digits$} ({least:.digits$}–{greatest:.digits$})", self.median())
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut spread = Self::default();
        numbers.into_iter().for_each(|number| spread.push(number));
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_told_with_both_ends() {
        let spread: Spread = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(spread.told(0), "2 (1–3)");
        assert_eq!(spread.at(99, 100), 2.0);
    }
}
