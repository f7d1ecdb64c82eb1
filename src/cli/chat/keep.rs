//! Saves the conversation after each turn, and continues a saved one.

use std::path::PathBuf;

use anyhow::anyhow;
use mist::chat::{Autosave, Conversation, Saved};
use mist::terminal::Printer;

use crate::cli::exit::Hint;

/// Saves a conversation after each turn, if enabled.
pub struct Keeper<'a> {
    /// `None` if saving is disabled.
    autosave: Option<Autosave>,
    printer: &'a Printer,
    has_warned: bool,
}

impl<'a> Keeper<'a> {
    /// Creates a keeper for a conversation with `model`, which saves it if `saves`.
    pub fn new(saves: bool, model: &str, printer: &'a Printer) -> Self {
        let folder = saves.then(Autosave::folder).flatten();
        let autosave = folder.map(|folder| Autosave::new(folder, model));
        if saves && autosave.is_none() {
            printer
                .warn("the conversation is not saved: neither XDG_STATE_HOME nor HOME names a folder for it");
        }
        Self { autosave, printer, has_warned: false }
    }

    /// Saves the conversation. The first failure prints a warning; none ends the chat.
    pub fn save(&mut self, conversation: &Conversation) {
        let Some(autosave) = &mut self.autosave else { return };
        if let Err(error) = autosave.save(conversation)
            && !std::mem::replace(&mut self.has_warned, true)
        {
            self.printer.warn(&format!("the conversation is not saved: {error}"));
        }
    }

    /// Returns the file of the conversation, once it is saved.
    pub fn path(&self) -> Option<PathBuf> {
        self.autosave.as_ref().and_then(Autosave::path)
    }

    /// Begins to save another conversation, once it changes. The file of the earlier one is kept.
    pub fn begin(&mut self, conversation: &Conversation) {
        if let Some(autosave) = &mut self.autosave {
            autosave.begin(conversation);
        }
    }

    /// Loads the last saved conversation except the current one, and continues it.
    pub fn load_last(&mut self) -> anyhow::Result<Conversation> {
        let last = self.autosave.as_ref().map_or(Ok(None), Autosave::last)?;
        let last = last.ok_or_else(|| anyhow!("no other conversation is saved"))?;
        Ok(self.go_on(last))
    }

    /// Continues a saved conversation, and prints a note.
    pub fn go_on(&mut self, saved: Saved) -> Conversation {
        self.printer.note(&format!("Continuing {}", saved.described(self.autosave.as_ref())));
        if let Some(autosave) = &mut self.autosave {
            autosave.go_on(&saved);
        }
        saved.conversation
    }
}

/// Returns the conversation that `--continue` continues.
pub fn last() -> anyhow::Result<Saved> {
    Autosave::last_of_all()?.ok_or_else(|| {
        anyhow!("no conversation is saved yet").context(Hint("`mist chat` begins one, and saves it".into()))
    })
}
