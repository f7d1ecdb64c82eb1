//! Asks the user questions on stderr and reads the answers.

use std::io::{self, BufRead};

use super::printer::Printer;

/// Asks a question on stderr until the answer is yes or no. An empty line means `default`; the end of `answers` means no.
///
/// # Errors
/// The answer cannot be read.
pub fn ask(question: &str, default: bool, answers: &mut impl BufRead, printer: &Printer) -> io::Result<bool> {
    let parse = |answer: &str| match answer.to_ascii_lowercase().as_str() {
        "" => Some(default),
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    };
    Ok(answered(question, parse, answers, printer)?.unwrap_or(false))
}

/// Lists `names` with numbers on stderr, and asks `question` until the answer is one of the numbers.
///
/// Returns the index of the name; `None` at the end of `answers`.
///
/// # Errors
/// The answer cannot be read.
pub fn pick<'a>(
    question: &str,
    names: impl ExactSizeIterator<Item = &'a str>,
    answers: &mut impl BufRead,
    printer: &Printer,
) -> io::Result<Option<usize>> {
    let count = names.len();
    for (number, name) in (1..).zip(names) {
        printer.show(&format!("{number:>3}  {}\n", name.replace('\n', " ")));
    }
    let parse = |answer: &str| answer.parse::<usize>().ok()?.checked_sub(1).filter(|index| *index < count);
    answered(&format!("{question} (1-{count}) "), parse, answers, printer)
}

/// Asks a question until `parse` accepts an answer. Returns `None` at the end of `answers`.
fn answered<T>(
    question: &str,
    parse: impl Fn(&str) -> Option<T>,
    answers: &mut impl BufRead,
    printer: &Printer,
) -> io::Result<Option<T>> {
    loop {
        printer.show(question);
        let mut line = String::new();
        let read = answers.read_line(&mut line);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot read the answer: {error}"));
        if read.map_err(named)? == 0 {
            return Ok(None);
        }
        if let Some(answer) = parse(line.trim()) {
            return Ok(Some(answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_until_it_is_answered() {
        let printer = Printer::new(true, false);
        for (answers, default, expected) in [
            ("y\n", false, true),
            ("perhaps\nYES\n", false, true),
            ("n\n", true, false),
            ("\n", true, true),
            ("\n", false, false),
            ("", true, false),
        ] {
            let answered = ask("", default, &mut answers.as_bytes(), &printer).unwrap();
            assert_eq!(answered, expected, "{answers:?}");
        }
    }

    #[test]
    fn the_question_is_asked_until_the_answer_is_a_number() {
        let printer = Printer::new(true, false);
        let pick = |mut answers: &[u8]| pick("Which?", ["a", "b"].into_iter(), &mut answers, &printer);
        assert_eq!(pick(b"0\n3\nb\n\n 2 \n").unwrap(), Some(1));
        assert_eq!(pick(b"3\n").unwrap(), None);
    }
}
