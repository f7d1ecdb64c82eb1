//! Which checkpoint, where none is named: the one there is, the one of several that a person picks, or the
//! starter model.

use std::io::{self, BufRead};

use anyhow::{Context, anyhow};
use mist::hub::{self, Size, starter};
use mist::runtime::Located;
use mist::runtime::located::{different, downloads, is_offline, several};
use mist::store::{Found, Store};
use mist::terminal::{Interrupt, Printer, TerminalReport};

use crate::cli::exit::Hint;

/// The only checkpoint on this machine, or the one that a person picks; `ask` says whether one can be asked.
pub fn checkpoint(
    store: &Store,
    ask: bool,
    interrupt: &Interrupt,
    printer: &Printer,
) -> anyhow::Result<Located> {
    let mut found = different(store.all());
    let index = match found.len() {
        0 => {
            fetch_starter(store, interrupt, printer)?;
            found = different(store.all());
            0
        }
        1 => 0,
        _ if ask => pick(&found, &mut io::stdin().lock(), printer)?,
        _ => return Err(several(&found).into()),
    };
    if index >= found.len() {
        return Err(anyhow!("the starter model was fetched and is not found"));
    }
    Ok(Located::found(store, found.swap_remove(index)))
}

fn fetch_starter(store: &Store, interrupt: &Interrupt, printer: &Printer) -> anyhow::Result<()> {
    let root = downloads(store)?;
    if !is_offline() {
        printer.note(&format!(
            "No checkpoint on this machine: fetching SmolLM2-135M-Instruct (Apache-2.0, {})",
            Size(starter::SIZE)
        ));
    }
    let mut report = TerminalReport::new(printer);
    let listening = interrupt.listen();
    let path = starter::ensure(&root, interrupt.flag(), &mut report);
    drop(listening);
    report.done();
    if let Err(hub::Error::Interrupted) = path {
        printer.note("Stopped: `mist chat` goes on from here");
    }
    path?;
    Ok(())
}

/// Asks on stderr until `answers` has one of the numbers.
fn pick(several: &[Found], answers: &mut impl BufRead, printer: &Printer) -> anyhow::Result<usize> {
    for (number, found) in (1..).zip(several) {
        printer.show(&format!("{number:>3}  {}\n", found.name.replace('\n', " ")));
    }
    loop {
        printer.show(&format!("Which checkpoint? (1-{}) ", several.len()));
        let mut line = String::new();
        if answers.read_line(&mut line).context("cannot read the answer")? == 0 {
            return Err(anyhow!("no checkpoint was chosen").context(Hint("name one: -m ORG/NAME".into())));
        }
        match line.trim().parse::<usize>() {
            Ok(number) if (1..=several.len()).contains(&number) => return Ok(number - 1),
            _ => continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use mist::store::Place;

    use super::*;

    #[test]
    fn the_question_is_asked_until_a_number_comes() {
        let printer = Printer::new(true, false);
        let found = |name: &str| Found {
            name: name.into(),
            path: name.into(),
            place: Place::Checkpoints,
            repo: None,
            revision: None,
        };
        let several = ["a", "b"].map(found);
        let pick = |mut answers: &[u8]| pick(&several, &mut answers, &printer);
        assert_eq!(pick(b"0\n3\nb\n\n 2 \n").unwrap(), 1);
        assert!(pick(b"3\n").is_err());
    }
}
