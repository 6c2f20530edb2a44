//! Times on the wire: RFC 3339 texts, which people read.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::ser::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    Timestamp::try_from(*time).map_err(S::Error::custom)?.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    SystemTime::try_from(Timestamp::deserialize(from)?).map_err(de::Error::custom)
}

/// One that may be missing.
pub(super) mod option {
    use super::{Deserialize, Deserializer, Error, Serialize, Serializer, SystemTime, Timestamp, de};

    pub(in crate::api) fn serialize<S: Serializer>(time: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::try_from).transpose().map_err(S::Error::custom)?.serialize(to)
    }

    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        let time = Option::<Timestamp>::deserialize(from)?;
        time.map(SystemTime::try_from).transpose().map_err(de::Error::custom)
    }
}
