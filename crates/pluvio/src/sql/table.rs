//! Aligned tables on a terminal.
//!
//! Promises: memory is bounded: the width of a column is that of its widest
//! cell among the first rows; wider cells that come later stand out. Characters
//! that would steer the terminal are shown as escapes. Widths are counted in
//! characters, not in terminal cells.

use std::borrow::Cow;
use std::io::{self, Write};

/// Rows looked at before the first is printed.
const HELD_ROWS_MAX: usize = 1_000;
/// The same in bytes.
const HELD_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone, Copy)]
struct Layout {
    width_chars: usize,
    right: bool,
}

/// A table that is printed row by row.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    held: Vec<Vec<String>>,
    held_bytes: usize,
    /// Known once printing has begun.
    layout: Option<Vec<Layout>>,
}

impl Table {
    /// A table with these column names.
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, held: Vec::new(), held_bytes: 0, layout: None }
    }

    /// Adds a row; NULL is printed as nothing.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn row(&mut self, out: &mut dyn Write, values: &[Option<&str>]) -> io::Result<()> {
        let cells: Vec<String> = values.iter().map(|v| shown(v.unwrap_or_default()).into_owned()).collect();
        if let Some(layout) = &self.layout {
            return write_row(out, layout, &cells);
        }
        self.held_bytes += cells.iter().map(String::len).sum::<usize>();
        self.held.push(cells);
        if self.held.len() >= HELD_ROWS_MAX || self.held_bytes >= HELD_BYTES_MAX {
            self.begin(out)?;
        }
        Ok(())
    }

    /// Prints what is left.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.layout.is_none() {
            self.begin(out)?;
        }
        Ok(())
    }

    /// Prints the head and the rows held so far.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let layout: Vec<Layout> = (0..self.columns.len()).map(|i| self.measure(i)).collect();
        let head: Vec<String> = self.columns.iter().map(|name| shown(name).into_owned()).collect();
        write_row(out, &layout, &head)?;
        let rules: Vec<String> = layout.iter().map(|column| "-".repeat(column.width_chars + 2)).collect();
        writeln!(out, "{}", rules.join("+"))?;
        for cells in std::mem::take(&mut self.held) {
            write_row(out, &layout, &cells)?;
        }
        self.layout = Some(layout);
        Ok(())
    }

    /// A column of numbers is aligned to the right.
    fn measure(&self, index: usize) -> Layout {
        let cells = || self.held.iter().filter_map(|row| row.get(index)).filter(|cell| !cell.is_empty());
        let lines = cells().flat_map(|cell| cell.lines());
        let widest = lines.map(|line| line.chars().count()).max().unwrap_or(0);
        let name = self.columns.get(index).map_or(0, |name| name.chars().count());
        let right = cells().next().is_some() && cells().all(|cell| is_number(cell));
        Layout { width_chars: widest.max(name), right }
    }
}

/// Prints a whole table at once.
///
/// # Errors
/// The output cannot be written.
pub fn print(out: &mut dyn Write, columns: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut table = Table::new(columns.iter().map(|name| (*name).to_owned()).collect());
    for row in rows {
        let values: Vec<Option<&str>> = row.iter().map(|value| Some(value.as_str())).collect();
        table.row(out, &values)?;
    }
    table.finish(out)
}

/// Whether a text is a number as JSON writes them.
pub fn is_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// A text without characters that steer the terminal; line feeds stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match steers(character) {
            true => out.extend(character.escape_default()),
            false => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Prints one row; a cell of several lines makes it as high.
fn write_row(out: &mut dyn Write, layout: &[Layout], cells: &[String]) -> io::Result<()> {
    let cells: Vec<Vec<&str>> = cells.iter().map(|cell| cell.lines().collect()).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for i in 0..height {
        let mut line = String::new();
        for (column, cell) in layout.iter().zip(&cells) {
            let (text, width) = (cell.get(i).copied().unwrap_or_default(), column.width_chars);
            if !line.is_empty() {
                line.push('|');
            }
            line += &match column.right {
                true => format!(" {text:>width$} "),
                false => format!(" {text:<width$} "),
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(columns: &[&str], rows: &[&[Option<&str>]]) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(columns.iter().map(|c| (*c).to_owned()).collect());
        for row in rows {
            table.row(&mut out, row).unwrap();
        }
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_right_and_null_is_empty() {
        let rows: [&[Option<&str>]; 3] =
            [&[Some("a"), Some("1")], &[Some("bcd"), Some("-20.5")], &[None, None]];
        let expected = " name |     n\n------+-------\n a    |     1\n bcd  | -20.5\n      |\n";
        assert_eq!(printed(&["name", "n"], &rows), expected);
    }

    #[test]
    fn a_code_with_leading_zeros_is_not_a_number() {
        assert_eq!(printed(&["code"], &[&[Some("007")], &[Some("12")]]), " code\n------\n 007\n 12\n");
    }

    #[test]
    fn lines_of_a_cell_stand_below_each_other() {
        let expected = " a  | b\n----+---\n x  | 1\n yz |\n";
        assert_eq!(printed(&["a", "b"], &[&[Some("x\nyz"), Some("1")]]), expected);
    }

    #[test]
    fn the_terminal_is_not_steered() {
        assert_eq!(printed(&["a"], &[&[Some("\x1b[2J\t")]]), " a\n-------------\n \\u{1b}[2J\\t\n");
    }

    #[test]
    fn long_results_are_not_held() {
        let mut out = Vec::new();
        let mut table = Table::new(vec!["n".to_owned()]);
        for i in 0..HELD_ROWS_MAX + 5 {
            table.row(&mut out, &[Some(i.to_string().as_str())]).unwrap();
        }
        assert!(table.held.is_empty());
        table.finish(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), HELD_ROWS_MAX + 7);
        assert!(text.ends_with("\n 1004\n"));
    }
}
