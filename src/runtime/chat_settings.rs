//! The settings of a conversation, which `/set` changes and `/show` prints.

use std::num::NonZeroUsize;

use super::chat::Chat;
use super::error::Error;
use super::options::Options;
use crate::chat::{ChatSettings, SettingError};

impl Chat {
    /// Sets a value of [`ChatSettings`] for later replies. Random numbers continue, unless the seed is set.
    ///
    /// # Errors
    /// There is no such setting, or it cannot have this value. An error changes nothing.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let mut settings = self.settings();
        settings.set(name, value)?;
        self.set_options(Options {
            sampling: Some(settings.sampling),
            max_new_tokens: settings.max_new_tokens.map(usize::from),
            ..self.current_options().clone()
        });
        if name == "seed" {
            self.reseed(settings.seed);
        }
        Ok(())
    }

    fn settings(&self) -> ChatSettings {
        let max_new_tokens = self.current_options().max_new_tokens.and_then(NonZeroUsize::new);
        ChatSettings { sampling: self.sampling(), seed: self.seed(), max_new_tokens }
    }

    /// Returns the names and values of the settings, of the model's types, and of the use of the context.
    ///
    /// # Errors
    /// The chat format refuses the conversation.
    pub fn values(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let (model, conversation) = (self.model(), self.conversation());
        let none = || "none".to_string();
        let system = conversation.system().map_or_else(none, |text| format!("{text:?}"));
        let stops: Vec<String> = self.current_options().stop.iter().map(|stop| format!("{stop:?}")).collect();
        let activations = model.activations().map_or("not rounded".into(), |bits| format!("{bits} bits"));
        let used = format!("{} of {} tokens are used", self.used()?, model.context_length());
        let mut values = vec![("system prompt", system)];
        values.extend(self.settings().values());
        values.push(("chat format", model.tokenizer().chat_format().unwrap_or_else(none)));
        values.push(("stop texts", if stops.is_empty() { none() } else { stops.join(", ") }));
        values.push(("dtype", model.dtype().name().into()));
        values.push(("activations", activations));
        values.push(("cache dtype", model.cache_dtype().to_string()));
        values.push(("turns", conversation.exchanges().len().to_string()));
        values.push(("context", used));
        Ok(values)
    }
}
