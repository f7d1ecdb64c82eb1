//! Parses a line that the user typed. One table defines the commands; parsing, usage and help come from it.

use std::path::PathBuf;

use crate::system::hinted::Hinted;

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Text for the model.
    Say(String),
    /// A command.
    Do(Command),
}

/// A slash command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// List the commands.
    Help,
    /// Leave the chat.
    Exit,
    /// Forget everything but the system prompt.
    Clear,
    /// Set the system prompt; `None` removes it.
    System(Option<String>),
    /// Set a sampling parameter; name and value are as typed.
    Set {
        /// Name of the parameter.
        name: String,
        /// New value of the parameter.
        value: String,
    },
    /// Show the settings.
    Show,
    /// Remove the last message and its reply.
    Undo,
    /// Generate the last reply again.
    Retry,
    /// Write the conversation to a file.
    Save(PathBuf),
    /// Continue a conversation from a file.
    Load(PathBuf),
    /// Continue the last saved conversation.
    LoadLast,
    /// Send a file's text as a message.
    Read(PathBuf),
}

/// A line that begins with `/` and is not a valid command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The command does not exist.
    #[error("there is no command {typed:?}")]
    Unknown {
        /// The command as typed, with its slash.
        typed: String,
        /// Commands with a similar name.
        near: Vec<&'static str>,
    },
    /// The number of arguments is wrong.
    #[error("{name} takes {takes}")]
    Arguments {
        /// Name of the command.
        name: &'static str,
        /// Description of the expected arguments.
        takes: &'static str,
        /// Usage of the command.
        usage: String,
    },
}

impl Hinted for CommandError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown { near, .. } if near.is_empty() => {
                "`/help` lists the commands; `//` at the start sends a line that begins with one slash"
                    .to_string()
            }
            Self::Unknown { near, .. } => {
                format!("did you mean {}? `/help` lists the commands", near.join(" or "))
            }
            Self::Arguments { usage, .. } => usage.clone(),
        })
    }
}

/// The arguments of a command, and how they become a [`Command`].
enum Shape {
    None(Command),
    Path(fn(PathBuf) -> Command),
    OptionalText(fn(Option<String>) -> Command),
    NameAndValue(fn(String, String) -> Command),
}

/// Name, arguments in the usage, description, and parser of each command.
const COMMANDS: [(&str, &str, &str, Shape); 11] = [
    ("/help", "", "list the commands", Shape::None(Command::Help)),
    ("/exit", "", "leave (also: Ctrl-D)", Shape::None(Command::Exit)),
    ("/clear", "", "forget everything but the system prompt", Shape::None(Command::Clear)),
    (
        "/system",
        "TEXT",
        "set the system prompt; without TEXT, remove it",
        Shape::OptionalText(Command::System),
    ),
    (
        "/set",
        "NAME VALUE",
        "set temperature, top-k, top-p, min-p, repeat-penalty, seed or max-new-tokens",
        Shape::NameAndValue(|name, value| Command::Set { name, value }),
    ),
    ("/show", "", "show the model and the settings", Shape::None(Command::Show)),
    ("/undo", "", "take back the last message and its reply", Shape::None(Command::Undo)),
    ("/retry", "", "generate the last reply again", Shape::None(Command::Retry)),
    ("/save", "FILE", "write the conversation to FILE (JSON)", Shape::Path(Command::Save)),
    ("/load", "FILE", "continue the conversation in FILE, or the `last` before this one", Shape::Path(load)),
    ("/read", "FILE", "send the text of FILE as a message", Shape::Path(Command::Read)),
];

impl Turn {
    /// Parses a line. A command begins with `/` in the first column, and its name must match exactly. `//x` is the text
    /// `/x`; every other line is text.
    ///
    /// # Errors
    /// [`CommandError`]; the line must then not be sent.
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let Some(after_slash) = line.strip_prefix('/') else {
            return Ok(Self::Say(line.to_string()));
        };
        if after_slash.starts_with('/') {
            return Ok(Self::Say(after_slash.to_string()));
        }
        let (typed, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let Some((name, arguments, _, shape)) = COMMANDS.iter().find(|(name, ..)| *name == typed) else {
            return Err(CommandError::Unknown { typed: typed.to_string(), near: near(typed) });
        };
        let rest = rest.trim();
        let wrong = |takes| CommandError::Arguments {
            name,
            takes,
            usage: format!("{name} {arguments}").trim_end().into(),
        };
        Ok(Self::Do(match shape {
            Shape::None(_) if !rest.is_empty() => return Err(wrong("no arguments")),
            Shape::None(command) => command.clone(),
            Shape::Path(_) if rest.is_empty() => return Err(wrong("the name of a file")),
            Shape::Path(command) => command(path(rest)),
            Shape::OptionalText(command) => command(Some(rest.to_string()).filter(|text| !text.is_empty())),
            Shape::NameAndValue(command) => match rest.split_whitespace().collect::<Vec<_>>()[..] {
                [name, value] => command(name.to_string(), value.to_string()),
                _ => return Err(wrong("a name and a value")),
            },
        }))
    }
}

/// Returns the help: one line for each command and for special input.
pub fn help() -> String {
    let mut text = String::new();
    for (name, arguments, does, _) in &COMMANDS {
        let usage = format!("{name} {arguments}");
        text.push_str(&format!("{usage:<17} {does}\n"));
    }
    text.push_str("//x               send /x to the model\n");
    text.push_str("\"\"\"               open and close a message of several lines\n");
    text.push_str("Ctrl-C            stop the reply; at an empty prompt, leave\n");
    text
}

/// Parses the argument of `/load`. `last` is a keyword; `./last` is a file of that name.
fn load(path: PathBuf) -> Command {
    if path.as_os_str() == "last" { Command::LoadLast } else { Command::Load(path) }
}

/// Parses the rest of the line, with inner spaces, as a path. A leading `~/` is the home folder, since no shell has
/// expanded it.
fn path(typed: &str) -> PathBuf {
    match typed.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => PathBuf::from(typed),
    }
}

/// Returns the commands that begin with `typed`, or else those with the smallest edit distance, which must be at most
/// 2.
fn near(typed: &str) -> Vec<&'static str> {
    // A longer text is not a typing error, and computing the distance takes quadratic time.
    if typed == "/" || typed.len() > 16 {
        return Vec::new();
    }
    let folded = typed.to_lowercase();
    let distance = |name: &str| match name.starts_with(&folded) {
        true => 0,
        false => strsim::damerau_levenshtein(&folded, name),
    };
    let nearest = COMMANDS.iter().map(|(name, ..)| distance(name)).min().filter(|d| *d <= 2);
    COMMANDS.iter().map(|(name, ..)| *name).filter(|name| Some(distance(name)) == nearest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(line: &str) -> Command {
        match Turn::parse(line) {
            Ok(Turn::Do(command)) => command,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    #[test]
    fn a_line_without_a_slash_in_front_is_said_as_it_is() {
        for line in ["hello", " /help", "a / b", "q", "", "one\n/exit"] {
            assert_eq!(Turn::parse(line), Ok(Turn::Say(line.into())));
        }
    }

    #[test]
    fn a_doubled_slash_says_one() {
        for (line, said) in [("//x", "/x"), ("//", "/"), ("///", "//"), ("//exit now", "/exit now")] {
            assert_eq!(Turn::parse(line), Ok(Turn::Say(said.into())));
        }
    }

    #[test]
    fn every_command_is_understood() {
        assert_eq!(done("/help"), Command::Help);
        assert_eq!(done("/exit "), Command::Exit);
        assert_eq!(done("/clear"), Command::Clear);
        assert_eq!(done("/show"), Command::Show);
        assert_eq!(done("/undo"), Command::Undo);
        assert_eq!(done("/retry"), Command::Retry);
        assert_eq!(done("/system"), Command::System(None));
        assert_eq!(
            done("/system  Be brief.\nAnd kind. "),
            Command::System(Some("Be brief.\nAnd kind.".into()))
        );
        assert_eq!(done("/set  top-k 40"), Command::Set { name: "top-k".into(), value: "40".into() });
        assert_eq!(done("/save my chat.json"), Command::Save("my chat.json".into()));
        assert_eq!(done("/load a"), Command::Load("a".into()));
        assert_eq!(done("/load last"), Command::LoadLast);
        assert_eq!(done("/load ./last"), Command::Load("./last".into()));
        assert_eq!(done("/read\ta"), Command::Read("a".into()));
    }

    #[test]
    fn wrong_arguments_say_how_it_is_called() {
        for (line, message, usage) in [
            ("/help me", "/help takes no arguments", "/help"),
            ("/save", "/save takes the name of a file", "/save FILE"),
            ("/set", "/set takes a name and a value", "/set NAME VALUE"),
            ("/set top-k", "/set takes a name and a value", "/set NAME VALUE"),
            ("/set top-k 1 2", "/set takes a name and a value", "/set NAME VALUE"),
        ] {
            let error = Turn::parse(line).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(usage)));
        }
    }

    #[test]
    fn an_unknown_command_is_an_error_with_near_names() {
        let near = |line: &str| match Turn::parse(line) {
            Err(CommandError::Unknown { near, .. }) => near,
            other => panic!("{line:?} is {other:?}"),
        };
        assert_eq!(near("/hlep"), ["/help"]);
        assert_eq!(near("/Exit"), ["/exit"]);
        assert_eq!(near("/sys x"), ["/system"]);
        assert_eq!(near("/sav f"), ["/save"]);
        assert_eq!(near("/s"), ["/system", "/set", "/show", "/save"]);
        assert!(near("/usr/bin/env is missing").is_empty());
        assert!(near("/").is_empty());
        assert!(near(&format!("/{}", "x".repeat(1 << 20))).is_empty());
    }

    #[test]
    fn an_unknown_commands_error_is_one_line_without_control_characters() {
        let error = Turn::parse("/a\u{1b}[2J b").unwrap_err().to_string();
        assert_eq!(error, r#"there is no command "/a\u{1b}[2J""#);
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(done("/load ~/a b"), Command::Load(home.join("a b")));
        assert_eq!(done("/load ~a"), Command::Load("~a".into()));
    }

    #[test]
    fn help_names_every_command() {
        for (name, ..) in &COMMANDS {
            assert!(help().lines().any(|line| line.split(' ').next() == Some(name)), "{name}");
        }
    }
}
