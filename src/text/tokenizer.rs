use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::chat::{self, Format, TemplateNames, Turns};
use super::control::{Control, Controls};
use super::detokenizer::ByteTable;
use super::encode::{Encoder, Place};
use super::model::{Added, Alphabet, Joins, Kind, Model};
use super::read::{self, Around, MAX_CONTROLS, Names, Source};
use super::{Detokenizer, Error, Message, Vocabulary, write};

/// A model's tokenizer: text to ids and back, and its chat format.
///
/// [`from_folder`](Self::from_folder) and [`from_vocabulary`](Self::from_vocabulary) make one.
#[derive(Debug)]
pub struct Tokenizer {
    model: Model,
    encoder: Encoder,
    controls: Controls,
    table: Arc<ByteTable>,
    names: Names,
    format: Option<Format>,
    bos: Option<u32>,
    /// Whether a file names BOS, so that chat templates have the name.
    names_bos: bool,
    end_ids: Vec<u32>,
    /// The ids that the tokenizer's own settings put around a text.
    around: Around,
    /// The tokens that the chat template writes around turns, computed at first use.
    turns: OnceLock<TurnTokens>,
}

impl Tokenizer {
    /// Reads the tokenizer of a folder, or of one file in it: `tekken.json`, `tokenizer.model` (also `.v1` to `.v7`) or
    /// `tokenizer.json`, and if present `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`.
    /// The module `read` describes which file takes precedence. The caller adds end ids that only
    /// `generation_config.json` or `config.json` name.
    ///
    /// # Errors
    /// A file is missing, too large or malformed, or the tokenizer's kind is not supported.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let (source, file) = read::folder(folder)?;
        Self::assemble(source).map_err(|error| error.in_file(&file))
    }

    /// Creates the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// The vocabulary contradicts itself, or the tokenizer's kind is not supported.
    pub fn from_vocabulary(vocabulary: Vocabulary) -> Result<Self, Error> {
        Self::assemble(read::vocabulary(vocabulary)?)
    }

    fn assemble(source: Source) -> Result<Self, Error> {
        let Source { mut model, mut names, around, version } = source;
        promote(&mut model, &names, around);
        let spelled = |id: u32| model.token(id).unwrap_or_default();
        let ids = 0..model.tokens.len() as u32;
        let count = ids.clone().filter(|&id| model.kind(id) == Kind::Control).count();
        if count > MAX_CONTROLS {
            let reason = format!("it has {count} control tokens, the limit is {MAX_CONTROLS}");
            return Err(Error::Vocabulary(reason));
        }
        let controls = controls(&model, false);
        let mut table = ByteTable::new(model.drops_first_space);
        ids.for_each(|id| table.push(&model.bytes(id)));

        let id = |name: &Option<String>| find(&model, name.as_deref()?);
        let bos = id(&names.bos).or(around.before);
        let ends = [&names.eos, &names.eot, &names.eom].map(id);
        let around = Around {
            before: wanted(names.adds_bos, bos, around.before),
            after: wanted(names.adds_eos, ends[0], around.after),
        };
        let mut end_ids: Vec<u32> = Vec::new();
        for id in ends.into_iter().flatten() {
            if !end_ids.contains(&id) {
                end_ids.push(id);
            }
        }
        let names_bos = names.bos.is_some();
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
            names_bos,
            end_ids,
            around,
            turns: OnceLock::new(),
        })
    }

    /// Encodes `text`, with the BOS id at the start if `bos`. A control token that `text` spells stays text.
    ///
    /// # Errors
    /// [`Error::NoBos`], [`Error::Encode`].
    pub fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        if bos {
            ids.push(self.around.before.or(self.bos).ok_or(Error::NoBos)?);
        }
        self.encoder.encode(text, Place::Start, &mut ids)?;
        Ok(ids)
    }

    /// Encodes a conversation in the model's chat format, up to where the assistant's turn begins.
    ///
    /// A control token that a message spells stays text. The format decides where BOS goes.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], [`Error::NoDefaultTemplate`], [`Error::Conversation`] or [`Error::Template`] (for instance
    /// for roles that the format does not know), and those of [`encode`](Self::encode).
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        match (&self.format, self.chat_template()) {
            // Mistral encodes each stretch separately, like a text.
            (Some(Format::Mistral(format)), _) => {
                format.encode(messages, |text, ids| self.encoder.encode(text, Place::Start, ids))
            }
            (Some(Format::Template), Some(template)) => {
                let turns = self.turns()?;
                let tagged = turns.tagged.as_ref();
                let (encoder, controls) =
                    tagged.map_or((&self.encoder, &self.controls), |(encoder, controls)| (encoder, controls));
                chat::render(template, messages, self.template_names(), controls, |text, place, ids| {
                    encoder.encode(text, place, ids)
                })
            }
            _ => Err(match &self.names.no_default {
                Some(names) => Error::NoDefaultTemplate(names.clone()),
                None => Error::NoTemplate,
            }),
        }
    }

    fn template_names(&self) -> TemplateNames<'_> {
        TemplateNames {
            bos: self.names.bos.as_deref().filter(|_| self.names_bos),
            eos: self.names.eos.as_deref(),
            unknown: self.names.unknown.as_deref(),
        }
    }

    /// Returns the tokens that the chat template writes around turns.
    fn turns(&self) -> Result<&TurnTokens, Error> {
        if let Some(turns) = self.turns.get() {
            return Ok(turns);
        }
        let turns = match (&self.format, self.chat_template()) {
            (Some(Format::Template), Some(template)) => self.turns_of(template)?,
            _ => TurnTokens::default(),
        };
        Ok(self.turns.get_or_init(|| turns))
    }

    fn turns_of(&self, template: &str) -> Result<TurnTokens, Error> {
        let Turns { ends, tags } = Turns::of(template, self.template_names(), &controls(&self.model, true));
        let is_text = |id: &u32| self.model.kind(*id) != Kind::Control;
        let tags: Vec<u32> = tags.into_iter().filter(is_text).collect();
        if tags.is_empty() {
            return Ok(TurnTokens { ends, tagged: None });
        }
        let mut model = self.model.clone();
        tags.iter().for_each(|id| model.kinds[*id as usize] = Kind::Control);
        let tagged = (Encoder::new(&model)?, controls(&model, false));
        Ok(TurnTokens { ends, tagged: Some(tagged) })
    }

    /// Returns whether the tokenizer's own settings add BOS at the start of a text.
    pub fn adds_bos(&self) -> bool {
        self.around.before.is_some()
    }

    /// Returns the end token that the tokenizer's own settings add at the end of a text, if any. A text to be continued
    /// is encoded without it.
    pub fn added_eos(&self) -> Option<u32> {
        self.around.after
    }

    /// Returns the token that begins a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Returns the ids that end a text: end of sequence, and end of turn and of message if the files name them.
    pub fn end_ids(&self) -> &[u32] {
        &self.end_ids
    }

    /// Returns the tokens that the chat template writes after a reply, and that therefore end a reply. They need not be
    /// in [`end_ids`](Self::end_ids). Empty for Mistral's format, whose end token is.
    pub fn turn_ends(&self) -> &[u32] {
        self.turns().map_or(&[], |turns| &turns.ends)
    }

    /// Returns the control token that a text spells, ignoring white space around it.
    pub fn control(&self, text: &str) -> Option<u32> {
        let id = self.id(text.trim())?;
        self.is_control(id).then_some(id)
    }

    /// Returns whether `id` is a control token, which no text becomes and which has no text.
    pub fn is_control(&self, id: u32) -> bool {
        self.controls.spelling(id).is_some()
    }

    /// Returns the vocabulary size. Every id is below it.
    pub fn vocabulary_size(&self) -> usize {
        self.model.tokens.len()
    }

    /// Returns the tokens that an embedding of `rows` rows cannot look up: first those that plain text leads to, then
    /// those that are only used by name (control tokens, and tokens that settings beside the vocabulary add).
    pub fn beyond(&self, rows: usize) -> [Vec<u32>; 2] {
        let around = [self.around.before, self.around.after];
        let own = self.model.own_ids.unwrap_or(usize::MAX);
        let is_of_texts = |&id: &u32| {
            let is_text = matches!(self.model.kind(id), Kind::Normal | Kind::Byte | Kind::Added);
            is_text && (id as usize) < own || around.contains(&Some(id))
        };
        let ids = (0..self.model.tokens.len() as u32).skip(rows);
        ids.filter(|&id| self.model.token(id).is_some()).partition::<Vec<u32>, _>(is_of_texts).into()
    }

    /// Returns the spelling of an id in the vocabulary's own alphabet (`Ġhello`, `▁hello`, `<0x0A>`).
    pub fn token(&self, id: u32) -> Option<&str> {
        self.model.token(id)
    }

    /// Returns the id of a spelling in the vocabulary's own alphabet.
    pub fn id(&self, token: &str) -> Option<u32> {
        find(&self.model, token)
    }

    /// Returns a detokenizer for ids that continue a text: a space before the first word stays.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.table), false)
    }

    /// Returns a detokenizer for ids that begin a text: SentencePiece's dummy space before the first word is removed.
    pub fn detokenizer_at_start(&self) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.table), true)
    }

    /// Decodes `ids`, which begin a text; control tokens are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = self.detokenizer_at_start();
        let mut text = String::new();
        for &id in ids {
            text.push_str(detokenizer.push(id));
        }
        text + detokenizer.flush()
    }

    /// Returns the name of the tokenizer's kind, such as "byte-level BPE".
    pub fn kind(&self) -> &'static str {
        match (&self.model.joins, self.model.alphabet) {
            (Joins::Scores(_), _) => "SentencePiece BPE",
            (Joins::Ids, _) => "tiktoken BPE",
            (Joins::Pairs(_), Alphabet::Bytes) => "byte-level BPE",
            (Joins::Pairs(_), Alphabet::Spaces | Alphabet::Plain) => "character-level BPE",
        }
    }

    /// Returns the name of the chat format, if the model has one.
    pub fn chat_format(&self) -> Option<String> {
        self.format.as_ref().map(|format| match format {
            Format::Mistral(format) => format.name(),
            Format::Template => "the model's own template".into(),
        })
    }

    /// Returns the Jinja source of the chat format, if the files have one.
    pub fn chat_template(&self) -> Option<&str> {
        self.names.chat_template.as_deref()
    }

    /// Returns the files that [`from_folder`](Self::from_folder) reads this tokenizer back from: names and contents of
    /// `tokenizer.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if the vocabulary cannot be written.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut names = self.names_for_others();
        // A chat template would write a BOS that has a name.
        names.bos = names.bos.filter(|_| self.names_bos);
        write::files(&self.model, &names, self.around)
    }

    /// Returns the metadata of a GGUF file that [`from_vocabulary`](Self::from_vocabulary) reads this tokenizer back
    /// from.
    ///
    /// # Errors
    /// [`Error::NoGgufName`], [`Error::Vocabulary`].
    pub fn vocabulary(&self) -> Result<Vocabulary, Error> {
        let other = |id: Option<u32>, usual: Option<u32>| id.is_some() && id != usual;
        let eos = self.names.eos.as_deref().and_then(|eos| self.id(eos));
        if other(self.around.before, self.bos) || other(self.around.after, eos) {
            return Err(Error::NoGgufName("post-processor".into()));
        }
        let adds = (self.around.before.is_some(), self.around.after.is_some());
        write::vocabulary(&self.model, &self.names_for_others(), adds, |token| self.id(token))
    }

    /// Returns the names with a chat template for other programs, even if the format is Mistral's and no file has a
    /// template.
    fn names_for_others(&self) -> Names {
        let mut names = self.names.clone();
        if let (Some(Format::Mistral(format)), None) = (&self.format, &names.chat_template) {
            names.chat_template = Some(format.template());
        }
        names
    }
}

/// The tokens of a chat template, and the encoder for texts if some of these are not control tokens.
#[derive(Debug, Default)]
struct TurnTokens {
    /// The tokens that end a reply.
    ends: Vec<u32>,
    /// The encoder for messages if a file calls a tag that begins or ends a turn an ordinary token: a model's reply may
    /// contain it, and the text of a message still does not become it.
    tagged: Option<(Encoder, Controls)>,
}

/// Returns the control tokens of a model, and with `added` also its added tokens.
fn controls(model: &Model, added: bool) -> Controls {
    let flags: HashMap<u32, &Added> = model.added.iter().map(|added| (added.id, added)).collect();
    let is_one = |id: u32| model.kind(id) == Kind::Control || added && flags.contains_key(&id);
    Controls::new(model.all().filter(|&(id, _)| is_one(id)).map(|(id, token)| {
        let flags = flags.get(&id);
        Control {
            spelling: token.to_owned(),
            id,
            takes_left: flags.is_some_and(|added| added.takes_left),
            takes_right: flags.is_some_and(|added| added.takes_right),
            after_space: flags
                .is_some_and(|added| added.normalized && added.content.strip_prefix(' ') == Some(token)),
        }
    }))
}

/// Finds the id of a spelling; a control token comes before a text token with the same spelling.
fn find(model: &Model, token: &str) -> Option<u32> {
    let mut spelled = model.all().filter(|&(_, other)| other == token).map(|(id, _)| id);
    let first = spelled.next()?;
    Some(std::iter::once(first).chain(spelled).find(|&id| model.kind(id) == Kind::Control).unwrap_or(first))
}

/// Returns the token at one end of a text: the named token if the settings require it, by default the one that the
/// vocabulary's own file puts there.
fn wanted(setting: Option<bool>, named: Option<u32>, own: Option<u32>) -> Option<u32> {
    match setting {
        Some(true) => named,
        Some(false) => None,
        None => own,
    }
}

/// Makes the tokens that the settings name control tokens, regardless of their type in the vocabulary. A token that the
/// vocabulary does not have is ignored. A byte or a single character stays text, since texts are spelled with it.
fn promote(model: &mut Model, names: &Names, around: Around) {
    let named = [&names.bos, &names.eos, &names.eot, &names.eom, &names.unknown].into_iter().flatten();
    let mut wanted: HashSet<&str> = named.chain(&names.special).map(String::as_str).collect();
    wanted.retain(|token| token.chars().count() > 1);
    for (_, token) in model.all().filter(|&(id, _)| model.kind(id) == Kind::Control) {
        wanted.remove(token);
    }
    let of_around = |id: u32| [around.before, around.after].contains(&Some(id));
    let is_wanted = |&(id, token): &(u32, &str)| {
        let is_long = token.chars().nth(1).is_some();
        (wanted.contains(token) || is_long && of_around(id)) && model.kind(id) != Kind::Byte
    };
    let ids: Vec<u32> = model.all().filter(is_wanted).map(|(id, _)| id).collect();
    for id in ids {
        model.kinds[id as usize] = Kind::Control;
    }
}
