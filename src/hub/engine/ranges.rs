//! A set of byte positions.

use std::ops::Range;

/// A set of positions as ranges in order, which neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds the positions of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // The ranges that overlap or touch the new one are merged with it.
        let first = self.0.partition_point(|r| r.end < range.start);
        let last = self.0.partition_point(|r| r.start <= range.end);
        let merged = match self.0.get(first..last) {
            Some([only]) => only.start.min(range.start)..only.end.max(range.end),
            Some([one, .., other]) => one.start.min(range.start)..other.end.max(range.end),
            _ => range,
        };
        self.0.splice(first..last.max(first), [merged]);
    }

    /// Removes the positions of `range`.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let outside = |r: &Range<u64>| {
            [r.start..r.end.min(range.start), r.start.max(range.end)..r.end]
                .into_iter()
                .filter(|r| !r.is_empty())
        };
        self.0 = self.0.iter().flat_map(outside).collect();
    }

    /// Returns the first range within `within` that is not in the set.
    pub fn gap(&self, within: Range<u64>) -> Option<Range<u64>> {
        let mut start = within.start;
        for range in &self.0[self.0.partition_point(|r| r.end <= within.start)..] {
            if range.start > start {
                let gap = start..range.start.min(within.end);
                return Some(gap).filter(|g| !g.is_empty());
            }
            start = range.end;
        }
        Some(start..within.end).filter(|g| !g.is_empty())
    }

    /// Returns the number of positions in the set.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// Returns the first position that is not in the set.
    pub fn front(&self) -> u64 {
        self.0.first().filter(|r| r.start == 0).map_or(0, |r| r.end)
    }

    /// Returns the number of ranges.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().cloned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..40_u64, 0..20_u64), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), [false; 64]);
            for (add, start, length) in steps {
                let range = start..start + length;
                set[range.start as usize..range.end as usize].fill(add);
                if add { ranges.insert(range) } else { ranges.remove(range) }
            }
            let listed: Vec<u64> = ranges.iter().flatten().collect();
            let expected: Vec<u64> = (0..64).filter(|i| set[*i as usize]).collect();
            prop_assert_eq!(&listed, &expected);
            prop_assert_eq!(ranges.total(), expected.len() as u64);
            prop_assert_eq!(ranges.front(), set.iter().take_while(|b| **b).count() as u64);
            // The ranges neither overlap nor touch.
            let merged: Vec<_> = ranges.iter().collect();
            prop_assert!(merged.windows(2).all(|w| w[0].end < w[1].start));
            let gap = ranges.gap(5..50);
            let first = (5..50).find(|i| !set[*i as usize]);
            prop_assert_eq!(gap.as_ref().map(|g| g.start), first);
            if let Some(gap) = gap {
                prop_assert!(gap.clone().all(|i| !set[i as usize]));
                prop_assert!(gap.end == 50 || set[gap.end as usize]);
            }
        }
    }
}
