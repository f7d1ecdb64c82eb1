//! Reads messages and commands from the keyboard.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::bail;
use mist::chat::{self, Command, Conversation, Turn};
use mist::terminal::{Editor, Input, Interrupt};

use super::keep::Keeper;
use super::talk::Talk;
use crate::cli::exit::{self, Status};

const PROMPT: &str = ">> Prompt: ";
const REPLY: &str = ">> Reply: ";

/// Handles typed messages and commands until the user leaves. `/show` prints `checkpoint`.
pub fn run(
    talk: &mut Talk,
    keeper: &mut Keeper,
    checkpoint: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Status> {
    // Between two prompts Ctrl-C never ends the chat, as the user may press it just after the end of a reply.
    let _listening = interrupt.listen();
    let mut editor = Editor::new()?;
    let printer = talk.printer;
    // A file gets the replies without labels.
    talk.label = if printer.stdout_is_terminal() { REPLY } else { "" };
    printer.note("/help lists the commands; Ctrl-C stops a reply; Ctrl-D or /exit leaves");
    loop {
        let input = editor.read(PROMPT)?;
        interrupt.take();
        let taken = take(input, talk, keeper, checkpoint);
        keeper.save(talk.chat.conversation());
        match taken {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(status)) => {
                if keeper.path().is_some() {
                    printer.note("The same command with --continue goes on with this conversation");
                }
                return Ok(status);
            }
            Err(error) if exit::is_broken_pipe(&error) => return Err(error),
            Err(error) => exit::show(&error, printer),
        }
    }
}

/// Handles an input. After an error the chat continues.
fn take(
    input: Input,
    talk: &mut Talk,
    keeper: &mut Keeper,
    checkpoint: &Path,
) -> anyhow::Result<ControlFlow<Status>> {
    let turn = match input {
        Input::Interrupted => return Ok(ControlFlow::Break(Status::Interrupted)),
        Input::End => return Ok(ControlFlow::Break(Status::Success)),
        Input::NotText => bail!("what was typed is not UTF-8 text: the line is not sent"),
        Input::Text(text) | Input::Quoted(text) if text.trim().is_empty() => {
            return Ok(ControlFlow::Continue(()));
        }
        Input::Text(text) => Turn::parse(&text)?,
        Input::Quoted(text) => Turn::Say(text),
    };
    match turn {
        Turn::Say(text) => drop(talk.say(&text)?),
        Turn::Do(command) => return obey(command, talk, keeper, checkpoint),
    }
    Ok(ControlFlow::Continue(()))
}

fn obey(
    command: Command,
    talk: &mut Talk,
    keeper: &mut Keeper,
    checkpoint: &Path,
) -> anyhow::Result<ControlFlow<Status>> {
    let printer = talk.printer;
    match command {
        Command::Exit => return Ok(ControlFlow::Break(Status::Success)),
        Command::Help => printer.show(&chat::help()),
        Command::Show => {
            printer.show(&format!("{:<15} {}\n", "checkpoint", checkpoint.display()));
            let saved = keeper.path().map_or("not yet".into(), |path| path.display().to_string());
            printer.show(&format!("{:<15} {saved}\n", "saved as"));
            for (name, value) in talk.chat.values()? {
                printer.show(&format!("{name:<15} {value}\n"));
            }
        }
        Command::Set { name, value } => {
            talk.chat.set(&name, &value)?;
            printer.note(&format!("{name} is {value}"));
        }
        Command::System(text) => {
            let now = if text.is_some() { "set" } else { "gone" };
            printer.note(&format!("The system prompt is {now}"));
            talk.chat.conversation_mut().set_system(text);
        }
        Command::Clear => {
            talk.chat.conversation_mut().clear();
            keeper.begin(talk.chat.conversation());
            printer.note("The conversation is cleared; the system prompt is kept");
        }
        Command::Undo => match talk.chat.conversation_mut().undo() {
            Some(exchange) => printer.note(&format!("Taken back: {}", beginning(&exchange.user))),
            None => bail!("there is no message to take back"),
        },
        Command::Retry => drop(talk.retry()?),
        Command::Save(path) => {
            talk.chat.conversation().save(&path)?;
            printer.note(&format!("Saved as {}", path.display()));
        }
        Command::Load(path) => {
            let loaded = Conversation::load(&path)?;
            keeper.begin(&loaded);
            let turns = loaded.exchanges().len();
            let is_unanswered = loaded.unanswered().is_some();
            *talk.chat.conversation_mut() = loaded;
            printer.note(&format!("Loaded {}, turns: {turns}", path.display()));
            if is_unanswered {
                printer.note("Its last message has no reply: /retry asks for it");
            }
        }
        Command::LoadLast => *talk.chat.conversation_mut() = keeper.load_last()?,
        Command::Read(path) => match chat::read_text(&path)? {
            text if text.trim().is_empty() => bail!("{} is empty", path.display()),
            text => drop(talk.say(&text)?),
        },
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns the beginning of a message, to identify it.
fn beginning(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(cut);
        line.push_str("...");
    }
    line
}
