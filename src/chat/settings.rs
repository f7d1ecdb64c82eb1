//! The settings that `/set` changes and `/show` prints.

use std::num::NonZeroUsize;

use crate::generate::{Sampling, SamplingError};
use crate::system::hinted::Hinted;
use crate::system::numbers::{Expected, at_least, number, positive};

/// Settings for the generation of replies.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatSettings {
    /// Parameters of sampling.
    pub sampling: Sampling,
    /// Seed of the random number generator.
    pub seed: u64,
    /// Maximum tokens of a reply; `None` for as many as fit into the context.
    pub max_new_tokens: Option<NonZeroUsize>,
}

/// The error of setting a value.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum SettingError {
    /// The setting does not exist.
    #[error("unknown setting {name:?}")]
    Unknown {
        /// The name as typed.
        name: String,
        /// Names of all settings.
        names: String,
    },
    /// The value has the wrong type.
    #[error("{name} cannot be {value:?}: {expected}")]
    Value {
        /// Name of the setting.
        name: String,
        /// The value as typed.
        value: String,
        /// The expected type.
        expected: Expected,
    },
    /// The value is out of range.
    #[error(transparent)]
    Range(SamplingError),
}

impl Hinted for SettingError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { names, .. } => Some(format!("the settings are {names}")),
            Self::Value { .. } | Self::Range(_) => None,
        }
    }
}

/// The value of `max-new-tokens` that means no limit.
const NONE: &str = "none";

impl ChatSettings {
    /// Sets one value. Changes nothing on an error. The name may be written with `-` or `_`.
    ///
    /// # Errors
    /// The setting does not exist, or the value is invalid.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let mut changed = self.clone();
        let sampling = &mut changed.sampling;
        let name = name.replace('_', "-");
        match name.as_str() {
            "temperature" => sampling.temperature = parsed(&name, value, number)?,
            "top-k" => sampling.top_k = parsed(&name, value, at_least(0))?,
            "top-p" => sampling.top_p = parsed(&name, value, number)?,
            "min-p" => sampling.min_p = parsed(&name, value, number)?,
            "repeat-penalty" => sampling.repeat_penalty = parsed(&name, value, number)?,
            "seed" => changed.seed = parsed(&name, value, at_least(0))?,
            "max-new-tokens" if value == NONE => changed.max_new_tokens = None,
            "max-new-tokens" => changed.max_new_tokens = Some(parsed(&name, value, positive)?),
            _ => {
                let names = self.values().map(|(name, _)| name).join(", ");
                return Err(SettingError::Unknown { name, names });
            }
        }
        let named = |error: SamplingError| error.called(|field| field.replace('_', "-"));
        changed.sampling.check().map_err(|error| SettingError::Range(named(error)))?;
        *self = changed;
        Ok(())
    }

    /// Returns the names and values of all settings.
    pub fn values(&self) -> [(&'static str, String); 7] {
        let Sampling { temperature, top_k, top_p, min_p, repeat_penalty } = &self.sampling;
        [
            ("temperature", temperature.to_string()),
            ("top-k", top_k.to_string()),
            ("top-p", top_p.to_string()),
            ("min-p", min_p.to_string()),
            ("repeat-penalty", repeat_penalty.to_string()),
            ("seed", self.seed.to_string()),
            ("max-new-tokens", self.max_new_tokens.map_or(NONE.into(), |n| n.to_string())),
        ]
    }
}

fn parsed<T>(
    name: &str,
    value: &str,
    parse: impl Fn(&str) -> Result<T, Expected>,
) -> Result<T, SettingError> {
    parse(value).map_err(|expected| SettingError::Value { name: name.into(), value: value.into(), expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ChatSettings {
        ChatSettings { sampling: Sampling::default(), seed: 1, max_new_tokens: None }
    }

    #[test]
    fn every_value_that_is_shown_can_be_set_to_what_is_shown() {
        let mut other = ChatSettings {
            sampling: Sampling { temperature: 0.0, top_k: 3, top_p: 0.9, min_p: 0.1, repeat_penalty: 1.1 },
            seed: u64::MAX,
            max_new_tokens: NonZeroUsize::new(7),
        };
        for (name, value) in settings().values() {
            other.set(&name.replace('-', "_"), &value).unwrap();
        }
        assert_eq!(other, settings());
    }

    #[test]
    fn a_wrong_name_or_value_changes_nothing_and_is_named() {
        for (name, value, message) in [
            ("temperatur", "1", "unknown setting \"temperatur\""),
            ("temperature", "-1", "temperature is -1, it must be 0 or more"),
            ("temperature", "NaN", "temperature is NaN, it must be 0 or more"),
            ("top-p", "1,5", "top-p cannot be \"1,5\": expected a number, such as 0.7"),
            ("top-k", "-1", "top-k cannot be \"-1\": expected a whole number, 0 or more"),
            ("seed", "none", "seed cannot be \"none\": expected a whole number, 0 or more"),
        ] {
            let mut changed = settings();
            assert_eq!(changed.set(name, value).unwrap_err().to_string(), message);
            assert_eq!(changed, settings());
        }
        assert!(settings().set("max-new-tokens", "0").is_err());
    }
}
