//! A plain text table: columns padded to their widest cell, with two spaces between.

use std::fmt;

/// A table of rows under a heading.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    numbers: [bool; N],
}

impl<const N: usize> Table<N> {
    /// Creates a table with these headings.
    pub fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_string)], numbers: [false; N] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Sets the columns that are aligned to the right.
    pub fn numbers(self, numbers: [bool; N]) -> Self {
        Self { numbers, ..self }
    }

    /// Returns the width of the table in characters.
    pub fn width(&self) -> usize {
        self.edges()[N - 1]
    }

    /// Returns the leftmost columns that fit into `width` characters, at least the first.
    pub fn within(&self, width: usize) -> impl fmt::Display {
        let columns = self.edges().iter().filter(|edge| **edge <= width).count().max(1);
        fmt::from_fn(move |f| self.write(f, columns))
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|i| self.rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0))
    }

    /// Returns the position of each column's right edge, in characters.
    fn edges(&self) -> [usize; N] {
        let widths = self.widths();
        std::array::from_fn(|i| widths[..=i].iter().sum::<usize>() + 2 * i)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, columns: usize) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let cells = row.iter().zip(widths).zip(self.numbers).take(columns);
            let padded = cells.map(|((cell, width), number)| match number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:width$}"),
            });
            writeln!(f, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, N)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_are_left_out_from_the_right() {
        let mut table = Table::new(["name", "n", "rest"]).numbers([false, true, false]);
        table.row(["a".to_string(), "10".to_string(), "b".to_string()]);
        assert_eq!(table.to_string(), "name   n  rest\na     10  b\n");
        assert_eq!(table.width(), 14);
        assert_eq!(table.within(14).to_string(), table.to_string());
        assert_eq!(table.within(13).to_string(), "name   n\na     10\n");
        assert_eq!(table.within(0).to_string(), "name\na\n");
    }
}
