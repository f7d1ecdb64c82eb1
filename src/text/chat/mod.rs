//! Chat formats: how a conversation is written for a model.
//!
//! Knows about messages, control tokens and templates, but not about tokenizer files or terminals.
//!
//! | file | idea |
//! |---|---|
//! | `format` | [`Format`]: the kind of format that a model has |
//! | `mistral` | Mistral's own, by version |
//! | `template` | a chat template, with limits |
//! | `jinja/` | the language of templates |
//! | `render` | a template's text as ids, in which no message is a control token |
//! | `turns` | the tokens that a template writes around turns, and which of them ends a reply |
//!
//! # Which format a model has
//!
//! Mistral's own tokenizers (`tekken.json`, `tokenizer.model.v3`, or any file whose pieces are those of Mistral's
//! SentencePiece vocabulary) imply a format. A `chat_template` beside one, which others wrote later, is used if it does
//! not write `[INST]`: the model was then fine-tuned on another format. Every other model has its template, or no
//! format.

mod format;
mod jinja;
mod mistral;
mod render;
mod template;
mod turns;

pub(super) use self::format::{Format, writes_inst};
pub(super) use self::mistral::Version;
pub(super) use self::render::render;
pub(super) use self::template::Names as TemplateNames;
pub(super) use self::turns::Turns;
