//! Formats numbers of bytes in human-readable form.

use std::fmt;

/// A number of bytes, displayed in the decimal units of the hub's own pages: `571 B`, `14.5 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut shown_as) = (self.0 as f64, "B");
        for unit in ["kB", "MB", "GB", "TB"] {
            // 999.95 would be shown as 1000.0.
            if value < 999.95 {
                break;
            }
            (value, shown_as) = (value / 1000.0, unit);
        }
        let decimals = usize::from(shown_as != "B");
        f.pad(&format!("{value:.decimals$} {shown_as}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_change_unit_before_they_would_read_1000() {
        let shown =
            [0, 571, 999, 1000, 999_949, 999_951, 14_483_464_192, u64::MAX].map(|n| Size(n).to_string());
        let expected = ["0 B", "571 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "14.5 GB", "18446744.1 TB"];
        assert_eq!(shown, expected);
    }
}
