//! `mist chat`: a conversation, with a person at a terminal or line by line from a pipe.
//!
//! | file | one idea |
//! |---|---|
//! | `choose` | which checkpoint, where none is named |
//! | `settings` | what `/set` changes |
//! | `talk` | a turn: from the message to the reply on the screen |
//! | `prompt` | a person's turns and commands |
//! | `pipe` | one turn a line |
//! | `keep` | the conversation is saved as it goes |

mod choose;
mod keep;
mod pipe;
mod prompt;
mod settings;
mod talk;

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::Path;

use clap::Args;
use mist::generate::Finish;
use mist::terminal::{Interrupt, Printer};

use self::keep::Keeper;
use self::settings::Settings;
use self::talk::Talk;
use super::exit::Status;
use super::model::{ContextArgs, ModelArgs};
use super::numbers::positive;
use super::placing::{DevicesArgs, Room};
use super::sampling::SamplingArgs;

/// Talk to a model.
#[derive(Args, Debug)]
#[command(
    mut_arg("checkpoint_dir", |path| path.help(CHECKPOINT)),
    after_help = "Example:\n  mist chat --checkpoint-dir mistralai/Mistral-7B-Instruct-v0.3"
)]
pub struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    devices: DevicesArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// What the model is told before the conversation.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// Go on with the conversation that was saved last, and save it again; its system prompt stays, if --system gives no other.
    #[arg(long)]
    r#continue: bool,
    /// Say this, and leave after the reply.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// End a reply before this text, or at the control token that it spells; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Most tokens of a reply; without it a reply ends where the model or its context does.
    #[arg(long, value_name = "N", value_parser = positive)]
    max_new_tokens: Option<NonZeroUsize>,
}

/// Help of `--checkpoint-dir`, which has a default here and nowhere else.
const CHECKPOINT: &str = "A folder, a .gguf file, or ORG/NAME under checkpoints/; by default the checkpoint that is \
                          there, or a small model that is fetched first";

/// Runs `mist chat`.
pub fn run(args: &ChatArgs, printer: &Printer) -> anyhow::Result<Status> {
    args.sampling.check()?;
    let at_terminal = std::io::stdin().is_terminal();
    let last = args.r#continue.then(keep::last).transpose()?;
    let interrupt = Interrupt::install()?;
    let path = match args.model.checkpoint.checkpoint_dir {
        Some(_) => args.model.checkpoint.path()?,
        None => choose::checkpoint(Path::new("checkpoints"), at_terminal, &interrupt, printer)?,
    };
    let mut opened = args.model.open(&path, printer)?;
    args.context.shorten(&mut opened)?;
    let sampling = args.sampling.sampling(&opened.checkpoint, printer)?;
    let room = Room::of_one(&opened.checkpoint, usize::MAX);
    let loaded = args.model.load(opened, &args.devices, room, printer)?;
    let seed = args.sampling.seed(&sampling, printer);
    let settings = Settings { sampling, seed, max_new_tokens: args.max_new_tokens };
    let mut talk = Talk::new(&loaded, settings, &args.stop, args.system.clone(), &interrupt, printer)?;
    // What scripts say is not what a person wants to go on with.
    let saves = args.r#continue || at_terminal && args.prompt.is_none();
    let mut keeper = Keeper::new(saves, &loaded.opened.name, printer);
    if let Some(last) = last {
        talk.conversation = keeper.go_on(last);
        if args.system.is_some() {
            talk.conversation.set_system(args.system.clone());
        }
    }
    match &args.prompt {
        Some(text) => {
            let finish = talk.say(text)?;
            keeper.save(&talk.conversation);
            Ok(status(finish))
        }
        None if at_terminal => prompt::run(&mut talk, &mut keeper, &path, &interrupt),
        None => pipe::run(&mut talk, &mut keeper),
    }
}

/// How a command ends whose last reply ended so.
fn status(finish: Finish) -> Status {
    match finish {
        Finish::Interrupted => Status::Interrupted,
        Finish::Stop | Finish::Length | Finish::Context => Status::Success,
    }
}
