//! Chooses the files of a repository that a model's name selects.

use std::path::Path;

use super::error::Error;
use crate::hub::{self, Client, DownloadPlan, DownloadReport, FileName, Request};
use crate::quant::quantize::names;
use crate::store::{NONE, is_gguf, is_variant, variant};

/// Plans a download. `asked` chooses among several GGUF files by the end of their names.
///
/// # Errors
/// There are several GGUF files and `asked` is `None` ([`Error::SeveralGguf`]); the errors of [`check_variant`] and
/// [`hub::plan`].
pub fn plan(
    client: &Client,
    request: Request,
    asked: Option<&str>,
    report: &mut dyn DownloadReport,
) -> Result<DownloadPlan, Error> {
    let repository = request.repo.to_string();
    let files = match hub::plan(client, &request, report) {
        Err(hub::Error::SeveralGguf { files, .. }) => files,
        planned => return check_variant(planned?, asked),
    };
    let names = || files.iter().map(FileName::to_string).collect();
    let Some(asked) = asked else {
        let first = files.iter().find_map(|file| variant(Path::new(file.as_str())));
        return Err(Error::SeveralGguf { repository, files: names(), variant: first.map(str::to_owned) });
    };
    match files.iter().find(|file| is_variant(Path::new(file.as_str()), asked)) {
        Some(file) => Ok(hub::plan(client, &Request { file: Some(file.clone()), ..request }, report)?),
        None => Err(Error::NoGguf { repository, variant: asked.into(), files: names() }),
    }
}

/// Returns the plan if its weights fit the variant: a GGUF file of this variant, or weights to quantize to this scheme.
///
/// # Errors
/// The repository has GGUF files, none of this variant ([`Error::NoGguf`]); the variant is not a scheme
/// ([`Error::NoScheme`]).
pub fn check_variant(plan: DownloadPlan, asked: Option<&str>) -> Result<DownloadPlan, Error> {
    let Some(variant) = asked else { return Ok(plan) };
    let mut ggufs =
        plan.files.iter().map(|file| &file.entry.name).filter(|name| is_gguf(Path::new(name.as_str())));
    let is_file = ggufs.clone().any(|file| is_variant(Path::new(file.as_str()), variant));
    let (repository, variant) = (plan.repo.to_string(), variant.to_owned());
    match (is_file, ggufs.next(), names::named(&variant)) {
        (true, ..) | (false, None, Some(_)) => Ok(plan),
        (false, Some(_), _) if names::own(&variant).is_some() => Ok(plan),
        (false, Some(file), _) => Err(Error::NoGguf { repository, variant, files: vec![file.to_string()] }),
        (false, None, None) if variant.eq_ignore_ascii_case(NONE) => Ok(plan),
        (false, None, None) => Err(Error::NoScheme { name: repository, variant }),
    }
}
