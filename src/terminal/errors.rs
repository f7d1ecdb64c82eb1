//! Formats an error as one line, and finds the cause that has a hint.

use std::error::Error;
use std::io;

use super::flags;
use super::interrupt::InterruptError;
use crate::bench::NoRoom;
use crate::chat::{CommandError, ConversationError, FileError, FitError, SettingError};
use crate::cpu::UnknownLevel;
use crate::generate::SamplingError;
use crate::store::RemovalError;
use crate::system::hinted::Hinted;
use crate::system::quote::beginning;
use crate::{checkpoint, hub, placement, runtime, text};

/// A function that downcasts a cause to one type of errors with hints.
type Known = for<'e> fn(&'e (dyn Error + 'static)) -> Option<&'e dyn Hinted>;

/// Downcasts to each type of error that has hints.
const HINTED: [Known; 17] = [
    known::<runtime::Error>,
    known::<checkpoint::Error>,
    known::<placement::Error>,
    known::<text::Error>,
    known::<hub::Error>,
    known::<CommandError>,
    known::<ConversationError>,
    known::<FitError<text::Error>>,
    known::<FileError>,
    known::<SettingError>,
    known::<hub::Damaged>,
    known::<NoRoom>,
    known::<SamplingError>,
    known::<RemovalError>,
    known::<InterruptError>,
    known::<UnknownLevel>,
    known::<io::Error>,
];

/// Maximum number of bytes of a cause.
const LONGEST: usize = 4096;

fn known<'e, E: Hinted + 'static>(cause: &'e (dyn Error + 'static)) -> Option<&'e dyn Hinted> {
    cause.downcast_ref::<E>().map(|error| error as &dyn Hinted)
}

/// Returns a cause as an error with a hint, if its type has hints.
pub fn hinted<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e dyn Hinted> {
    HINTED.iter().find_map(|known| known(cause))
}

/// Returns the hint of a cause, in the command's flags where it names a setting.
pub fn hint(cause: &(dyn Error + 'static)) -> Option<String> {
    flags::hint(cause).or_else(|| hinted(cause)?.hint())
}

/// Joins causes to one line, outermost first, without repetitions and without the cause that is `hint`.
pub fn one_line<'e>(causes: impl Iterator<Item = &'e (dyn Error + 'static)>, hint: Option<&str>) -> String {
    let mut line = String::new();
    for cause in causes.map(|cause| without_backtrace(&beginning(cause, LONGEST).to_string())) {
        if Some(cause.as_str()) == hint || line.contains(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line
}

/// Removes the backtrace that candle appends to an error's text if `RUST_BACKTRACE` is set.
fn without_backtrace(text: &str) -> String {
    let is_frame = |line: &&str| line.trim_start().starts_with("0: ");
    text.lines().take_while(|line| !is_frame(line)).collect::<Vec<_>>().join(" ").trim_end().into()
}
