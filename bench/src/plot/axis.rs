//! An axis: where a value stands, and where the lines of the grid are.
//!
//! Enters: the values that are to fit. Leaves: places from 0 to 1, and ticks. Never: a value outside of it placed outside: it stands at the
//! edge.

/// From the least to the greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Axis {
    /// From nothing on, in equal steps.
    Linear {
        /// The end, a multiple of the step.
        end: f64,
        /// From one tick to the next.
        step: f64,
    },
    /// Equal ways for equal ratios.
    Log {
        /// Where it begins.
        begin: f64,
        /// Where it ends.
        end: f64,
    },
}

/// About so many steps fit.
const STEPS: f64 = 5.0;

impl Axis {
    /// From nothing to `greatest` or a little more.
    pub fn linear(greatest: f64) -> Self {
        let greatest = if greatest.is_finite() && greatest > 0.0 { greatest } else { 1.0 };
        let power = 10f64.powf((greatest / STEPS).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
        let step = steps.into_iter().find(|step| greatest / step <= STEPS).unwrap_or(10.0 * power);
        Self::Linear { end: (greatest / step - 1e-9).ceil() * step, step }
    }

    /// From `least` to `greatest`, as they are.
    pub fn log(least: f64, greatest: f64) -> Self {
        let begin = if least > 0.0 { least } else { 1.0 };
        Self::Log { begin, end: if greatest > begin { greatest } else { begin * 10.0 } }
    }

    /// The same from one power of ten to another.
    pub fn decades(least: f64, greatest: f64) -> Self {
        let power = |value: f64, round: fn(f64) -> f64| 10f64.powf(round(value.max(1e-9).log10()));
        Self::log(power(least, f64::floor), power(greatest, f64::ceil))
    }

    /// From 0, the beginning, to 1, the end.
    pub fn place(&self, value: f64) -> f64 {
        let place = match *self {
            Self::Linear { end, .. } => value / end,
            Self::Log { begin, end } => (value / begin).ln() / (end / begin).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    /// What lines are drawn at.
    pub fn ticks(&self) -> Vec<f64> {
        let (mut ticks, mut at, end) = match *self {
            Self::Linear { end, .. } => (Vec::new(), 0.0, end),
            Self::Log { begin, end } => (Vec::new(), begin, end),
        };
        while at <= end * (1.0 + 1e-9) && ticks.len() < 20 {
            ticks.push(at);
            at = match *self {
                Self::Linear { step, .. } => at + step,
                Self::Log { .. } => at * 10.0,
            };
        }
        ticks
    }
}

/// As few digits as tell two ticks apart.
pub fn label(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        1e6.. => format!("{} M", value / 1e6),
        10.0.. => format!("{value:.0}"),
        _ => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_with_nothing_and_holds_the_greatest() {
        assert_eq!(Axis::linear(0.93), Axis::Linear { end: 1.0, step: 0.2 });
        assert_eq!(Axis::linear(47.0), Axis::Linear { end: 50.0, step: 10.0 });
        assert_eq!(Axis::linear(50.0), Axis::Linear { end: 50.0, step: 10.0 });
        assert_eq!(Axis::linear(51.0), Axis::Linear { end: 60.0, step: 20.0 });
        for greatest in [f64::NAN, 0.0, -3.0] {
            assert_eq!(Axis::linear(greatest).place(0.0), 0.0, "{greatest}");
        }
    }

    #[test]
    fn equal_ratios_are_equal_ways_on_a_log_axis() {
        let axis = Axis::log(1.0, 1024.0);
        assert!((axis.place(32.0) - 0.5).abs() < 1e-9);
        assert_eq!((axis.place(1.0), axis.place(1024.0), axis.place(4096.0)), (0.0, 1.0, 1.0));
        assert_eq!(Axis::decades(31.0, 20_000.0).ticks(), [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
    }

    #[test]
    fn a_label_has_no_digit_too_many() {
        let told: Vec<_> = [0.0, 0.2, 0.25, 1.0, 2.5, 20.0, 1e5, 1e6].map(label).into();
        assert_eq!(told, ["0", "0.2", "0.25", "1", "2.5", "20", "100000", "1 M"]);
    }
}
