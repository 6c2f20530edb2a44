//! How else a path can be read.
//!
//! Enters: a path in its normal form. Leaves: every text that some server may take it for. Never: a choice among them; what is denied in
//! any is denied, what is allowed has to be in all. Servers that do not tell capitals from small letters, and those to which a last slash is
//! nothing, are readings of their own for what is denied, and none for what is allowed.

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::path::NormalPath;

/// Every reading of a path. Nearly every path has but one.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    own: &'a str,
    others: Option<Box<Others>>,
    /// The path as it was decoded, and every other text, as [`ended`]; found out where a deny rule asks.
    denied: OnceCell<(String, Vec<String>)>,
}

#[derive(Debug)]
struct Others {
    /// Of the path as it was decoded: without its parameters.
    bare: Option<String>,
    /// As a server has it that decodes once more.
    again: Option<Reading>,
    /// As a server has it that takes `%2F` for a separator; and that then decodes once more.
    split: Option<Reading>,
    split_again: Option<Reading>,
}

/// One text, and the same without `;parameters`, where it has any.
#[derive(Debug)]
struct Reading {
    text: String,
    bare: Option<String>,
}

impl<'a> Readings<'a> {
    pub(crate) fn of(path: &'a NormalPath) -> Self {
        let own = path.decoded();
        let others = path.is_ambiguous().then(|| {
            let split = path.with_slashes_decoded();
            Box::new(Others {
                bare: without_parameters(own),
                again: decoded_again(own).map(Reading::new),
                split_again: split.as_deref().and_then(decoded_again).map(Reading::new),
                split: split.map(Reading::new),
            })
        });
        Self { own, others, denied: OnceCell::new() }
    }

    /// The path as it was decoded.
    pub(crate) fn own(&self) -> &'a str {
        self.own
    }

    /// Whether all are listed in which an escaped slash is a character. `lists` is asked of a text, and the same without parameters where it
    /// has any.
    pub(crate) fn all(&self, lists: impl Fn(&str, Option<&str>) -> bool) -> bool {
        let bare = self.others.as_ref().and_then(|others| others.bare.as_deref());
        let again = self.others.as_ref().and_then(|others| others.again.as_ref());
        lists(self.own, bare) && again.is_none_or(|again| lists(&again.text, again.bare.as_deref()))
    }

    /// Every text there is.
    pub(crate) fn each(&self) -> impl Iterator<Item = &str> + Clone {
        let others = self.others.as_deref().into_iter().flat_map(|others| {
            let readings = [&others.again, &others.split, &others.split_again].into_iter().flatten();
            let both = readings.flat_map(|reading| [Some(&*reading.text), reading.bare.as_deref()]);
            both.chain([others.bare.as_deref()]).flatten()
        });
        std::iter::once(self.own).chain(others)
    }

    /// Every text there is, as servers have it to which capitals and small letters are the same: with one last slash, and without.
    pub(crate) fn each_denied(&self) -> impl Iterator<Item = &str> + Clone {
        let (own, others) = self.denied.get_or_init(|| (ended(self.own), self.each().skip(1).map(ended).collect()));
        std::iter::once(own)
            .chain(others)
            .flat_map(|text| [&text[..text.len() - 1], text])
            .filter(|text| !text.is_empty())
    }
}

impl Reading {
    fn new(text: String) -> Self {
        Self { bare: without_parameters(&text), text }
    }
}

/// A text with one case for each letter. By way of small ones and capitals: some have a capital that others have too (`\u{17f}` is an `S`), and some
/// a small one whose capitals are two (`\u{1e9e}` is `ss`).
pub(crate) fn folded(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    if text.is_ascii() {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    Cow::Owned({
        let letters = text.chars().flat_map(char::to_lowercase);
        letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    })
}

/// The same with one last slash.
fn ended(text: &str) -> String {
    let text = folded(text);
    let open = text.strip_suffix('/').unwrap_or(&text);
    let mut ended = String::with_capacity(open.len() + 1);
    ended.push_str(open);
    ended.push('/');
    ended
}

/// A decoded path as a server sees it that takes `;parameters` off each segment; `None` where there are none.
pub(crate) fn without_parameters(decoded: &str) -> Option<String> {
    let bare = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    decoded.contains(';').then(|| decoded.split('/').map(bare).collect::<Vec<_>>().join("/"))
}

/// A decoded path as a server sees it that decodes what is left (`100%ab`) once more; `None` where nothing is.
pub(crate) fn decoded_again(decoded: &str) -> Option<String> {
    let again = percent_encoding::percent_decode_str(decoded).decode_utf8_lossy();
    (again != decoded).then(|| again.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_of_another_case_are_one_text() {
        for (one, other) in [("/PAYROLL", "/payroll"), ("/pay\u{17f}lip", "/PAYSLIP"), ("/stra\u{1e9e}e", "/STRASSE")] {
            assert_eq!(folded(one), folded(other));
        }
        assert_ne!(folded("/payroll"), folded("/payrolls"));
    }

    proptest! {
        #[test]
        fn whatever_case_a_text_is_put_into_it_is_folded_to_one(text in "\\PC{0,12}") {
            let once = folded(&text).into_owned();
            for other in [text.to_uppercase(), text.to_lowercase(), once.clone()] {
                prop_assert_eq!(folded(&other), once.as_str());
            }
        }
    }
}
