//! Turns panics of a dependency on hostile input into errors. Chat templates call other crates; the readers of
//! untrusted files are our own and do not panic.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` and returns the message of a panic in it, printing nothing.
///
/// A process has one panic hook. Ours is installed before it once and only reads a flag of the thread that panics, so
/// other threads, and this one outside `work`, keep the hook that was installed before.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.try_with(Cell::get).unwrap_or(false) {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().unwrap_or(&"it makes the parser fail").to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message_and_the_flag_is_put_back() {
        assert_eq!(guarded(|| panic!("number {}", 7)), Err::<(), _>("number 7".to_owned()));
        assert_eq!(guarded(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert!(!GUARDED.get());
        assert_eq!(guarded(|| 3), Ok(3));
    }

    #[test]
    fn a_guard_inside_a_guard_leaves_the_outer_one_on() {
        let inner = guarded(|| {
            let _ = guarded(|| panic!("inner"));
            GUARDED.get()
        });
        assert_eq!(inner, Ok(true));
    }
}
