//! A model that is not on this machine: fetched, if the user agrees.

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use mist::hub::{self, Client, FileName, Plan, RepoId, Report, Request, Settings, Size};
use mist::quant::quantize::names;
use mist::store::{ModelName, NONE, Store, is_gguf};
use mist::terminal::{Interrupt, Printer, TerminalReport};

use super::exit::{Hint, Usage};
use super::located::{Wanted, is_offline, no_scheme, similar};

/// The folder of a user without a home and without a folder `checkpoints`.
pub fn downloads(store: &Store) -> anyhow::Result<PathBuf> {
    store.downloads().ok_or_else(|| {
        anyhow!("there is no folder for models: neither HOME nor MIST_HOME is set")
            .context(Hint("set MIST_HOME to a folder, or make the folder checkpoints here".into()))
    })
}

/// Fetches what `name` asks for of the repository `repo`: its weights, or the GGUF file of its variant.
pub fn fetch(
    store: &Store,
    name: &ModelName,
    repo: &RepoId,
    wanted: Wanted,
    yes: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    let asked = name.variant.as_ref().map_or(repo.to_string(), |variant| format!("{repo}:{variant}"));
    let typed = repo.to_string();
    // The hub's names are one in whatever letters; a folder's are not on every system.
    let in_other_letters = |name: &String| *name != typed && name.eq_ignore_ascii_case(&typed);
    if let Some(name) = similar(store, &typed).filter(in_other_letters) {
        return Err(Usage::with_hint(
            format!("{asked} is not on this machine"),
            format!("did you mean {name}?"),
        ));
    }
    if is_offline() {
        let error = anyhow!("{asked} is not on this machine, and HF_HUB_OFFLINE is set: nothing is fetched");
        return Err(error.context(Hint("`mist list` shows what is on this machine".into())));
    }
    let can_ask = io::stdin().is_terminal() && !printer.is_quiet();
    if !yes && !can_ask {
        let error = anyhow!("{asked} is not on this machine");
        return Err(
            error.context(Hint(format!("`mist download {asked}` fetches it, and so does --yes here")))
        );
    }
    let client = Client::new(Settings::from_environment(None)?)?;
    let request = Request {
        repo: repo.clone(),
        revision: name.revision.clone().unwrap_or_default(),
        root: downloads(store)?,
        tokenizer_only: wanted == Wanted::Tokenizer,
        file: name.file.clone(),
        cache: store.cache().cloned(),
    };
    let mut report = TerminalReport::new(printer);
    let plan = plan(&client, request, name.variant.as_deref(), &mut report);
    let plan = plan.map_err(|error| match error.downcast_ref() {
        Some(hub::Error::Unreachable { .. }) => error.context(format!("{asked} is not on this machine")),
        _ => error,
    })?;
    plan.check_space()?;
    if !yes && !agrees(&plan, printer)? {
        return Err(anyhow!("{asked} was not fetched"));
    }
    report.carry_out(&client, &plan, &Interrupt::install()?, &format!("mist download {asked}"))?;
    Ok(())
}

/// The plan of a download. Of several GGUF files the one whose name ends with `variant`.
pub fn plan(
    client: &Client,
    request: Request,
    variant: Option<&str>,
    report: &mut dyn Report,
) -> anyhow::Result<Plan> {
    let repo = request.repo.clone();
    let files = match hub::plan(client, &request, report) {
        Err(hub::Error::SeveralGguf { files, .. }) => files,
        planned => return check_variant(planned?, variant),
    };
    let Some(variant) = variant else {
        let names: Vec<&str> = files.iter().map(FileName::as_str).collect();
        let error = format!("{repo} has {} GGUF files: {}", files.len(), names.join(", "));
        return Err(Usage::with_hint(
            error,
            match files.iter().find_map(variant_of) {
                Some(first) => format!("name one by its quantization: {repo}:{first}"),
                None => format!("`mist download {repo} --file {}` fetches one", files[0]),
            },
        ));
    };
    match files.iter().find(|file| mist::store::is_variant(Path::new(file.as_str()), variant)) {
        Some(file) => Ok(hub::plan(client, &Request { file: Some(file.clone()), ..request }, report)?),
        None => {
            let there: Vec<&str> = files.iter().map(FileName::as_str).collect();
            Err(anyhow!("{repo} has no GGUF file {variant}: there are {}", there.join(", ")))
        }
    }
}

/// A plan, if its weights are what the variant asks for: a file of that name, or weights that can be quantized to it.
pub fn check_variant(plan: Plan, variant: Option<&str>) -> anyhow::Result<Plan> {
    let Some(variant) = variant else { return Ok(plan) };
    let mut ggufs =
        plan.files.iter().map(|file| &file.entry.name).filter(|name| is_gguf(Path::new(name.as_str())));
    let is_file = ggufs.clone().any(|file| mist::store::is_variant(Path::new(file.as_str()), variant));
    match (is_file, ggufs.next(), names::named(variant)) {
        (true, ..) | (false, None, Some(_)) => Ok(plan),
        (false, Some(_), _) if names::own(variant).is_some() => Ok(plan),
        (false, Some(file), _) => Err(anyhow!("{} has no GGUF file {variant}: there is {file}", plan.repo)),
        (false, None, None) if variant.eq_ignore_ascii_case(NONE) => Ok(plan),
        (false, None, None) => Err(no_scheme(&plan.repo.to_string(), variant)),
    }
}

fn variant_of(file: &FileName) -> Option<&str> {
    mist::store::variant(Path::new(file.as_str()))
}

/// Asks whether to fetch a plan, which has been shown.
fn agrees(plan: &Plan, printer: &Printer) -> anyhow::Result<bool> {
    let missing = Size(plan.missing());
    ask(&format!("Fetch {missing} of {}? [Y/n] ", plan.repo), true, &mut io::stdin().lock(), printer)
}

/// Asks a question on stderr until `answers` has yes or no; an empty line is `default`.
pub fn ask(
    question: &str,
    default: bool,
    answers: &mut impl BufRead,
    printer: &Printer,
) -> anyhow::Result<bool> {
    loop {
        printer.show(question);
        let mut line = String::new();
        if answers.read_line(&mut line).context("cannot read the answer")? == 0 {
            return Ok(false);
        }
        match line.trim().to_ascii_lowercase().as_str() {
            "" => return Ok(default),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_until_it_is_answered() {
        let printer = Printer::new(true, false);
        for (answers, default, expected) in [
            ("y\n", false, true),
            ("perhaps\nYES\n", false, true),
            ("n\n", true, false),
            ("\n", true, true),
            ("\n", false, false),
            ("", true, false),
        ] {
            let answered = ask("", default, &mut answers.as_bytes(), &printer).unwrap();
            assert_eq!(answered, expected, "{answers:?}");
        }
    }
}
