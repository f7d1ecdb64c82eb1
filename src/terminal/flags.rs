//! Hints in the command's flags. The library's own hints name settings and no flags, which its callers do not have.
//!
//! Errors are printed in this room, whichever verb fails; so this one file of it knows the errors of other rooms.

use std::error::Error;
use std::io;

use crate::bench::{NoRoom, Smaller};
use crate::generate::{GenerationError, SamplingError};
use crate::hub::starter;
use crate::placement::{Remedy, would_fit};
use crate::system::environment::{self, HF_HUB_OFFLINE};
use crate::system::hinted::Hinted;
use crate::{checkpoint, hub, placement, runtime, text};

/// Returns the hint of an error whose remedy is a flag; `None` for other errors.
pub fn hint(cause: &(dyn Error + 'static)) -> Option<String> {
    let runtime = cause.downcast_ref().and_then(of_runtime);
    let placement = || cause.downcast_ref().and_then(of_placement);
    let checkpoint = || cause.downcast_ref().and_then(of_checkpoint);
    let hub = || cause.downcast_ref().and_then(of_hub);
    let text = || cause.downcast_ref().and_then(of_text);
    let bench = || cause.downcast_ref().map(of_bench);
    runtime.or_else(placement).or_else(checkpoint).or_else(hub).or_else(text).or_else(bench)
}

fn of_runtime(error: &runtime::Error) -> Option<String> {
    use runtime::Error::*;
    Some(match error {
        Unknown { typed, .. } if typed.contains(char::is_whitespace) => {
            "a prompt is given with -p TEXT".into()
        }
        NoCheckpoints { offline: true } => "name the folder of one: -m FOLDER".into(),
        Several { names } => format!("name one: -m {}", names.first()?),
        TwoSchemes => "leave --quantize out, or name the model without a scheme".into(),
        NotPlanned { scheme, .. } => format!("a run with --quantize {scheme} makes and keeps it"),
        CacheOnAccelerator => "--cache-dtype f16".into(),
        Context { context, .. } | Window { context, .. } => format!("--context-length {context}"),
        NotNumbers { narrow_cache: true }
        | Generation { reason: GenerationError::Sampling(SamplingError::NotNumbers), narrow_cache: true } => {
            format!("--cache-dtype {}", error.hint()?.trim_start_matches("a cache of "))
        }
        NotNumbers { .. }
        | Generation { reason: GenerationError::Sampling(SamplingError::NotNumbers), .. } => {
            format!("--dtype {}", error.hint()?)
        }
        Checkpoint(error) => of_checkpoint(error)?,
        Text(error) => of_text(error)?,
        Hub(error) => of_hub(error)?,
        Placement(error) => of_placement(error)?,
        _ => return None,
    })
}

fn of_placement(error: &placement::Error) -> Option<String> {
    use placement::Error::*;
    let in_flags = |remedy: &Remedy| match remedy {
        Remedy::AutomaticSplit => "the automatic split, without --split".into(),
        Remedy::Context(tokens) => format!("--context-length {tokens}"),
        Remedy::Quantize(scheme) => format!("--quantize {scheme}"),
        Remedy::MoreDevices { .. } => remedy.to_string(),
    };
    Some(match error {
        NotBuilt(feature) => {
            format!("--device cpu, or build it with `cargo build --release --features {feature}`")
        }
        NoSuchDevice(_) | Unusable { .. } => "--device cpu; `mist devices` lists the devices".into(),
        MoreDevicesThanLayers { layers, .. } => format!("at most --devices {layers}"),
        TooFew { found, .. } => format!("--devices {found}, or a list such as cuda:0,cpu"),
        SplitCount { parts, .. } => format!("--devices {parts}"),
        SplitSum { layers, .. } => format!("--split takes numbers that add up to {layers}"),
        EmptyShare(_) => "--split takes one number, at least 1, for each device".into(),
        MemoryCount { devices, .. } => {
            format!("--memory takes one size for all, or {devices} sizes separated by commas")
        }
        DoesNotFit { remedies, .. } if !remedies.is_empty() => would_fit(remedies, in_flags),
        _ => return None,
    })
}

fn of_checkpoint(error: &checkpoint::Error) -> Option<String> {
    use checkpoint::Error::*;
    Some(match error {
        SeveralGguf { folder, .. } => {
            format!("name one of them: --checkpoint-dir {}/FILE.gguf", folder.display())
        }
        OtherLayout { .. } => "--output-dir FOLDER writes elsewhere".into(),
        Write { reason, .. } if reason.kind() == io::ErrorKind::PermissionDenied => {
            "`mist convert --output-dir FOLDER` writes elsewhere".into()
        }
        Exists(_) => "--output-dir FOLDER writes elsewhere, --force overwrites it".into(),
        _ => return None,
    })
}

fn of_hub(error: &hub::Error) -> Option<String> {
    use hub::Error::*;
    let is_online = !environment::is_true(HF_HUB_OFFLINE);
    let fetched = |name: &str| format!("`mist download {name}` without --offline fetches it");
    Some(match error {
        NoRevision { .. } => "leave out --revision to get the main branch".into(),
        TokenFormat | TokenRefused { .. } => {
            format!("{}, or give it to `mist download` by --access-token", error.hint()?)
        }
        GatedWithoutToken { .. } => {
            format!("{}, or give a token to `mist download` by --access-token", error.hint()?)
        }
        NeverFetched { repo } if repo == starter::REPO && is_online => fetched("--starter"),
        NeverFetched { repo } if is_online => fetched(repo),
        Offline { repo, .. } if is_online => fetched(&repo.to_string()),
        SeveralGguf { files, .. } => format!("pick one: --file {}", files.first()?),
        Space { .. } => "free some space, or choose another disk with --checkpoints-dir".into(),
        OtherCommit { here, .. } => {
            format!(
                "--revision {here} stays with it; without --tokenizer-only and --file all is fetched anew"
            )
        }
        _ => return None,
    })
}

fn of_text(error: &text::Error) -> Option<String> {
    match error {
        text::Error::NoTokenizer(_) => Some("mist download --tokenizer-only --repo-id ORG/NAME".into()),
        text::Error::NoBos => Some("--no-bos encodes without it".into()),
        _ => None,
    }
}

fn of_bench(error: &NoRoom) -> String {
    let flag = |flag: &str, value: Option<usize>| value.map(|value| format!("--{flag} {value}"));
    match error.smaller {
        Smaller::Context { depth, prompt_tokens, generate_tokens } => {
            let flags = [
                flag("depth", depth),
                flag("prompt-tokens", prompt_tokens),
                flag("generate-tokens", generate_tokens),
            ];
            flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Smaller::WeightsAsStored => "leave --dtype out".into(),
        Smaller::Depth => "a smaller --depth, or --cache-dtype q8_0".into(),
        Smaller::Tokens => "fewer --prompt-tokens and --generate-tokens, or --cache-dtype q8_0".into(),
        Smaller::Sequences(sequences) => format!("--sequences {sequences}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: the library's hints named flags, which a program does not have.
    #[test]
    fn only_the_command_names_flags() {
        let errors: [(Box<dyn Error>, &str); 10] = [
            (Box::new(runtime::Error::CacheOnAccelerator), "--cache-dtype f16"),
            (Box::new(runtime::Error::Context { asked: 9, context: 8 }), "--context-length 8"),
            (
                Box::new(runtime::Error::NotNumbers { narrow_cache: true }),
                "--cache-dtype bf16 holds keys and values beyond 65504",
            ),
            (Box::new(runtime::Error::NotNumbers { narrow_cache: false }), "--dtype f32 holds the largest"),
            (
                Box::new(runtime::Error::Placement(placement::Error::TooFew { asked: 3, found: 2 })),
                "--devices 2, or a list",
            ),
            (Box::new(text::Error::NoBos), "--no-bos"),
            (Box::new(runtime::Error::TwoSchemes), "leave --quantize out"),
            (
                Box::new(placement::Error::SplitSum { split: "1,3".into(), sum: 4, layers: 5 }),
                "--split takes numbers that add up to 5",
            ),
            (Box::new(placement::Error::EmptyShare("0,2".into())), "--split takes one number"),
            (
                Box::new(placement::Error::MemoryCount { memory: "1GB,2GB".into(), parts: 2, devices: 3 }),
                "--memory takes one size for all, or 3 sizes",
            ),
        ];
        for (error, expected) in errors {
            let library = super::super::hinted(&*error).and_then(Hinted::hint).unwrap_or_default();
            let command = hint(&*error).unwrap_or_default();
            // A whole command in backticks may have flags.
            let outside: String = library.split('`').step_by(2).collect();
            assert!(
                !format!("{error} {outside}").contains("--") && !library.is_empty(),
                "{error}: {library}"
            );
            assert!(command.starts_with(expected), "{command}");
        }
    }
}
