use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::chat::{self, Format, TemplateNames};
use super::control::{Control, Controls};
use super::detokenizer::ByteTable;
use super::encode::Encoder;
use super::model::{Added, Kind, Model};
use super::read::{self, MAX_CONTROLS, Names, Source};
use super::{Detokenizer, Error, Message, Vocabulary, write};

/// Text to ids and back, and the chat format, of one model.
///
/// Made by [`from_folder`](Self::from_folder) or [`from_vocabulary`](Self::from_vocabulary).
#[derive(Debug)]
pub struct Tokenizer {
    model: Model,
    encoder: Encoder,
    controls: Controls,
    table: Arc<ByteTable>,
    names: Names,
    format: Option<Format>,
    bos: Option<u32>,
    end_ids: Vec<u32>,
    adds_bos: bool,
}

impl Tokenizer {
    /// The tokenizer of a folder, or of one file in it: `tekken.json`, `tokenizer.model` (also `.v1` to `.v7`) or
    /// `tokenizer.json`, and, where present, `tokenizer_config.json`, `special_tokens_map.json` and
    /// `chat_template.jinja`. Which one is read where there are several is described in `read`. End ids that only
    /// `generation_config.json` or `config.json` name are for the caller to add.
    ///
    /// # Errors
    /// A file that is missing, too large or not what it should be, and a tokenizer of a kind that is not
    /// supported.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let (source, file) = read::folder(folder)?;
        Self::assemble(source).map_err(|error| error.in_file(&file))
    }

    /// The tokenizer of a GGUF file.
    ///
    /// # Errors
    /// A vocabulary that contradicts itself, and a tokenizer of a kind that is not supported.
    pub fn from_vocabulary(vocabulary: Vocabulary) -> Result<Self, Error> {
        Self::assemble(read::vocabulary(vocabulary)?)
    }

    fn assemble(source: Source) -> Result<Self, Error> {
        let Source { mut model, mut names, in_front, version } = source;
        promote(&mut model, &names);
        let spelled = |id: u32| model.token(id).unwrap_or_default();
        let ids = 0..model.tokens.len() as u32;
        let control_ids: Vec<u32> = ids.clone().filter(|&id| model.kind(id) == Kind::Control).collect();
        if control_ids.len() > MAX_CONTROLS {
            let count = control_ids.len();
            let reason = format!("it has {count} control tokens, the limit is {MAX_CONTROLS}");
            return Err(Error::Vocabulary(reason));
        }
        let added: HashMap<u32, &Added> = model.added.iter().map(|added| (added.id, added)).collect();
        let controls = Controls::new(control_ids.into_iter().map(|id| {
            let added = added.get(&id);
            Control {
                spelling: spelled(id).to_owned(),
                id,
                takes_left: added.is_some_and(|added| added.takes_left),
                takes_right: added.is_some_and(|added| added.takes_right),
            }
        }));
        let mut table = ByteTable::new(model.drops_first_space);
        ids.for_each(|id| table.push(&model.bytes(id)));

        let id = |name: &Option<String>| find(&model, name.as_deref()?);
        let bos = id(&names.bos).or(in_front);
        let adds_bos = bos.is_some() && names.adds_bos.unwrap_or(in_front == bos);
        let mut end_ids: Vec<u32> = [id(&names.eos), id(&names.eot)].into_iter().flatten().collect();
        end_ids.dedup();
        names.bos = bos.map(|id| spelled(id).to_owned());
        let format = Format::of(&model, version, names.chat_template.as_deref());
        Ok(Self {
            encoder: Encoder::new(&model)?,
            table: Arc::new(table),
            model,
            controls,
            names,
            format,
            bos,
            end_ids,
            adds_bos,
        })
    }

    /// The ids of `text`, with the BOS id in front if `bos`. What `text` spells stays text: no control
    /// token comes out of it.
    ///
    /// # Errors
    /// [`Error::NoBos`], [`Error::Encode`].
    pub fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        if bos {
            ids.push(self.bos.ok_or(Error::NoBos)?);
        }
        self.encoder.encode(text, true, &mut ids)?;
        Ok(ids)
    }

    /// The ids of a conversation in the model's chat format, ready for the assistant's turn.
    ///
    /// A control token which a message spells stays text. BOS is where the format puts it.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], [`Error::Conversation`] or [`Error::Template`] (for instance for roles that the format
    /// does not know), and those of [`encode`](Self::encode).
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        match (&self.format, self.chat_template()) {
            // Mistral encodes every stretch by itself, as if it were a text.
            (Some(Format::Mistral(format)), _) => {
                format.encode(messages, |text, ids| self.encoder.encode(text, true, ids))
            }
            (Some(Format::Template), Some(template)) => {
                let names = TemplateNames {
                    bos: self.names.bos.as_deref(),
                    eos: self.names.eos.as_deref(),
                    unknown: self.names.unknown.as_deref(),
                };
                chat::render(template, messages, names, &self.controls, |text, first, ids| {
                    self.encoder.encode(text, first, ids)
                })
            }
            _ => Err(Error::NoTemplate),
        }
    }

    /// Whether the tokenizer's own settings put BOS in front of a text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The beginning of a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The ids that end a reply: end of sequence, and end of turn where the file names one.
    pub fn end_ids(&self) -> &[u32] {
        &self.end_ids
    }

    /// Whether `id` is a control token: no text becomes it, and it has no text.
    pub fn is_control(&self, id: u32) -> bool {
        self.controls.spelling(id).is_some()
    }

    /// Every id is below this.
    pub fn vocabulary_size(&self) -> usize {
        self.model.tokens.len()
    }

    /// The spelling of an id in the vocabulary's own alphabet (`Ġhello`, `▁hello`, `<0x0A>`).
    pub fn token(&self, id: u32) -> Option<&str> {
        self.model.token(id)
    }

    /// The id of a spelling in the vocabulary's own alphabet.
    pub fn id(&self, token: &str) -> Option<u32> {
        find(&self.model, token)
    }

    /// For ids that continue a text: a space in front of the first word stays.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.table), false)
    }

    /// For ids that begin a text: SentencePiece's dummy space in front of the first word goes.
    pub fn detokenizer_at_start(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.table), true)
    }

    /// The text of `ids`, which begin a text; control tokens are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = self.detokenizer_at_start();
        let mut text = String::new();
        for &id in ids {
            text.push_str(detokenizer.push(id));
        }
        text + detokenizer.flush()
    }

    /// What the chat format is called, if there is one.
    pub fn chat_format(&self) -> Option<String> {
        self.format.as_ref().map(|format| match format {
            Format::Mistral(format) => format.name(),
            Format::Template => "the model's own template".into(),
        })
    }

    /// The Jinja source of the chat format, where the files have one.
    pub fn chat_template(&self) -> Option<&str> {
        self.names.chat_template.as_deref()
    }

    /// The files that [`from_folder`](Self::from_folder) reads this tokenizer back from: names and contents
    /// of `tokenizer.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if the vocabulary cannot be written.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        write::files(&self.model, &self.names_for_others(), self.bos.filter(|_| self.adds_bos))
    }

    /// The metadata of a GGUF file that [`from_vocabulary`](Self::from_vocabulary) reads this tokenizer back from.
    ///
    /// # Errors
    /// [`Error::NoGgufName`], [`Error::Vocabulary`].
    pub fn vocabulary(&self) -> Result<Vocabulary, Error> {
        write::vocabulary(&self.model, &self.names_for_others(), self.adds_bos, |token| self.id(token))
    }

    /// With a template where the format is Mistral's and no file has one: it is how others know a format.
    fn names_for_others(&self) -> Names {
        let mut names = self.names.clone();
        if let (Some(Format::Mistral(format)), None) = (&self.format, &names.chat_template) {
            names.chat_template = Some(format.template());
        }
        names
    }
}

/// The id of a spelling; a control token's where a text token is spelled the same.
fn find(model: &Model, token: &str) -> Option<u32> {
    let mut spelled = model.all().filter(|&(_, other)| other == token).map(|(id, _)| id);
    let first = spelled.next()?;
    Some(std::iter::once(first).chain(spelled).find(|&id| model.kind(id) == Kind::Control).unwrap_or(first))
}

/// Makes control tokens of what the settings name, and of what the chat template writes that is a token of its own: a
/// tag, of whatever kind the file says it is. A token that the vocabulary does not have is left out, and a byte or a
/// single character stays text, whatever else it is used for: texts are spelled with it.
fn promote(model: &mut Model, names: &Names) {
    let named =
        [&names.bos, &names.eos, &names.eot, &names.unknown].into_iter().flatten().chain(&names.special);
    let mut wanted: HashSet<&str> = named.map(String::as_str).collect();
    let template = names.chat_template.as_deref().unwrap_or_default();
    let is_tag =
        |token: &str| token.starts_with(['<', '[']) && token.ends_with(['>', ']']) && token.len() > 3;
    let written = |added: &&Added| is_tag(&added.content) && template.contains(&added.content);
    wanted.extend(model.added.iter().filter(written).map(|added| added.content.as_str()));
    wanted.retain(|token| token.chars().count() > 1);
    for (_, token) in model.all().filter(|&(id, _)| model.kind(id) == Kind::Control) {
        wanted.remove(token);
    }
    let is_wanted = |&(id, token): &(u32, &str)| wanted.contains(token) && model.kind(id) != Kind::Byte;
    let ids: Vec<u32> = model.all().filter(is_wanted).map(|(id, _)| id).collect();
    for id in ids {
        model.kinds[id as usize] = Kind::Control;
    }
}
