//! A plain table: columns padded to their widest cell, two spaces between.

use std::fmt;

/// Rows under a heading.
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    numbers: [bool; N],
}

impl<const N: usize> Table<N> {
    /// A table with these headings.
    pub fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(str::to_string)], numbers: [false; N] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// The table with these columns against their right edge.
    pub fn numbers(self, numbers: [bool; N]) -> Self {
        Self { numbers, ..self }
    }

    /// Characters of the longest row.
    pub fn width(&self) -> usize {
        self.edges()[N - 1]
    }

    /// As many columns from the left as fit into `width` characters, and the first in any case.
    pub fn within(&self, width: usize) -> impl fmt::Display {
        let columns = self.edges().iter().filter(|edge| **edge <= width).count().max(1);
        fmt::from_fn(move |f| self.write(f, columns))
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|i| self.rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0))
    }

    /// Where each column ends.
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
