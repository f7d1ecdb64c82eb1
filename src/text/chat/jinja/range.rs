//! A range of integers, as Python has it.

/// The numbers from `start` on, `step` apart, up to but not including `stop`.
#[derive(Clone, Copy)]
pub(in crate::text::chat) struct Range {
    pub(super) start: i128,
    pub(super) stop: i128,
    pub(super) step: i128,
}

impl Range {
    pub(super) fn len(self) -> usize {
        let (low, high, step) = match self.step > 0 {
            true => (self.start, self.stop, self.step),
            false => (self.stop, self.start, -self.step),
        };
        if low >= high { 0 } else { usize::try_from((high - low - 1) / step + 1).unwrap_or(usize::MAX) }
    }

    pub(super) fn at(self, index: usize) -> i128 {
        self.start + index as i128 * self.step
    }

    pub(super) fn contains(self, number: i128) -> bool {
        let inside = match self.step > 0 {
            true => self.start <= number && number < self.stop,
            false => self.stop < number && number <= self.start,
        };
        inside && (number - self.start) % self.step == 0
    }
}
