//! Numbers as they are drawn in a terminal.
//!
//! Enters: numbers, the terminal's width, what its user wants. Leaves: bars and lines of blocks. Never: a colour where NO_COLOR is set, nor a
//! block where the locale has none.

use rustix::termios::tcgetwinsize;

/// Where the terminal does not say.
const WIDTH: usize = 80;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['.', '.', ':', ':', '-', '=', '+', '#'];

/// How it is drawn.
#[derive(Debug)]
pub(super) struct Drawing {
    /// How many characters a line has.
    pub(super) width: usize,
    pub(super) colour: bool,
    pub(super) blocks: bool,
}

impl Drawing {
    /// As the terminal on standard output can, and its user wants.
    pub(super) fn of_terminal() -> Option<Drawing> {
        let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let size = tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
        let width = size.filter(|columns| *columns > 0).unwrap_or(WIDTH);
        let colour = said("NO_COLOR").is_none() && said("TERM").is_some_and(|term| term != "dumb");
        let locale = said("LC_ALL").or_else(|| said("LC_CTYPE")).or_else(|| said("LANG")).unwrap_or_default();
        let blocks = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        Some(Drawing { width, colour, blocks })
    }

    /// A bar of at most this length for so much of the most; not nothing for something.
    pub(super) fn bar(&self, length: usize, of: u64, most: u64) -> String {
        let full = u128::from(of) * length as u128;
        let full = usize::try_from(full.div_ceil(u128::from(most.max(1)))).unwrap_or(length).min(length);
        let block = if self.blocks { '█' } else { '#' };
        std::iter::repeat_n(block, full).collect()
    }

    /// A character for each number, as high as that is. None for none.
    pub(super) fn spark(&self, numbers: &[u64]) -> String {
        let heights = if self.blocks { BLOCKS } else { ASCII };
        let most = numbers.iter().copied().max().unwrap_or(0).max(1);
        let height = |number: u64| {
            let level = (u128::from(number) * heights.len() as u128).div_ceil(u128::from(most));
            let level = usize::try_from(level).unwrap_or(heights.len());
            level.checked_sub(1).map_or(' ', |level| heights[level.min(heights.len() - 1)])
        };
        numbers.iter().map(|number| height(*number)).collect()
    }

    /// In a colour of ANSI's eight, if colours are wanted.
    pub(super) fn coloured(&self, text: &str, colour: u8) -> String {
        match self.colour && !text.is_empty() {
            true => format!("\x1b[3{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// Sums of neighbours, so that there are no more than fit.
pub(super) fn fitted(numbers: &[u64], most: usize) -> Vec<u64> {
    let together = numbers.len().div_ceil(most.max(1)).max(1);
    numbers.chunks(together).map(|some| some.iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_fits_and_something_is_never_nothing() {
        let drawing = Drawing { width: 80, colour: false, blocks: true };
        assert_eq!(drawing.spark(&[0, 1, 50, 100]), " ▁▄█");
        assert_eq!(drawing.spark(&[0, 0]), "  ");
        assert_eq!(drawing.spark(&[u64::MAX]), "█");
        assert_eq!(drawing.bar(10, 1, 1_000_000), "█");
        assert_eq!((drawing.bar(4, 7, 7).as_str(), drawing.bar(4, 0, 7).as_str()), ("████", ""));
        assert_eq!(drawing.bar(4, u64::MAX, 1).chars().count(), 4);
        let plain = Drawing { blocks: false, ..drawing };
        assert!(plain.spark(&[1, 2, 3]).is_ascii() && plain.bar(3, 1, 1).is_ascii());
        assert_eq!(plain.coloured("a", 1), "a");
        assert_eq!(fitted(&[1, 2, 3, 4, 5], 3), [3, 7, 5]);
        assert_eq!(fitted(&[1, 2], 0), [3]);
        assert!(fitted(&[], 5).is_empty());
    }
}
