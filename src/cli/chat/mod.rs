//! `mist chat`: holds a conversation on a terminal, or with one message per line from a pipe.
//!
//! | file | what |
//! |---|---|
//! | `choose` | the choice of a checkpoint if none is named |
//! | `talk` | a turn: from the message to the printed reply |
//! | `prompt` | messages and commands from the keyboard |
//! | `pipe` | messages from a pipe |
//! | `keep` | saving the conversation |

mod choose;
mod keep;
mod pipe;
mod prompt;
mod talk;

use std::io::IsTerminal;
use std::num::NonZeroUsize;

use clap::Args;
use mist::generate::Finish;
use mist::runtime::located::spoken_with;
use mist::runtime::{Options, Room};
use mist::store::Store;
use mist::system::numbers::positive;
use mist::terminal::{Interrupt, Printer};

use self::keep::Keeper;
use self::talk::Talk;
use super::exit::Status;
use super::model::{ContextArgs, ModelArgs};
use super::sampling::SamplingArgs;

/// Talk to a model.
#[derive(Args, Debug)]
#[command(
    mut_arg("model", |model| model.help(MODEL).long_help(MODEL)),
    after_help = "Example:\n  mist chat mistralai/Mistral-7B-Instruct-v0.3"
)]
pub struct ChatArgs {
    /// The system prompt.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Continue the last saved conversation, and save it again; --system replaces its system prompt.
    #[arg(long)]
    r#continue: bool,
    /// Send this message, and exit after the reply.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// End a reply before this text, or at the control token that it spells; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Sampling")]
    stop: Vec<String>,
    /// Maximum number of tokens of a reply [default: until the model or the context ends it].
    #[arg(short = 'n', long, value_name = "N", value_parser = positive)]
    max_new_tokens: Option<NonZeroUsize>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Help text of the model argument, whose default differs from that of other commands.
const MODEL: &str = "The model: ORG/NAME, a folder, a .gguf file, or a URL of the hub [default: the only model on this \
                     machine, or a small one to download]";

/// Runs `mist chat`.
pub fn run(args: &ChatArgs, printer: &Printer) -> anyhow::Result<Status> {
    args.sampling.check()?;
    let at_terminal = std::io::stdin().is_terminal();
    let last = args.r#continue.then(keep::last).transpose()?;
    let interrupt = Interrupt::install()?;
    let located = match args.model.checkpoint.typed() {
        Some(_) => args.model.locate(printer)?,
        None => {
            let store = Store::from_environment();
            // A saved conversation continues with its model.
            let spoken = last.as_ref().and_then(|saved| spoken_with(&store, &saved.model));
            let located = match spoken {
                Some(located) => located,
                None => choose::checkpoint(&store, at_terminal, &interrupt, printer)?,
            };
            args.model.with_scheme(located)?
        }
    };
    let mut opened = args.model.open(&located, printer)?;
    args.context.shorten(&mut opened)?;
    let sampling = args.sampling.sampling(&opened.checkpoint, printer)?;
    let room = Room::of_one(&opened.checkpoint, usize::MAX);
    let model = args.model.load(opened, room, printer)?;
    let seed = args.sampling.seed(&sampling, printer);
    let options = Options {
        sampling: Some(sampling),
        seed: Some(seed),
        max_new_tokens: args.max_new_tokens.map(usize::from),
        stop: args.stop.clone(),
        ..Options::default()
    };
    let mut chat = model.chat().options(options);
    chat.conversation_mut().set_system(args.system.clone());
    let mut talk = Talk::new(chat, &interrupt, printer);
    // Conversations of scripts are not saved, so that `--continue` finds the user's last one.
    let saves = args.r#continue || at_terminal && args.prompt.is_none();
    let mut keeper = Keeper::new(saves, model.name(), printer);
    if let Some(last) = last {
        *talk.chat.conversation_mut() = keeper.go_on(last);
        if args.system.is_some() {
            talk.chat.conversation_mut().set_system(args.system.clone());
        }
    }
    match &args.prompt {
        Some(text) => {
            let finish = talk.say(text)?;
            keeper.save(talk.chat.conversation());
            Ok(status(finish))
        }
        None if at_terminal => prompt::run(&mut talk, &mut keeper, &located.path, &interrupt),
        None => pipe::run(&mut talk, &mut keeper),
    }
}

/// Returns the outcome of the command after its last reply.
fn status(finish: Finish) -> Status {
    match finish {
        Finish::Interrupted => Status::Interrupted,
        Finish::Stop | Finish::Length | Finish::Context => Status::Success,
    }
}
