//! Shows a download on stderr: the plan as lines, then bars, then a summary. Ctrl-C stops the download.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::interrupt::Interrupt;
use super::printer::Printer;
use super::progress::{Bars, Progress};
use crate::hub::{self, Client, DownloadPlan, DownloadReport, Error, FileName, Outcome, Size, starter};
use crate::system::quote::counted;

/// Minimum size of a file for a bar, in bytes. The bar of a smaller file would only flicker.
const WORTH_A_BAR: u64 = 1 << 20;

/// Shows a download on stderr: the plan as lines, then a bar for all bytes and a bar for each file in progress.
#[derive(Debug)]
pub struct TerminalReport<'a> {
    printer: &'a Printer,
    total: u64,
    /// Number of bytes on this machine of each started file.
    here: BTreeMap<FileName, u64>,
    files: BTreeMap<FileName, Progress>,
    bars: Option<Bars>,
}

impl<'a> TerminalReport<'a> {
    /// Creates a report, which shows nothing yet.
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer, total: 0, here: BTreeMap::new(), files: BTreeMap::new(), bars: None }
    }

    /// Downloads the files of a plan. Ctrl-C stops it; a message then says that `command` continues the download.
    ///
    /// # Errors
    /// The errors of [`hub::carry_out`].
    pub fn carry_out(
        &mut self,
        client: &Client,
        plan: &DownloadPlan,
        interrupt: &Interrupt,
        command: &str,
    ) -> Result<Vec<Outcome>, Error> {
        let listening = interrupt.listen();
        let outcomes = hub::carry_out(client, plan, interrupt.flag(), self);
        drop(listening);
        let outcomes = self.ended(outcomes, command)?;
        let count = |outcome| outcomes.iter().filter(|o| **o == outcome).count();
        let (kept, fetched, cached) = (count(Outcome::Kept), count(Outcome::Fetched), count(Outcome::Cached));
        let parts = [
            (fetched > 0).then(|| format!("fetched {}", counted(fetched, "file"))),
            (cached > 0).then(|| format!("took {} from the hub's cache", counted(cached, "file"))),
            (kept > 0).then(|| format!("{kept} already here")),
        ];
        self.printer.note(&match kept == outcomes.len() {
            true => "already here".to_string(),
            false => parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        });
        Ok(outcomes)
    }

    /// Returns the path of the starter model under `root`, and downloads it if it is missing. Ctrl-C stops the download; a
    /// message then says that `command` continues it.
    ///
    /// # Errors
    /// The errors of [`starter::ensure`].
    pub fn starter(&mut self, root: &Path, interrupt: &Interrupt, command: &str) -> Result<PathBuf, Error> {
        let listening = interrupt.listen();
        let fetched = starter::ensure(root, interrupt.flag(), self);
        drop(listening);
        self.ended(fetched, command)
    }

    /// Removes the bars and returns the outcome. After an interrupt prints the command that continues the download.
    fn ended<T>(&mut self, outcome: Result<T, Error>, command: &str) -> Result<T, Error> {
        self.done();
        if let Err(Error::Interrupted) = outcome {
            self.printer.note(&format!("Stopped: `{command}` goes on from here"));
        }
        outcome
    }

    /// Removes the bars.
    pub fn done(&mut self) {
        self.files.clear();
        self.bars = None;
    }

    fn all_here(&self) -> u64 {
        self.here.values().sum()
    }
}

impl DownloadReport for TerminalReport<'_> {
    fn plan(&mut self, plan: &DownloadPlan) {
        self.total = plan.total();
        let commit = plan.commit.as_ref().map(|c| format!(" at {}", c.short())).unwrap_or_default();
        self.printer.note(&format!("{}{commit}, in {}:", plan.repo, shown(&plan.folder)));
        for file in &plan.files {
            let here = match file.here {
                _ if file.cached.is_some() => "  (in the hub's cache)".to_string(),
                0 => String::new(),
                here if here == file.entry.size => "  (here)".to_string(),
                here => format!("  ({} here)", Size(here)),
            };
            self.printer.note(&format!("{:>10}  {}{here}", Size(file.entry.size), file.entry.name));
        }
        let left_out = match plan.left_out.len() {
            0 => String::new(),
            1 => "; one other file of weights is left out".to_string(),
            n => format!("; {n} other files of weights are left out"),
        };
        let (missing, total) = (Size(plan.missing()), Size(plan.total()));
        let free = plan.free.map(|free| format!(", {} free on the disk", Size(free))).unwrap_or_default();
        self.printer.note(&format!("{missing:>10}  to fetch, {total} in all{free}{left_out}"));
    }

    fn begin(&mut self, file: &FileName, size: u64, here: u64) {
        self.here.insert(file.clone(), here);
        let all_here = self.all_here();
        let bars = self.bars.get_or_insert_with(|| self.printer.bytes_bars("total", self.total));
        bars.skip_to(all_here);
        bars.above(|| self.printer.detail(&format!("{file}, {}", Size(size))));
        if size >= WORTH_A_BAR && here < size {
            let bar = bars.part(file.as_str(), size);
            bar.set(here);
            self.files.insert(file.clone(), bar);
        }
    }

    fn progress(&mut self, file: &FileName, here: u64) {
        if let Some(before) = self.here.get_mut(file) {
            *before = here;
        }
        if let Some(bar) = self.files.get(file) {
            bar.set(here);
        }
        let here = self.all_here();
        if let Some(bars) = &mut self.bars {
            bars.set(here);
        }
    }

    fn end(&mut self, file: &FileName) {
        self.files.remove(file);
    }

    fn note(&mut self, line: &str) {
        match &self.bars {
            Some(bars) => bars.above(|| self.printer.note(line)),
            None => self.printer.note(line),
        }
    }
}

/// Returns a path for display. Replaces control characters, so that it stays on one line.
fn shown(path: &Path) -> String {
    path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
