//! What the commands print: tables for people, the server's JSON for programs.

use std::io::{self, Write as _};

use serde_json::Value;

/// Widest cell; longer texts are cut.
const CELL_WIDTH_MAX: usize = 60;

/// Writes a line to standard output. A reader that went away is no error: it has seen enough.
pub fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Columns under their titles, two spaces apart.
pub fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shorten(cell)).collect()).collect();
    let titles: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(titles.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&titles).chain(&rows).map(line).collect::<Vec<_>>().join("\n")
}

/// A list of names and values.
pub fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:<width$}  {value}");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A value as a cell: texts bare, nothing for what is absent.
pub fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn shorten(text: &str) -> String {
    // Control characters of a payload must not reach somebody's terminal.
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    if text.chars().count() <= CELL_WIDTH_MAX {
        return text.chars().map(clean).collect();
    }
    text.chars().map(clean).take(CELL_WIDTH_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_long_cells_are_cut() {
        let rows = [vec!["1".to_owned(), "a\u{1b}b".to_owned()], vec!["22".to_owned(), "x".repeat(100)]];
        let printed = table(&["id", "text"], &rows);
        let lines: Vec<_> = printed.lines().collect();
        assert_eq!(lines[0], "ID  TEXT");
        assert_eq!(lines[1], "1   a b");
        assert_eq!(lines[2].chars().count(), 4 + CELL_WIDTH_MAX);
        assert!(lines[2].ends_with('…'));
    }

    #[test]
    fn names_are_aligned() {
        assert_eq!(fields(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2");
    }
}
