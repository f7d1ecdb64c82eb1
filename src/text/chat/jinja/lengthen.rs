//! Operations that make a text longer: padding, tabs, replacing. Each charges the limit for its output before it builds
//! the output.

use super::failure::{Result, spend_on_text};
use super::text::{self, Ch, Text};

/// Returns `width` spaces.
pub(super) fn spaces(width: i128) -> Result<Text> {
    let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
    spend_on_text(width)?;
    Ok(Text::from(vec![Ch::new(' ', 0); width]))
}

/// Pads on both sides.
pub(super) fn padded(text: &[Ch], left: usize, right: usize, fill: Ch) -> Result<Vec<Ch>> {
    spend_on_text(text.len().saturating_add(left).saturating_add(right))?;
    Ok([&vec![fill; left][..], text, &vec![fill; right]].concat())
}

/// Implements Python's `str.center`: an odd fill goes to the left if the width is odd.
pub(super) fn centered(text: &[Ch], width: usize, fill: Ch) -> Result<Vec<Ch>> {
    let space = width.saturating_sub(text.len());
    let left = space / 2 + (space & width & 1);
    padded(text, left, space - left, fill)
}

pub(super) fn zero_filled(text: &[Ch], width: usize) -> Result<Vec<Ch>> {
    let sign = usize::from(text.first().is_some_and(|c| c.is('+') || c.is('-')));
    let zeros = padded(&text[sign..], width.saturating_sub(text.len()), 0, Ch::new('0', 0))?;
    Ok([&text[..sign], &zeros].concat())
}

pub(super) fn tabs_expanded(text: &[Ch], size: i128) -> Result<Vec<Ch>> {
    let size = usize::try_from(size.max(0)).unwrap_or(0).min(1 << 16);
    let mut out = Vec::new();
    let mut column = 0;
    for &c in text {
        if c.is('\t') {
            let spaces = if size == 0 { 0 } else { size - column % size };
            spend_on_text(spaces)?;
            out.extend(std::iter::repeat_n(c.with(' '), spaces));
            column += spaces;
        } else {
            out.push(c);
            column = if c.is('\n') || c.is('\r') { 0 } else { column + 1 };
        }
    }
    Ok(out)
}

/// Implements Python's `str.replace`, which counts its output before it is made.
pub(super) fn replaced(text: &[Ch], old: &[Ch], new: &[Ch], most: usize) -> Result<Vec<Ch>> {
    let times = match old.is_empty() {
        true => text.len() + 1,
        false => text::split(text, old, most).len() - 1,
    };
    spend_on_text(text.len().saturating_add(times.min(most).saturating_mul(new.len())))?;
    Ok(text::replace(text, old, new, most))
}
