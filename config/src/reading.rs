//! How else a path can be read.
//!
//! Enters: a path in its normal form. Leaves: every text that some server may take it for. Never: a choice among them; what is denied in
//! any is denied, what is allowed has to be in all.

use crate::path::NormalPath;

/// Every reading of a path. Nearly every path has but one.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    own: &'a str,
    others: Option<Box<Others>>,
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
        Self { own, others }
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
}

impl Reading {
    fn new(text: String) -> Self {
        Self { bare: without_parameters(&text), text }
    }
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
