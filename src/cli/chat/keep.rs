//! The conversation is saved as it goes, and gone on with later.

use std::path::PathBuf;

use anyhow::anyhow;
use mist::chat::{Autosave, Conversation, Saved};
use mist::terminal::Printer;

use crate::cli::exit::Hint;

/// Saves a conversation after each turn, or does not.
pub struct Keeper<'a> {
    /// `None` where nothing is saved.
    autosave: Option<Autosave>,
    printer: &'a Printer,
    has_warned: bool,
}

impl<'a> Keeper<'a> {
    /// Saves what is said to `model`, if `saves`.
    pub fn new(saves: bool, model: &str, printer: &'a Printer) -> Self {
        let folder = saves.then(Autosave::folder).flatten();
        let autosave = folder.map(|folder| Autosave::new(folder, model));
        if saves && autosave.is_none() {
            printer
                .warn("the conversation is not saved: neither XDG_STATE_HOME nor HOME names a folder for it");
        }
        Self { autosave, printer, has_warned: false }
    }

    /// Saves the conversation. Where that fails it is said once: it is not worth ending a chat.
    pub fn save(&mut self, conversation: &Conversation) {
        let Some(autosave) = &mut self.autosave else { return };
        if let Err(error) = autosave.save(conversation)
            && !std::mem::replace(&mut self.has_warned, true)
        {
            self.printer.warn(&format!("the conversation is not saved: {error}"));
        }
    }

    /// The file that the conversation is saved in, once it is.
    pub fn path(&self) -> Option<PathBuf> {
        self.autosave.as_ref().and_then(Autosave::path)
    }

    /// `conversation` is another one, which is saved when it changes; the one of before stays saved.
    pub fn begin(&mut self, conversation: &Conversation) {
        if let Some(autosave) = &mut self.autosave {
            autosave.begin(conversation);
        }
    }

    /// The conversation that was saved last, but for this one; from here on it is this one.
    pub fn load_last(&mut self) -> anyhow::Result<Conversation> {
        let last = self.autosave.as_ref().map_or(Ok(None), Autosave::last)?;
        let last = last.ok_or_else(|| anyhow!("no other conversation is saved"))?;
        Ok(self.go_on(last))
    }

    /// Goes on with a conversation, and says so.
    pub fn go_on(&mut self, saved: Saved) -> Conversation {
        self.printer.note(&format!("Continuing {}", saved.described(self.autosave.as_ref())));
        if let Some(autosave) = &mut self.autosave {
            autosave.go_on(&saved);
        }
        saved.conversation
    }
}

/// The conversation that `--continue` goes on with.
pub fn last() -> anyhow::Result<Saved> {
    Autosave::last_of_all()?.ok_or_else(|| {
        anyhow!("no conversation is saved yet").context(Hint("`mist chat` begins one, and saves it".into()))
    })
}
