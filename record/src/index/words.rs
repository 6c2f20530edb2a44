//! The texts of a sheet, each once.
//!
//! Enters: texts. Leaves: a number for each, and the text for a number. Never: a panic over a number that it did not give: that is no text.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The number of a text in its sheet. That of the empty one is 0.
pub type Word = u32;

/// Texts, one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    text: String,
    /// Where each ends in `text`. The empty one is not there.
    ends: Vec<u64>,
}

impl Words {
    /// The text with this number.
    pub fn get(&self, word: Word) -> &str {
        let Some(last) = (word as usize).checked_sub(1) else { return "" };
        let end = |index: usize| self.ends.get(index).and_then(|end| usize::try_from(*end).ok());
        let begin = last.checked_sub(1).map_or(Some(0), end);
        begin.zip(end(last)).and_then(|(begin, end)| self.text.get(begin..end)).unwrap_or("")
    }

    /// How many numbers there are, with that of the empty text.
    pub fn count(&self) -> usize {
        self.ends.len() + 1
    }

    /// One more, though it may be there. A sheet has fewer than fit: its segment would be larger than any disk.
    pub(super) fn add(&mut self, text: &str) -> Word {
        if text.is_empty() {
            return 0;
        }
        self.text.push_str(text);
        self.ends.push(self.text.len() as u64);
        Word::try_from(self.ends.len()).unwrap_or(0)
    }
}

/// Which texts are there already.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<Box<str>, Word>);

impl Known {
    /// Of these.
    pub(super) fn of(words: &Words) -> Known {
        let numbers = (1..words.count()).filter_map(|number| Word::try_from(number).ok());
        Known(numbers.map(|word| (words.get(word).into(), word)).collect())
    }

    /// The number of a text, which is added if it is not there.
    pub(super) fn word(&mut self, words: &mut Words, text: &str) -> Word {
        if let Some(word) = self.0.get(text) {
            return *word;
        }
        let word = words.add(text);
        self.0.insert(text.into(), word);
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_and_a_number_that_was_not_given_has_none() {
        let (mut words, mut known) = (Words::default(), Known::default());
        let numbers: Vec<Word> = ["", "ä", "b", "ä", ""].into_iter().map(|text| known.word(&mut words, text)).collect();
        assert_eq!(numbers, [0, 1, 2, 1, 0]);
        assert_eq!([0, 1, 2, 3, Word::MAX].map(|word| words.get(word)), ["", "ä", "b", "", ""]);
        assert_eq!(Known::of(&words).word(&mut words, "b"), 2);
        let torn = Words { text: "ä".to_owned(), ends: vec![1, 0, u64::MAX] };
        assert_eq!([1, 2, 3].map(|word| torn.get(word)), ["", "", ""]);
    }
}
