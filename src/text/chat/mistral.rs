//! Mistral's chat formats, with the ids of `mistral-common` 1.13
//! (<https://github.com/mistralai/mistral-common>: `normalize.py`, `instruct.py`).
//!
//! ```text
//! v1        <s> "[INST] system\n\nfirst [/INST]" "reply" </s> "[INST] second [/INST]"       tags are text
//! v2, v3    <s> [INST] "first" [/INST] "reply" </s> [INST] "system\n\nlast" [/INST]         tags are ids
//! v7 …      <s> [SYSTEM_PROMPT] "system" [/SYSTEM_PROMPT] [INST] "first" [/INST] "reply" </s> …
//! ```
//!
//! Each quoted text is encoded separately, so that SentencePiece adds its space before each. The system prompt is in
//! the user's first message (v1), in the last (v2 and v3, where it moves with every turn), or at its own position (v7
//! and later). Versions 11 and 13 differ from 7 in tool calls, tekken's from SentencePiece's in the tokenizer.

use crate::text::model::{Kind, Model};
use crate::text::{Error, Message};

/// A version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::text) enum Version {
    V1,
    V2,
    V3,
    V7,
    V11,
    V13,
}

impl Version {
    const ALL: [(&str, Self); 6] = [
        ("v1", Self::V1),
        ("v2", Self::V2),
        ("v3", Self::V3),
        ("v7", Self::V7),
        ("v11", Self::V11),
        ("v13", Self::V13),
    ];

    pub(in crate::text) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, version)| version)
    }

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, version)| *version == self).map_or("", |(name, _)| name)
    }

    /// Returns the version of a Mistral vocabulary, by the control tokens that came with each version.
    pub(in crate::text) fn of(model: &Model) -> Self {
        let has = |name: &str| control(model, name).is_some();
        match () {
            () if has("[SYSTEM_PROMPT]") => Self::V7,
            () if has("[PREFIX]") => Self::V3,
            () if has("[INST]") => Self::V2,
            () => Self::V1,
        }
    }
}

/// Finds the id of a control token.
fn control(model: &Model, name: &str) -> Option<u32> {
    model.all().find(|&(id, token)| token == name && model.kind(id) == Kind::Control).map(|(id, _)| id)
}

/// A version of the format, with the ids of its control tokens.
#[derive(Clone, Debug)]
pub(in crate::text) struct Mistral {
    version: Version,
    bos: u32,
    eos: u32,
    /// `[INST]` and `[/INST]`; `None` for v1.
    inst: Option<(u32, u32)>,
    /// `[SYSTEM_PROMPT]` and `[/SYSTEM_PROMPT]`, from v7 on.
    system: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    System,
    User,
    Assistant,
}

/// A message with a role of the format.
struct Turn {
    role: Role,
    content: String,
    /// The ids that the model generated it as.
    ids: Vec<u32>,
}

impl Mistral {
    /// Creates a format; `None` if the vocabulary lacks control tokens of the version.
    pub(in crate::text) fn new(version: Version, model: &Model) -> Option<Self> {
        let id = |name: &str| control(model, name);
        Some(Self {
            version,
            bos: id("<s>")?,
            eos: id("</s>")?,
            inst: if version > Version::V1 { Some((id("[INST]")?, id("[/INST]")?)) } else { None },
            system: match version >= Version::V7 {
                true => Some((id("[SYSTEM_PROMPT]")?, id("[/SYSTEM_PROMPT]")?)),
                false => None,
            },
        })
    }

    /// Returns the name of the format.
    pub(in crate::text) fn name(&self) -> String {
        format!("Mistral {}", self.version.name())
    }

    /// Encodes a conversation. `encode` appends the ids of a stretch of text.
    ///
    /// # Errors
    /// [`Error::Conversation`], and those of `encode`.
    pub(in crate::text) fn encode(
        &self,
        messages: &[Message],
        mut encode: impl FnMut(&str, &mut Vec<u32>) -> Result<(), Error>,
    ) -> Result<Vec<u32>, Error> {
        let (system, turns) = self.turns(messages)?;
        let of_user = |turn: &Turn| turn.role == Role::User;
        // The message that the system prompt is prepended to.
        let carrier = match self.version {
            Version::V1 => turns.iter().position(of_user),
            _ => turns.iter().rposition(of_user),
        };
        let mut ids = vec![self.bos];
        for (index, Turn { role, content, ids: generated }) in turns.iter().enumerate() {
            match role {
                Role::System => self.between(self.system, content, &mut ids, &mut encode)?,
                Role::User => {
                    let carried = system.as_deref().filter(|_| carrier == Some(index));
                    let content =
                        carried.map_or_else(|| content.clone(), |system| format!("{system}\n\n{content}"));
                    match self.inst {
                        None => encode(&format!("[INST] {content} [/INST]"), &mut ids)?,
                        inst => self.between(inst, &content, &mut ids, &mut encode)?,
                    }
                }
                Role::Assistant => {
                    let trimmed =
                        if self.version > Version::V1 { content.trim_end_matches(' ') } else { content };
                    match generated.is_empty() {
                        true => encode(trimmed, &mut ids)?,
                        false => ids.extend(generated),
                    }
                    ids.push(self.eos);
                }
            }
        }
        Ok(ids)
    }

    /// Returns the format as a Jinja template, for other programs. It accepts conversations in which user and assistant
    /// alternate, and encodes them to the same ids.
    pub(in crate::text) fn template(&self) -> String {
        const FIND: &str = "{%- set ns = namespace(system='', user=-1) -%}{%- for m in messages -%}\
            {%- if m.role == 'system' -%}{%- set ns.system = ns.system + m.content + '\\n\\n' -%}\
            {%- elif m.role == 'user' -%}{%- set ns.user = WHICH -%}{%- endif -%}{%- endfor -%}";
        const USER: &str = "(ns.system if loop.index0 == ns.user else '') + m.content";
        let (find, system, user, reply) = match self.version {
            Version::V1 => (
                FIND.replace("WHICH", "loop.index0 if ns.user == -1 else ns.user"),
                "",
                format!("'[INST] ' + {USER} + ' [/INST]'"),
                // The tag is text and no token separates it from the reply, so the space is written here.
                "' ' + m.content",
            ),
            Version::V2 | Version::V3 => (
                FIND.replace("WHICH", "loop.index0"),
                "",
                format!("'[INST]' + {USER} + '[/INST]'"),
                "m.content.rstrip(' ')",
            ),
            Version::V7 | Version::V11 | Version::V13 => (
                String::new(),
                "{{- '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' -}}",
                "'[INST]' + m.content + '[/INST]'".into(),
                "m.content.rstrip(' ')",
            ),
        };
        format!(
            "{find}{{{{- bos_token -}}}}{{%- for m in messages -%}}{{%- if m.role == 'system' -%}}{system}\
             {{%- elif m.role == 'user' -%}}{{{{- {user} -}}}}\
             {{%- else -%}}{{{{- {reply} + eos_token -}}}}{{%- endif -%}}{{%- endfor -%}}"
        )
    }

    fn between(
        &self,
        tags: Option<(u32, u32)>,
        content: &str,
        ids: &mut Vec<u32>,
        encode: &mut impl FnMut(&str, &mut Vec<u32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        ids.extend(tags.map(|(open, _)| open));
        encode(content, ids)?;
        ids.extend(tags.map(|(_, close)| close));
        Ok(())
    }

    /// Converts messages to the format's roles. Consecutive messages of a role become one, and before v7 the system
    /// prompt is returned separately from the messages.
    fn turns(&self, messages: &[Message]) -> Result<(Option<String>, Vec<Turn>), Error> {
        let roles = roles(messages)?;
        let mut system: Vec<&str> = Vec::new();
        let mut turns: Vec<Turn> = Vec::new();
        let mut before = None;
        for (message, role) in messages.iter().zip(roles) {
            let content = message.content.as_str();
            match role {
                Role::System if self.version < Version::V7 => {
                    system.extend(Some(content).filter(|content| !content.is_empty()));
                }
                Role::User | Role::Assistant if before == Some(role) => {
                    if let Some(turn) = turns.last_mut() {
                        join(&mut turn.content, content);
                        turn.ids.clear();
                    }
                }
                role => turns.push(Turn { role, content: content.to_owned(), ids: message.ids.clone() }),
            }
            before = Some(role);
        }
        // A conversation must begin with the user, so an empty message is added if necessary.
        if self.version < Version::V7 && turns.first().is_none_or(|turn| turn.role != Role::User) {
            turns.insert(0, Turn { role: Role::User, content: String::new(), ids: Vec::new() });
        }
        Ok(((!system.is_empty()).then(|| system.join("\n\n")), turns))
    }
}

/// Concatenates the texts that are not empty, with an empty line between them.
fn join(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

fn role(message: &Message) -> Result<Role, Error> {
    match message.role.as_str() {
        "system" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        other => {
            Err(Error::Conversation(format!("it has no role {other:?} (system, user and assistant it has)")))
        }
    }
}

/// Returns the roles of messages if the format accepts their order.
fn roles(messages: &[Message]) -> Result<Vec<Role>, Error> {
    let roles: Vec<Role> = messages.iter().map(role).collect::<Result<_, _>>()?;
    let refuse = |reason: &str| Err(Error::Conversation(reason.into()));
    if roles.windows(2).any(|pair| pair == [Role::Assistant, Role::System]) {
        return refuse("a system message cannot follow the assistant's");
    }
    match roles.last() {
        None => refuse("there is no message"),
        Some(Role::Assistant) => refuse("the last message is the assistant's, there is nothing to reply to"),
        Some(Role::System | Role::User) => Ok(roles),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes with control tokens 1 to 6; the id of a text's byte is its value plus 100.
    fn ids(version: Version, messages: &[(&str, &str)]) -> Result<String, String> {
        let names = ["<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"];
        let tokens: Vec<String> = names.map(str::to_owned).into();
        let model = Model { kinds: vec![Kind::Control; tokens.len()], tokens, ..Model::default() };
        let messages: Vec<Message> =
            messages.iter().map(|(role, content)| Message::new(*role, *content)).collect();
        let encode = |text: &str, ids: &mut Vec<u32>| {
            ids.extend(text.bytes().map(|byte| u32::from(byte) + 100));
            Ok(())
        };
        let ids = Mistral::new(version, &model).unwrap().encode(&messages, encode);
        let shown = |id: &u32| match id.checked_sub(100) {
            Some(byte) => char::from(byte as u8).to_string(),
            None => names[*id as usize].into(),
        };
        Ok(ids.map_err(|error| error.to_string())?.iter().map(shown).collect())
    }

    const TALK: [(&str, &str); 4] = [("system", "S"), ("user", "a"), ("assistant", "b "), ("user", "c")];

    #[test]
    fn the_system_prompt_is_first_last_or_in_its_place() {
        assert_eq!(ids(Version::V1, &TALK).unwrap(), "<s>[INST] S\n\na [/INST]b </s>[INST] c [/INST]");
        assert_eq!(ids(Version::V3, &TALK).unwrap(), "<s>[INST]a[/INST]b</s>[INST]S\n\nc[/INST]");
        assert_eq!(
            ids(Version::V7, &TALK).unwrap(),
            "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]a[/INST]b</s>[INST]c[/INST]"
        );
    }

    #[test]
    fn messages_of_one_role_in_a_row_are_one_unless_the_system_speaks_between() {
        let row = [("user", "a"), ("user", ""), ("user", "b")];
        assert_eq!(ids(Version::V2, &row).unwrap(), "<s>[INST]a\n\nb[/INST]");
        let separate = [("user", "a"), ("system", "S"), ("user", "b"), ("system", "T")];
        assert_eq!(ids(Version::V2, &separate).unwrap(), "<s>[INST]a[/INST][INST]S\n\nT\n\nb[/INST]");
    }

    #[test]
    fn what_the_format_does_not_take_is_an_error() {
        let error = |messages: &[(&str, &str)]| ids(Version::V3, messages).unwrap_err();
        assert!(error(&[]).contains("no message"));
        assert!(error(&TALK[..3]).contains("nothing to reply to"));
        assert!(error(&[("tool", "x")]).contains("role \"tool\""));
        assert!(error(&[("user", "a"), ("assistant", "b"), ("system", "c")]).contains("cannot follow"));
    }

    #[test]
    fn versions_are_told_by_their_names_and_by_their_control_tokens() {
        assert_eq!(Version::named("v11"), Some(Version::V11));
        assert_eq!(Version::named("v15"), None);
        let of = |names: &[&str]| {
            let tokens: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Version::of(&Model { kinds: vec![Kind::Control; tokens.len()], tokens, ..Model::default() })
        };
        assert_eq!(of(&["<s>"]), Version::V1);
        assert_eq!(of(&["<s>", "[INST]"]), Version::V2);
        assert_eq!(of(&["<s>", "[INST]", "[PREFIX]"]), Version::V3);
        assert_eq!(of(&["[INST]", "[PREFIX]", "[SYSTEM_PROMPT]"]), Version::V7);
    }
}
