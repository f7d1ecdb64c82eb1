//! Reads added tokens from the settings beside a vocabulary. There may be tens of thousands, so they are read into their
//! own types and not built as JSON values, which take ten times as much memory.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::added::{Declared, MAX_ADDED};
use super::source::MAX_CONTROLS;
use crate::json::{self, twice};
use crate::system::quote::quoted;
use crate::text::model::Added;

/// Memory limit in bytes for the fields that are not lists of tokens. The largest is a chat template.
const OTHER_FIELDS: usize = 8 << 20;

/// The fields that are lists of tokens, in `tokenizer_config.json` and `special_tokens_map.json`.
const LISTS: [&str; 3] = ["added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"];

/// A settings file, with its lists of tokens separate from its other fields.
#[derive(Debug, Default)]
pub(super) struct File {
    /// All fields but the lists.
    pub(super) fields: Value,
    pub(super) lists: Lists,
}

/// The lists of tokens of a settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lists {
    /// The added tokens with their ids; `None` if the file has no such list.
    pub(super) added_tokens_decoder: Option<Numbered>,
    /// Special tokens without a name, under the key of files before transformers 5.
    pub(super) additional_special_tokens: Special,
    /// Special tokens without a name, under the key of transformers 5.
    pub(super) extra_special_tokens: Special,
}

impl File {
    /// Parses a file.
    ///
    /// # Errors
    /// The text is not a JSON object, a key is given twice, or its contents exceed a limit.
    pub(super) fn parse(text: &[u8]) -> Result<Self, json::Error> {
        let fields = json::object(text, OTHER_FIELDS, &LISTS)?;
        Ok(Self { fields: Value::Object(fields), lists: json::part(text)? })
    }
}

/// A token as its spelling, or as an object with its spelling and its flags.
#[derive(Debug)]
pub(super) enum Written {
    Name(String),
    Object(Object),
}

/// A token with the flags by which it is found in a text.
#[derive(Debug, Deserialize, Serialize)]
#[serde(expecting = "an added token with its flags")]
pub(super) struct Object {
    content: String,
    lstrip: Option<bool>,
    normalized: Option<bool>,
    rstrip: Option<bool>,
    single_word: Option<bool>,
    special: Option<bool>,
}

impl Written {
    fn content(&self) -> &str {
        match self {
            Self::Name(content) | Self::Object(Object { content, .. }) => content,
        }
    }

    /// Converts the token; `special` makes it special regardless of its flags.
    pub(super) fn declared(&self, special: bool) -> Declared {
        match self {
            Self::Name(content) => Declared::named(content.clone(), special),
            Self::Object(object) => object.declared(special),
        }
    }
}

impl Object {
    fn declared(&self, special: bool) -> Declared {
        let is = |flag: Option<bool>| flag == Some(true);
        let special = special || is(self.special);
        let content = self.content.clone();
        let flags = Added {
            content: content.clone(),
            single_word: is(self.single_word),
            takes_left: is(self.lstrip),
            takes_right: is(self.rstrip),
            normalized: self.normalized.unwrap_or(!special),
            ..Added::default()
        };
        Declared { id: None, special, flags: Some(flags), content }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token")
            }

            fn visit_str<E>(self, content: &str) -> Result<Written, E> {
                Ok(Written::Name(content.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                Object::deserialize(MapAccessDeserializer::new(map)).map(Written::Object)
            }
        }
        deserializer.deserialize_any(One)
    }
}

/// Tokens with their ids, as in `added_tokens_decoder`: `{"32000": {"content": "<|im_end|>", "special": true, ...}}`.
#[derive(Debug)]
pub(super) struct Numbered(Vec<(u32, Object)>);

impl Numbered {
    /// Reads tokens by id.
    pub(super) fn declared(self) -> Vec<Declared> {
        let one = |(id, token): (u32, Object)| Declared { id: Some(id), ..token.declared(false) };
        let mut declared: Vec<Declared> = self.0.into_iter().map(one).collect();
        declared.sort_by_key(|token| token.id);
        declared
    }
}

impl<'de> Deserialize<'de> for Numbered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Numbered;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("added tokens by their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbered, A::Error> {
                let (mut tokens, mut seen, mut room) = (Vec::new(), HashSet::new(), Room::default());
                while let Some(id) = map.next_key::<String>()? {
                    let number = id.parse().map_err(|_| {
                        A::Error::custom(format_args!("added_tokens_decoder has the id {}", quoted(&id)))
                    })?;
                    if !seen.insert(number) {
                        return Err(twice(&id));
                    }
                    let token: Object = map.next_value()?;
                    room.take(&token.content)?;
                    tokens.push((number, token));
                }
                Ok(Numbered(tokens))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Serialize for Numbered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, token)| (id, token)))
    }
}

/// Rewrites a `tokenizer_config.json` beside a SentencePiece model for the `tokenizer.json` that is made of both: added
/// tokens are found before normalization, regardless of their flags, because normalization would add the model's space
/// before them. `None` if that changes nothing.
pub fn config_beside(config: &[u8]) -> Option<Vec<u8>> {
    #[derive(Serialize)]
    struct Config {
        #[serde(flatten)]
        fields: Map<String, Value>,
        added_tokens_decoder: Numbered,
    }
    let mut added_tokens_decoder = json::part::<Lists>(config).ok()?.added_tokens_decoder?;
    let normalized = |(_, token): &&mut (u32, Object)| token.normalized == Some(true);
    let mut changed = false;
    for (_, token) in added_tokens_decoder.0.iter_mut().filter(normalized) {
        token.normalized = Some(false);
        changed = true;
    }
    if !changed {
        return None;
    }
    let fields = json::object(config, json::SETTINGS, &LISTS[..1]).ok()?;
    serde_json::to_vec_pretty(&Config { fields, added_tokens_decoder }).ok()
}

/// Special tokens as a list, or as a map of names that a model's own code uses.
#[derive(Debug, Default)]
pub(super) struct Special {
    tokens: Vec<Written>,
    is_named: bool,
}

impl Special {
    /// Returns the tokens of a list or of a map.
    pub(super) fn declared(&self, named: bool) -> impl Iterator<Item = Declared> {
        let tokens = if self.is_named == named { self.tokens.as_slice() } else { &[] };
        tokens.iter().map(|token| token.declared(true))
    }
}

impl<'de> Deserialize<'de> for Special {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Special;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of tokens, or tokens by name")
            }

            fn visit_unit<E>(self) -> Result<Special, E> {
                Ok(Special::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Special, A::Error> {
                let (mut tokens, mut room) = (Vec::new(), Room::default());
                while let Some(token) = list.next_element::<Written>()? {
                    room.take(token.content())?;
                    tokens.push(token);
                }
                Ok(Special { tokens, is_named: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Special, A::Error> {
                let (mut tokens, mut room) = (Vec::new(), Room::default());
                while let Some((_, token)) = map.next_entry::<String, Written>()? {
                    room.take(token.content())?;
                    tokens.push(token);
                }
                Ok(Special { tokens, is_named: true })
            }
        }
        deserializer.deserialize_any(All)
    }
}

/// The remaining limits while tokens are read.
struct Room {
    tokens: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { tokens: MAX_CONTROLS, bytes: MAX_ADDED }
    }
}

impl Room {
    fn take<E: Error>(&mut self, content: &str) -> Result<(), E> {
        let left = (self.tokens.checked_sub(1), self.bytes.checked_sub(content.len()));
        let (Some(tokens), Some(bytes)) = left else {
            return Err(E::custom(format_args!(
                "has more than {MAX_CONTROLS} added tokens or {MAX_ADDED} bytes of them, the limits"
            )));
        };
        *self = Self { tokens, bytes };
        Ok(())
    }
}
