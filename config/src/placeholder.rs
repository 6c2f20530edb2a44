//! What stands in the sandbox where a credential would stand.
//!
//! Enters: a shape. Leaves: a random text of that shape, which is worth nothing outside its worker. Never: printed by
//! accident; a log reader who knew it could not use it, but has no need of it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// A placeholder. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placeholder(Arc<str>);

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make a placeholder: the system gave no random bytes")]
pub struct NoRandomBytes;

impl Placeholder {
    /// A new one, from the system's randomness.
    pub fn generate(shape: &Shape) -> Result<Self, NoRandomBytes> {
        let mut failed = false;
        let text = shape.generate(&mut |bound| {
            below(bound).unwrap_or_else(|| {
                failed = true;
                0
            })
        });
        if failed { Err(NoRandomBytes) } else { Ok(Self::from_value(text)) }
    }

    /// One that was made elsewhere, as it comes from the broker.
    pub fn from_value(value: String) -> Self {
        Self(value.into())
    }

    /// The text itself: for the sandbox's environment and for the swap, nowhere else.
    pub fn value(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Placeholder(..)")
    }
}

/// A random number below `bound`, each equally likely: draws that would favour the small ones are thrown away.
fn below(bound: u32) -> Option<u32> {
    let fair = u32::MAX - u32::MAX % bound.max(1);
    loop {
        let mut bytes = [0; 4];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let drawn = u32::from_ne_bytes(bytes);
        if drawn < fair {
            return Some(drawn % bound.max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_have_their_shape_and_differ() {
        let shape = Shape::default();
        let (one, other) = (Placeholder::generate(&shape).unwrap(), Placeholder::generate(&shape).unwrap());
        assert_ne!(one, other);
        assert!(one.value().starts_with("exeat_") && one.value().len() == 38);
        assert!(one.value()[6..].bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn debug_does_not_show_the_value() {
        assert_eq!(format!("{:?}", Placeholder::from_value("abc".into())), "Placeholder(..)");
    }

    #[test]
    fn every_choice_is_drawn() {
        let drawn: std::collections::BTreeSet<u32> = (0..2000).filter_map(|_| below(7)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
    }
}
