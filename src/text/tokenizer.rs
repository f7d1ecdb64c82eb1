use std::path::Path;
use std::sync::Arc;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Model as _, OffsetType, PreTokenizer as _, TokenizerImpl};

use super::bytes::Spelling;
use super::control::{Control, Controls, Masks, Part};
use super::detokenizer::ByteTable;
use super::error::one_line;
use super::guard::guarded;
use super::template::{self, Names};
use super::{Detokenizer, Error, Message, Vocabulary, folder, gguf, vocabulary};

/// More ids than any vocabulary has (the largest are about 262,000): tables are sized by the largest id.
const MAX_IDS: usize = 1 << 22;

/// `tokenizers::Tokenizer` with its model fixed: all of the family are BPE, and finding out which model a file
/// has costs the crate more than reading it (131,072 tokens, 270,000 merges: 0.85 s against 0.37 s).
pub(super) type Inner =
    TokenizerImpl<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// Text to ids and back, and the chat format, of one model.
///
/// Made by [`from_folder`](Self::from_folder) or [`from_vocabulary`](Self::from_vocabulary).
#[derive(Debug)]
pub struct Tokenizer {
    inner: Inner,
    /// The pre-tokenizer of a stretch that is not the first of its text, where that is another one.
    later: Option<PreTokenizerWrapper>,
    controls: Controls,
    table: Arc<ByteTable>,
    vocabulary_size: usize,
    names: NamedTokens,
    bos: Option<u32>,
    end_ids: Vec<u32>,
    adds_bos: bool,
    /// The id that stands for text that cannot be spelled, where it has no other meaning.
    unknown: Option<u32>,
}

/// What the files beside the vocabulary say, in spellings.
#[derive(Clone, Debug, Default)]
pub(super) struct NamedTokens {
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    pub(super) eot: Option<String>,
    pub(super) unknown: Option<String>,
    /// Tokens that are control tokens whatever the vocabulary says of them; those above always are.
    pub(super) special: Vec<String>,
    /// None: what the post-processor of `tokenizer.json` does.
    pub(super) add_bos: Option<bool>,
    pub(super) chat_template: Option<String>,
}

impl Tokenizer {
    /// The tokenizer of a Hugging Face folder: `tokenizer.json` and, where present,
    /// `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`. End ids that only
    /// `generation_config.json` or `config.json` name are for the caller to add.
    ///
    /// # Errors
    /// A file that is missing, too large or not what it should be, and a tokenizer of a kind that is not
    /// supported.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        folder::load(folder)
    }

    /// The tokenizer of a GGUF file.
    ///
    /// # Errors
    /// A vocabulary that contradicts itself, and a tokenizer of a kind that is not supported.
    pub fn from_vocabulary(vocabulary: Vocabulary) -> Result<Self, Error> {
        gguf::load(vocabulary)
    }

    /// Puts together what the two loaders found.
    pub(super) fn assemble(mut inner: Inner, mut names: NamedTokens) -> Result<Self, Error> {
        let reason = |error: tokenizers::Error| Error::Vocabulary(one_line(&error.to_string()));
        inner.with_truncation(None).map_err(reason)?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        promote(&mut inner, &names).map_err(reason)?;

        let vocabulary = inner.get_vocab(true);
        let vocabulary_size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        if !(1..=MAX_IDS).contains(&vocabulary_size) {
            return Err(Error::Vocabulary(format!(
                "its ids run up to {vocabulary_size}, allowed are 1 to {MAX_IDS}"
            )));
        }
        let added = inner.get_added_tokens_decoder();
        let controls =
            Controls::new(added.iter().filter(|(_, token)| token.special).map(|(&id, token)| Control {
                spelling: token.content.clone(),
                id,
                takes_left: token.lstrip,
                takes_right: token.rstrip,
            }));

        let decoder = serde_json::to_value(inner.get_decoder()).map_err(|error| reason(error.into()))?;
        let spelling = Spelling::from_json(&decoder)?;
        let mut tokens = vec![""; vocabulary_size];
        for (token, &id) in &vocabulary {
            tokens[id as usize] = token;
        }
        let mut table = ByteTable::new(spelling.drops_first_space);
        for (id, token) in (0..).zip(tokens) {
            match controls.spelling(id) {
                Some(_) => table.push(&[]),
                None => table.push(&spelling.bytes(token, added.contains_key(&id))),
            }
        }

        let id = |name: &Option<String>| name.as_ref().and_then(|name| inner.token_to_id(name));
        let in_front = put_in_front(&inner).filter(|&id| controls.spelling(id).is_some());
        let bos = id(&names.bos).or(in_front);
        let adds_bos = bos.is_some() && names.add_bos.unwrap_or(in_front == bos);
        let mut end_ids: Vec<u32> = [id(&names.eos), id(&names.eot)].into_iter().flatten().collect();
        end_ids.dedup();
        let unknown = id(&names.unknown).filter(|id| bos != Some(*id) && !end_ids.contains(id));
        names.bos = bos.and_then(|id| inner.id_to_token(id));
        Ok(Self {
            later: without_first_prefix(inner.get_pre_tokenizer()),
            table: Arc::new(table),
            inner,
            controls,
            vocabulary_size,
            names,
            bos,
            end_ids,
            adds_bos,
            unknown,
        })
    }

    /// The ids of `text`, with the BOS id in front if `bos`. What `text` spells stays text: no control
    /// token comes out of it.
    ///
    /// # Errors
    /// [`Error::NoBos`], [`Error::Encode`], [`Error::ControlFromText`].
    pub fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        if bos {
            ids.push(self.bos.ok_or(Error::NoBos)?);
        }
        ids.extend(self.encode_stretch(text, true)?);
        Ok(ids)
    }

    /// The ids of one stretch of text between control tokens. `first`: nothing comes before it.
    fn encode_stretch(&self, text: &str, first: bool) -> Result<Vec<u32>, Error> {
        let ids = guarded(|| self.encode_unguarded(text, first))
            .unwrap_or_else(|panic| Err(panic.into()))
            .map_err(|error| Error::Encode(one_line(&error.to_string())))?;
        let control =
            ids.iter().filter(|&&id| Some(id) != self.unknown).find_map(|&id| self.controls.spelling(id));
        match control {
            Some(spelling) => Err(Error::ControlFromText(spelling.to_owned())),
            None => Ok(ids),
        }
    }

    /// `tokenizers`' own pipeline up to the ids. Not its `encode`: that would take any stretch for the start
    /// of a text, and goes on to post-processing, truncation and padding.
    fn encode_unguarded(&self, text: &str, first: bool) -> tokenizers::Result<Vec<u32>> {
        let normalizer = self.inner.get_normalizer();
        let mut pieces = self.inner.get_added_vocabulary().extract_and_normalize(normalizer, text);
        let later = self.later.as_ref().filter(|_| !first);
        if let Some(pre_tokenizer) = later.or_else(|| self.inner.get_pre_tokenizer()) {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        pieces.tokenize(|piece| self.inner.get_model().tokenize(piece.get()))?;
        Ok(pieces.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
    }

    /// The ids of a conversation in the model's chat format, ready for the assistant's turn.
    ///
    /// The ids are those of transformers' `apply_chat_template`, except that a control token which a message
    /// spells stays text. BOS is where the template puts it.
    ///
    /// # Errors
    /// [`Error::NoTemplate`], [`Error::Template`] (for instance for roles that the format does not know),
    /// and those of [`encode`](Self::encode).
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let template = self.chat_template().ok_or(Error::NoTemplate)?;
        let names = Names {
            bos: self.names.bos.as_deref(),
            eos: self.names.eos.as_deref(),
            unknown: self.names.unknown.as_deref(),
        };
        let texts = messages.iter().flat_map(|message| [message.role.as_str(), message.content.as_str()]);
        let mut masks = Masks::new(&self.controls, texts.chain([template]));
        let masked = messages.iter().map(|message| {
            Ok(Message { role: masks.role(&message.role)?, content: masks.content(&message.content)? })
        });
        let masked: Vec<Message> = masked.collect::<Result<_, Error>>()?;
        let rendered = template::render(template, &masked, names)?;

        let mut ids = Vec::new();
        for (index, part) in self.controls.cut(&rendered).into_iter().enumerate() {
            match part {
                Part::Control(id) => ids.push(id),
                Part::Text(text) => ids.extend(self.encode_stretch(&masks.unmask(text), index == 0)?),
            }
        }
        Ok(ids)
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

    /// Every id is below this.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The spelling of an id in the vocabulary's own alphabet (`Ġhello`, `▁hello`, `<0x0A>`).
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a spelling in the vocabulary's own alphabet.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
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

    /// The Jinja source of the chat format.
    pub fn chat_template(&self) -> Option<&str> {
        self.names.chat_template.as_deref()
    }

    /// The files that [`from_folder`](Self::from_folder) reads this tokenizer back from: names and contents
    /// of `tokenizer.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] if the vocabulary cannot be written.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        folder::files(&self.inner, &self.names, self.adds_bos)
    }

    /// The metadata of a GGUF file that [`from_vocabulary`](Self::from_vocabulary) reads this tokenizer back from.
    ///
    /// # Errors
    /// [`Error::NoGgufName`], [`Error::Vocabulary`].
    pub fn vocabulary(&self) -> Result<Vocabulary, Error> {
        vocabulary::of(&self.inner, &self.names, self.adds_bos)
    }
}

/// Makes special what the settings name. A token that the vocabulary does not have is left out, not added.
fn promote(inner: &mut Inner, names: &NamedTokens) -> tokenizers::Result<()> {
    let named = [&names.bos, &names.eos, &names.eot, &names.unknown].into_iter().flatten();
    let known = inner.get_added_tokens_decoder();
    let special: Vec<AddedToken> = named
        .chain(&names.special)
        .filter_map(|name| match known.get(&inner.token_to_id(name)?) {
            Some(token) if token.special => None,
            Some(token) => Some(token.clone().special(true)),
            None => Some(AddedToken::from(name.as_str(), true)),
        })
        .collect();
    inner.add_special_tokens(special).map(drop)
}

/// The control token that `tokenizer.json`'s post-processor puts in front of a text: what else but BOS.
fn put_in_front(inner: &Inner) -> Option<u32> {
    let ids = |special| Some(guarded(|| inner.encode_fast("a", special)).ok()?.ok()?.get_ids().to_vec());
    let (plain, processed): (Vec<u32>, Vec<u32>) = (ids(false)?, ids(true)?);
    let (&first, rest) = processed.split_first()?;
    rest.starts_with(&plain).then_some(first)
}

/// Metaspace with `prepend_scheme: first` puts a space in front of the first stretch of a text only.
fn without_first_prefix(pre_tokenizer: Option<&PreTokenizerWrapper>) -> Option<PreTokenizerWrapper> {
    fn changes(pre_tokenizer: &mut PreTokenizerWrapper) -> bool {
        match pre_tokenizer {
            PreTokenizerWrapper::Metaspace(metaspace) if metaspace.prepend_scheme == PrependScheme::First => {
                metaspace.prepend_scheme = PrependScheme::Never;
                true
            }
            PreTokenizerWrapper::Sequence(steps) => steps.as_mut().iter_mut().any(changes),
            _ => false,
        }
    }
    let mut later = pre_tokenizer?.clone();
    changes(&mut later).then_some(later)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const KINDS: [&str; 3] = ["byte_level", "sentence_piece", "metaspace"];

    #[derive(Deserialize)]
    struct Cases {
        texts: Vec<Case>,
        chats: Vec<Chat>,
    }

    #[derive(Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
        decoded: String,
    }

    #[derive(Deserialize)]
    struct Chat {
        messages: Vec<Message>,
        ids: Vec<u32>,
    }

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text").join(name)
    }

    fn tokenizer(kind: &str) -> Tokenizer {
        Tokenizer::from_folder(&fixture(kind)).unwrap()
    }

    fn cases(kind: &str) -> Cases {
        serde_json::from_slice(&std::fs::read(fixture(kind).join("cases.json")).unwrap()).unwrap()
    }

    fn vocabulary() -> Vocabulary {
        let json = std::fs::read(fixture("sentence_piece/vocabulary.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        Vocabulary {
            model: "llama".into(),
            tokens: serde_json::from_value(json["tokens"].clone()).unwrap(),
            scores: serde_json::from_value(json["scores"].clone()).unwrap(),
            token_types: serde_json::from_value(json["token_types"].clone()).unwrap(),
            bos: Some(1),
            eos: Some(2),
            unknown: Some(0),
            chat_template: tokenizer("sentence_piece").chat_template().map(str::to_owned),
            ..Vocabulary::default()
        }
    }

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into() }
    }

    #[track_caller]
    fn assert_agrees(tokenizer: &Tokenizer, cases: &Cases) {
        for case in &cases.texts {
            assert_eq!(tokenizer.encode(&case.text, false).unwrap(), case.ids, "{:?}", case.text);
            assert_eq!(tokenizer.decode(&case.ids), case.decoded, "{:?}", case.text);
        }
        for chat in &cases.chats {
            assert_eq!(tokenizer.encode_chat(&chat.messages).unwrap(), chat.ids, "{:?}", chat.messages);
        }
    }

    #[test]
    fn ids_texts_and_chats_are_those_of_sentencepiece_and_transformers() {
        for kind in KINDS {
            assert_agrees(&tokenizer(kind), &cases(kind));
        }
    }

    #[test]
    fn a_gguf_vocabulary_gives_the_ids_of_sentencepiece() {
        assert_agrees(&Tokenizer::from_vocabulary(vocabulary()).unwrap(), &cases("sentence_piece"));
    }

    #[test]
    fn the_files_read_back_to_the_same_tokenizer() {
        let gguf = Vocabulary { eot: Some(4), ..vocabulary() };
        let all = KINDS.iter().map(|kind| tokenizer(kind)).chain([Tokenizer::from_vocabulary(gguf).unwrap()]);
        for (before, kind) in all.zip(["byte_level", "sentence_piece", "metaspace", "sentence_piece"]) {
            let folder = tempfile::tempdir().unwrap();
            for (name, bytes) in before.files().unwrap() {
                std::fs::write(folder.path().join(name), bytes).unwrap();
            }
            let after = Tokenizer::from_folder(folder.path()).unwrap();
            assert_agrees(&after, &cases(kind));
            assert_eq!(after.adds_bos(), before.adds_bos());
            assert_eq!(after.bos(), before.bos());
            assert_eq!(after.end_ids(), before.end_ids());
            assert_eq!(after.vocabulary_size(), before.vocabulary_size());
            assert_eq!(after.chat_template(), before.chat_template());
        }
    }

    #[test]
    fn a_tokenizer_written_as_gguf_metadata_reads_back_to_the_same_ids() {
        for kind in KINDS {
            let after = Tokenizer::from_vocabulary(tokenizer(kind).vocabulary().unwrap()).unwrap();
            let mut cases = cases(kind);
            if kind == "metaspace" {
                // It puts no space in front of one; the metadata can only say what SentencePiece does, which does.
                cases.texts.retain(|case| !case.text.starts_with([' ', '▁']));
                cases.chats.clear();
            }
            assert_agrees(&after, &cases);
        }
    }

    #[test]
    fn named_tokens_are_found_and_bos_is_put_in_front_where_asked() {
        let spm = tokenizer("sentence_piece");
        assert_eq!((spm.bos(), spm.end_ids(), spm.adds_bos()), (Some(1), &[2][..], true));
        assert_eq!(spm.encode("a", true).unwrap()[0], 1);
        assert_eq!(spm.id("[INST]"), Some(3));
        assert_eq!(spm.token(3).as_deref(), Some("[INST]"));
        assert_eq!(spm.token(900), None);
        assert_eq!(spm.vocabulary_size(), 900);
        let bytes = tokenizer("byte_level");
        assert_eq!((bytes.bos(), bytes.end_ids(), bytes.adds_bos()), (Some(1), &[2][..], false));
        let both =
            Tokenizer::from_vocabulary(Vocabulary { eot: Some(4), bos: None, ..vocabulary() }).unwrap();
        assert_eq!((both.bos(), both.end_ids(), both.adds_bos()), (None, &[2, 4][..], false));
        assert!(matches!(both.encode("a", true), Err(Error::NoBos)));
    }

    #[test]
    fn spellings_of_control_tokens_in_text_stay_text() {
        for kind in KINDS {
            let tokenizer = tokenizer(kind);
            for id in tokenizer
                .inner
                .get_added_tokens_decoder()
                .iter()
                .filter(|(_, t)| t.special)
                .map(|(&id, _)| id)
            {
                let spelling = tokenizer.token(id).unwrap();
                for text in [spelling.clone(), format!("a{spelling}b"), format!("{spelling} {spelling}\n")] {
                    let ids = tokenizer.encode(&text, false).unwrap();
                    assert!(
                        ids.iter().all(|&id| tokenizer.controls.spelling(id).is_none()),
                        "{text}: {ids:?}"
                    );
                    assert_eq!(tokenizer.decode(&ids), text);
                }
            }
        }
    }

    #[test]
    fn an_added_token_that_is_not_special_is_found_in_text() {
        let tokenizer = tokenizer("byte_level");
        let think = tokenizer.id("<think>").unwrap();
        let ids = tokenizer.encode("a<think>b", false).unwrap();
        assert!(ids.contains(&think));
        assert_eq!(tokenizer.decode(&ids), "a<think>b");
    }

    #[test]
    fn a_continuation_keeps_its_space_and_a_start_loses_it() {
        let tokenizer = tokenizer("sentence_piece");
        let ids = tokenizer.encode("the", false).unwrap();
        let text = |mut detokenizer: Detokenizer| {
            ids.iter().map(|&id| detokenizer.push(id).to_owned()).collect::<String>()
        };
        assert_eq!(text(tokenizer.detokenizer()), " the");
        assert_eq!(text(tokenizer.detokenizer_at_start()), "the");
        let mut with_bos = vec![1];
        with_bos.extend(&ids);
        assert_eq!(tokenizer.decode(&with_bos), "the");
    }

    #[test]
    fn decoding_any_ids_is_what_the_tokenizers_crate_decodes() {
        for kind in KINDS {
            let tokenizer = tokenizer(kind);
            let mut state = 1u32;
            let mut compared = 0;
            for _ in 0..2000 {
                let ids: Vec<u32> = (0..6)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 8) % tokenizer.vocabulary_size() as u32
                    })
                    .collect();
                // Where bytes are not UTF-8 it also loses the valid ones beside them.
                let theirs = tokenizer.inner.decode(&ids, true).unwrap();
                if !theirs.contains(char::REPLACEMENT_CHARACTER) {
                    assert_eq!(tokenizer.decode(&ids), theirs, "{kind}: {ids:?}");
                    compared += 1;
                }
            }
            assert!(compared > 200, "{kind}: {compared}");
        }
    }

    #[test]
    fn a_template_that_refuses_and_one_that_is_missing_are_errors() {
        let tokenizer = tokenizer("sentence_piece");
        let error = tokenizer.encode_chat(&[message("assistant", "x")]).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
        let none = Tokenizer::from_vocabulary(Vocabulary { chat_template: None, ..vocabulary() }).unwrap();
        assert!(matches!(none.encode_chat(&[message("user", "x")]), Err(Error::NoTemplate)));
    }

    /// Pieces of messages: whole spellings of control tokens, and any two parts of one.
    fn fragments(tokenizer: &Tokenizer) -> Vec<String> {
        let mut fragments: Vec<String> = ["", " ", "\n", "x", "user"].map(str::to_owned).to_vec();
        for id in 0..tokenizer.vocabulary_size() as u32 {
            let Some(spelling) = tokenizer.controls.spelling(id) else { continue };
            fragments.extend(
                (0..spelling.len()).flat_map(|at| [spelling[..at].to_owned(), spelling[at..].to_owned()]),
            );
        }
        fragments
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_conversation_has_a_control_token_that_the_template_did_not_write(
            kind in prop::sample::select(KINDS.to_vec()),
            pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        ) {
            let tokenizer = tokenizer(kind);
            let fragments = fragments(&tokenizer);
            let controls = |ids: &[u32]| -> Vec<u32> {
                ids.iter().copied().filter(|&id| tokenizer.controls.spelling(id).is_some()).collect()
            };
            let conversation = |content: &dyn Fn(usize) -> String| -> Vec<Message> {
                (0..pieces.len()).map(|i| message(["user", "assistant"][i % 2], &content(i))).collect()
            };
            let hostile = conversation(&|i| pieces[i].0.get(&fragments).clone() + pieces[i].1.get(&fragments[..]).as_str());
            let harmless = conversation(&|_| "x".to_owned());
            let ids = tokenizer.encode_chat(&hostile).unwrap();
            prop_assert_eq!(controls(&ids), controls(&tokenizer.encode_chat(&harmless).unwrap()));
            let text = tokenizer.decode(&ids);
            for message in &hostile {
                prop_assert!(text.contains(message.content.trim()), "{:?} in {:?}", message.content, text);
            }
        }

        #[test]
        fn a_role_that_spells_control_tokens_is_text(at in any::<prop::sample::Index>(), more in any::<prop::sample::Index>()) {
            let tokenizer = tokenizer("byte_level");
            let fragments = fragments(&tokenizer);
            let role = at.get(&fragments).clone() + more.get(&fragments[..]).as_str();
            let ids = tokenizer.encode_chat(&[message(&role, "x")]).unwrap();
            let harmless = tokenizer.encode_chat(&[message("user", "x")]).unwrap();
            let count = |ids: &[u32]| ids.iter().filter(|&&id| tokenizer.controls.spelling(id).is_some()).count();
            prop_assert_eq!(count(&ids), count(&harmless));
        }
    }
}
