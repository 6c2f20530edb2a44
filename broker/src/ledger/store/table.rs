//! The table of a ledger.
//!
//! Enters: rows as SQLite has them. Leaves: entries, each column read as strictly as it was written. Never: a row of which a part was
//! guessed.

use std::str::FromStr;

use rusqlite::{Connection, Row};

use crate::ledger::Entry;

pub(super) const SCHEMA: &str = "
CREATE TABLE leases (
    lease      TEXT PRIMARY KEY NOT NULL,
    worker     TEXT NOT NULL,
    agent      TEXT NOT NULL,
    credential TEXT NOT NULL,
    scope      TEXT NOT NULL,
    state      TEXT NOT NULL, -- asked, leased, kept, unanswered; refused, revoked, expired, returned
    asked      TEXT NOT NULL,
    expires    TEXT,
    changed    TEXT NOT NULL,
    revocation TEXT,
    reason     TEXT,
    attempts   INTEGER NOT NULL,
    sealed     BLOB           -- what its revocation needs, while it is open
) STRICT, WITHOUT ROWID;
CREATE INDEX open ON leases (state) WHERE state IN ('asked', 'leased', 'kept', 'unanswered');";

pub(super) const PUT: &str = "
INSERT INTO leases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (lease) DO UPDATE SET
    state = excluded.state, expires = excluded.expires, changed = excluded.changed, reason = excluded.reason,
    attempts = excluded.attempts,
    sealed = CASE WHEN excluded.state IN ('asked', 'leased', 'kept', 'unanswered')
        THEN coalesce(excluded.sealed, sealed) END";

pub(super) const OPEN: &str =
    "SELECT * FROM leases WHERE state IN ('asked', 'leased', 'kept', 'unanswered') ORDER BY lease";
pub(super) const ALL: &str = "SELECT * FROM leases ORDER BY lease";
pub(super) const ONE: &str = "SELECT * FROM leases WHERE lease = ?1";

/// A row, and what was sealed into it.
pub(crate) type Sealed = (Entry, Option<Vec<u8>>);

/// The rows that a query finds.
pub(super) fn rows(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Sealed>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], row)?;
    rows.collect()
}

/// A row without what was sealed into it.
pub(super) fn one(of: &Row<'_>) -> rusqlite::Result<Entry> {
    row(of).map(|(entry, _)| entry)
}

/// Reads a row as strictly as it was written.
fn row(row: &Row<'_>) -> rusqlite::Result<Sealed> {
    let entry = Entry {
        lease: parsed(row, 0)?,
        worker: parsed(row, 1)?,
        agent: parsed(row, 2)?,
        credential: parsed(row, 3)?,
        scope: row.get(4)?,
        state: parsed(row, 5)?,
        asked: parsed(row, 6)?,
        expires: if row.get_ref(7)?.as_str_or_null()?.is_some() { Some(parsed(row, 7)?) } else { None },
        changed: parsed(row, 8)?,
        revocation: row.get(9)?,
        reason: row.get(10)?,
        attempts: row.get(11)?,
    };
    Ok((entry, row.get(12)?))
}

fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    let failed =
        |error: T::Err| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error));
    text.parse().map_err(failed)
}
