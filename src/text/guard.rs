//! A dependency that panics on hostile input: such a panic is bad input, not a bug of ours. Chat templates run in
//! another's engine; what else reads untrusted files here is our own and panics nowhere.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it is returned as its message and nothing of it is printed.
///
/// The panic hook is one for the whole process, so ours is put in front of it once and only looks at a flag
/// of the thread that panics: other threads, and this one outside `work`, keep the hook that was there.
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
