//! Reports unexpected ends of the process in one line: a panic, and a memory-mapped file that becomes unreadable.

use super::printer::Printer;
use crate::system::signals;

/// Installs a hook that reports a panic as a bug in one line.
pub fn report_panics(printer: &Printer) {
    let printer = printer.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or(String::new(), |l| format!(" at {}:{}", l.file(), l.line()));
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
        printer.error(
            &format!("this is a bug in mist: {text}{place}"),
            Some("please report it with the command that you typed"),
        );
    }));
}

/// Installs a handler that reports a memory-mapped file that becomes unreadable in one line. The process then ends.
pub fn report_unreadable_maps(printer: &Printer) {
    let printer = printer.clone();
    signals::report_unreadable_maps(move |path| {
        printer.last_words(&format!(
            "cannot read {}: the file was cut short, or its disk failed, while it was in use",
            path.display()
        ))
    });
}
