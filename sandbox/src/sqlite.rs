//! A database file of SQLite with one small table, written from scratch.
//!
//! For: `nss`. In: the table's name and columns, and its rows. Out: a file of two pages that SQLite reads and goes on writing to.
//! Never: a page that a row does not fit into, an index, or anything that reads one.
//!
//! The format is <https://www.sqlite.org/fileformat2.html>: a header of a hundred bytes and the schema on the first page, the
//! table, a b-tree of a single leaf, on the second.

const PAGE: usize = 4096;
const HEADER: usize = 100;
const TABLE_LEAF: u8 = 0x0d;
const TABLE_ON_PAGE: u8 = 2;
/// Whoever wrote this: SQLite only says so in its shell.
const VERSION_NUMBER: u32 = 3_040_001;

/// What is in a column. Those of no row are NULL.
pub(crate) enum Value<'a> {
    Number(u8),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// A row: its number, which its first column is another name for, and others by their places.
pub(crate) struct Row<'a> {
    pub number: u8,
    pub values: Vec<(usize, Value<'a>)>,
}

/// The file. `None` where a page is too small for the rows.
pub(crate) fn database(table: &str, columns: &[&str], rows: &[Row<'_>]) -> Option<Vec<u8>> {
    let (first, others) = columns.split_first()?;
    let others: String = others.iter().map(|column| format!(", {column}")).collect();
    let sql = format!("CREATE TABLE {table} ({first} INTEGER PRIMARY KEY{others})");
    let schema =
        [Value::Text("table"), Value::Text(table), Value::Text(table), Value::Number(TABLE_ON_PAGE), Value::Text(&sql)];
    let schema = Row { number: 1, values: schema.into_iter().enumerate().collect() };
    let mut file = leaf(HEADER, &[schema])?;
    file[..HEADER].copy_from_slice(&header());
    file.extend(leaf(0, rows)?);
    Some(file)
}

fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"SQLite format 3\0");
    put(16, &u16::try_from(PAGE).unwrap_or(1).to_be_bytes());
    put(18, &[1, 1, 0, 64, 32, 32]); // a rollback journal, nothing reserved, and three constants
    put(24, &1_u32.to_be_bytes()); // changes so far
    put(28, &2_u32.to_be_bytes()); // pages
    put(40, &1_u32.to_be_bytes()); // changes of the schema
    put(44, &4_u32.to_be_bytes()); // the schema's format
    put(56, &1_u32.to_be_bytes()); // UTF-8
    put(92, &1_u32.to_be_bytes()); // as many changes as when this was written:
    put(96, &VERSION_NUMBER.to_be_bytes());
    header
}

/// A page, from `start` on: how many rows, where each is, and the rows from its end upwards.
fn leaf(start: usize, rows: &[Row<'_>]) -> Option<Vec<u8>> {
    let mut page = vec![0; PAGE];
    let (mut end, mut pointers) = (PAGE, Vec::new());
    for row in rows {
        let cell = cell(row);
        end = end.checked_sub(cell.len())?;
        page.get_mut(end..end + cell.len())?.copy_from_slice(&cell);
        pointers.extend(u16::try_from(end).ok()?.to_be_bytes());
    }
    let head = [
        &[TABLE_LEAF, 0, 0][..],
        &u16::try_from(rows.len()).ok()?.to_be_bytes(),
        &u16::try_from(end).ok()?.to_be_bytes(),
        &[0],
        &pointers,
    ]
    .concat();
    if start + head.len() > end {
        return None;
    }
    page[start..start + head.len()].copy_from_slice(&head);
    Some(page)
}

fn cell(row: &Row<'_>) -> Vec<u8> {
    let (mut kinds, mut content) = (Vec::new(), Vec::new());
    let columns = row.values.iter().map(|(column, _)| column + 1).max().unwrap_or(0);
    for column in 0..columns {
        match row.values.iter().find(|(own, _)| *own == column) {
            None => kinds.push(0),
            Some((_, Value::Number(number))) => {
                kinds.push(1);
                content.push(*number);
            }
            Some((_, Value::Text(text))) => {
                kinds.extend(varint(13 + 2 * text.len()));
                content.extend(text.as_bytes());
            }
            Some((_, Value::Blob(bytes))) => {
                kinds.extend(varint(12 + 2 * bytes.len()));
                content.extend(*bytes);
            }
        }
    }
    // The length of the kinds is counted in itself: two bytes, once it no longer fits into one.
    let own = if kinds.len() + 1 < 0x80 { 1 } else { 2 };
    let payload = [varint(kinds.len() + own), kinds, content].concat();
    [varint(payload.len()), varint(usize::from(row.number)), payload].concat()
}

/// Seven bits a byte, the most significant first. Nothing of a page is longer than three of them.
fn varint(number: usize) -> Vec<u8> {
    let low = |number: usize| number.to_le_bytes()[0] & 0x7f;
    match number {
        0..0x80 => vec![low(number)],
        0x80..0x4000 => vec![0x80 | low(number >> 7), low(number)],
        _ => vec![0x80 | low(number >> 14), 0x80 | low(number >> 7), low(number)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_not_written() {
        let whole = vec![0; PAGE];
        let file = |length: usize| {
            database("t", &["id", "a"], &[Row { number: 1, values: vec![(1, Value::Blob(&whole[..length]))] }])
        };
        assert_eq!(file(4000).unwrap().len(), 2 * PAGE);
        assert!(file(PAGE - 10).is_none());
        assert!(file(PAGE).is_none());
    }

    #[test]
    fn numbers_are_written_seven_bits_a_byte() {
        for (number, bytes) in [(0, vec![0]), (127, vec![127]), (128, vec![0x81, 0]), (16384, vec![0x81, 0x80, 0])] {
            assert_eq!(varint(number), bytes);
        }
    }
}
