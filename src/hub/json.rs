//! Downloads and the catalogue as JSON, for programs.

use serde_json::{Value, json};

use super::catalogue::{self, ENTRIES};
use super::{DownloadPlan, FileName, Outcome, PlannedFile};

/// Returns a plan as JSON, with the outcome of each file, or its state before the download if `outcomes` is `None`.
pub fn plan_as_json(plan: &DownloadPlan, outcomes: Option<&[Outcome]>) -> Value {
    let status = |i: usize, file: &PlannedFile| match outcomes.and_then(|o| o.get(i)) {
        Some(Outcome::Kept) => "kept",
        Some(Outcome::Cached) => "cached",
        Some(Outcome::Fetched) => "fetched",
        None if file.here == file.entry.size => "here",
        None if file.cached.is_some() => "cached",
        None if file.here > 0 => "partial",
        None => "missing",
    };
    let files = plan.files.iter().enumerate().map(|(i, file)| {
        json!({
            "name": file.entry.name.as_str(),
            "size": file.entry.size,
            "sha256": file.entry.hash.and_then(|h| h.sha256()).map(|d| d.to_string()),
            "status": status(i, file),
        })
    });
    json!({
        "repository": plan.repo.to_string(),
        "commit": plan.commit.as_ref().map(|c| c.as_str()),
        "folder": plan.folder.to_string_lossy(),
        "files": files.collect::<Vec<_>>(),
        "total_bytes": plan.total(),
        "missing_bytes": plan.missing(),
        "free_bytes": plan.free,
        "left_out": plan.left_out.iter().map(FileName::as_str).collect::<Vec<_>>(),
    })
}

/// Returns the repositories that `mist download` lists.
pub fn catalogue_as_json() -> Value {
    let repository = |entry: &catalogue::Entry| {
        json!({
            "name": entry.name,
            "parameters": entry.parameters,
            "active_parameters": entry.active,
            "context": entry.context,
            "bytes": entry.disk_bytes(),
            "licence": entry.licence,
            "gated": entry.gated,
        })
    };
    json!({ "repositories": ENTRIES.iter().map(repository).collect::<Vec<_>>() })
}
