//! `[segment]`, `[keep]` and `[room]` of log.toml.
//!
//! Enters: sections. Leaves: [`SegmentSettings`], [`KeepSettings`] and [`RoomSettings`]. Never: files so small that a log would consist of little else, fewer
//! bytes kept than one of them has, or a pace at which nobody could work.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::{Reader, Section};
use crate::error::Malformed;
use crate::limits::{parse_duration, parse_size};
use crate::log_file::{KeepSettings, RoomSettings, SegmentSettings};

/// A file of fewer bytes has some dozen calls.
const SMALLEST: u64 = 64 << 10;
/// Some sixty records a second.
const SLOWEST: u64 = 64 << 10;
/// What is not compressed, sent off or removed before it is closed waits too long for that.
const LARGEST: u64 = 64 << 30;
/// A file a minute is as many as anybody can want.
const SHORTEST: Duration = Duration::from_secs(60);
/// What is kept has to be there for whoever looks after an alarm on the same day.
const SHORTEST_KEPT: Duration = Duration::from_secs(3600);

pub(super) fn read_segment(reader: &mut Reader<'_>, mut section: Section<'_>) -> SegmentSettings {
    let unsaid = SegmentSettings::default();
    let size = section.take("size").and_then(|field| reader.value(&field, segment_size));
    let age = section.take("age").and_then(|field| reader.value(&field, segment_age));
    reader.nothing_else(section);
    SegmentSettings { size: size.unwrap_or(unsaid.size), age: age.unwrap_or(unsaid.age) }
}

pub(super) fn read_keep(reader: &mut Reader<'_>, mut section: Section<'_>, segment: &SegmentSettings) -> KeepSettings {
    let time = section.take("for").and_then(|field| reader.value(&field, kept_time));
    let size = section.take("size").and_then(|field| {
        let size = reader.value(&field, parse_size)?;
        if size < segment.size {
            let reason = "that is less than one segment may have, and the one in use always stays";
            reader.mistake_at(&field, reason, "write more, or a smaller `size` under [segment]");
        }
        Some(size)
    });
    reader.nothing_else(section);
    KeepSettings { time, size }
}

pub(super) fn read_room(reader: &mut Reader<'_>, mut section: Section<'_>) -> RoomSettings {
    let unsaid = RoomSettings::default();
    let second = section.take("second").and_then(|field| reader.value(&field, pace));
    let burst = section.take("burst").and_then(|field| reader.value(&field, pace));
    let worker = section.take("worker").and_then(|field| reader.value(&field, parse_size));
    let free = section.take("free").and_then(|field| reader.value(&field, parse_size));
    reader.nothing_else(section);
    RoomSettings { second: second.unwrap_or(unsaid.second), burst: burst.unwrap_or(unsaid.burst), worker, free }
}

fn pace(text: &str) -> Result<NonZeroU32, Malformed> {
    let size = parse_size(text)?;
    let pace = u32::try_from(size).ok().filter(|_| size >= SLOWEST).and_then(NonZeroU32::new);
    pace.ok_or_else(|| {
        let reason = "that is slower than one agent asks in earnest, or more than any disk takes";
        Malformed::new(reason, "write at least `64KiB`, and less than `4GiB`")
    })
}

fn segment_size(text: &str) -> Result<u64, Malformed> {
    match parse_size(text)? {
        size if size < SMALLEST => Err(Malformed::new("that is a file for some dozen calls", "write at least `64KiB`")),
        size if size > LARGEST => Err(Malformed::new(
            "no log would ever be closed and compressed",
            "write at most `64GiB`; the default is `64MiB`",
        )),
        size => Ok(size),
    }
}

fn segment_age(text: &str) -> Result<Duration, Malformed> {
    match parse_duration(text)? {
        age if age < SHORTEST => Err(Malformed::new("that is more than a file a minute", "write at least `1m`")),
        age => Ok(age),
    }
}

fn kept_time(text: &str) -> Result<Duration, Malformed> {
    match parse_duration(text)? {
        time if time < SHORTEST_KEPT => {
            Err(Malformed::new("records would be gone before anybody could look at them", "write at least `1h`"))
        }
        time => Ok(time),
    }
}
