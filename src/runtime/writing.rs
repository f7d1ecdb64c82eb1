//! A conversion is written: one process at a time, stopped without a trace, and compared with its originals before these are
//! deleted.

use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::opened::{refuse_half_a_download, warn};
use super::report::{Report, Step};
use super::sidecars::sidecar_files;
use crate::checkpoint;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::convert::plan::Plan;
use crate::checkpoint::layouts::mist;
use crate::checkpoint::open::Checkpoint;
use crate::hub::Manifest;
use crate::quant::Scheme;
use crate::system::files::{Claim, folder_of};

/// Claims the folder that a conversion goes to, waiting for another process that writes there. What of its way lies in `base`
/// is not followed.
///
/// # Errors
/// [`Error::Interrupted`]; the folder cannot be made or locked.
pub fn claim(base: Option<&Path>, folder: &Path, report: &mut dyn Report) -> Result<Claim, Error> {
    let mut waiting = false;
    let claim = Claim::new(base, folder, &mut || {
        if !waiting {
            report.note(&format!("another mist is writing to {}; waiting for it", folder.display()));
        }
        waiting = true;
        !report.is_stopped()
    });
    let claim = claim.map_err(|error| match error.source.kind() {
        io::ErrorKind::Interrupted => {
            report.note("Stopped: nothing was written");
            Error::Interrupted
        }
        _ => checkpoint::Error::write(&error.path)(error.source).into(),
    })?;
    if let Some(error) = claim.unlocked() {
        report
            .warn(&format!("{} cannot be locked ({error}): let no other mist write to it", folder.display()));
    }
    Ok(claim)
}

/// Quantizes a checkpoint to the `mist` format in `folder`, unless that has been done; `force` replaces what is there.
///
/// # Errors
/// Those of planning and [`write`].
pub fn quantize(
    checkpoint: &Checkpoint,
    folder: &Path,
    scheme: Scheme,
    force: bool,
    report: &mut dyn Report,
) -> Result<(), Error> {
    refuse_half_a_download(checkpoint)?;
    warn(checkpoint, report);
    let rounding = Rounding { quantize: Some(scheme), ..Rounding::default() };
    let plan = mist::plan(checkpoint, folder, rounding, sidecar_files(checkpoint, folder)?)?;
    let plan = plan.without_links_in(&checkpoint.folder);
    if plan.is_there() {
        report.note(&format!("already converted to {scheme}"));
        return Ok(());
    }
    warn_of_blocks(checkpoint, report);
    plan.check(force)?;
    write(&plan, false, report)
}

/// Warns of weights that are rounded for the second time.
pub fn warn_of_blocks(checkpoint: &Checkpoint, report: &mut dyn Report) {
    let matrices = checkpoint.weights.matrices(checkpoint.config.tied_head);
    if matrices.iter().any(|(_, matrix)| matrix.parts().any(|(scheme, _)| !scheme.is_dense())) {
        report.warn("the weights are quantized already; doing it again loses more than doing it once");
    }
}

/// Writes what is planned, and with `verify` reads it again and compares it with the originals.
///
/// # Errors
/// [`Error::Interrupted`]; a file cannot be written, or does not hold what was written.
pub fn write(plan: &Plan, verify: bool, report: &mut dyn Report) -> Result<(), Error> {
    let written = pass(Step::Converting, plan, report, &|progress| plan.write(progress));
    if written.is_err() && report.is_stopped() {
        report.note("Stopped: nothing was written");
        return Err(Error::Interrupted);
    }
    written?;
    stop_if_asked(report)?;
    if verify {
        report.note("Reading it again, to compare it with the originals");
        let verified = pass(Step::Verifying, plan, report, &|progress| plan.verify(progress));
        stop_if_asked(report)?;
        verified?;
    }
    Ok(())
}

/// A pass over the weights, which reports every run of bytes.
type Work<'a> = dyn Fn(&mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), checkpoint::Error> + 'a;

fn pass(step: Step, plan: &Plan, report: &mut dyn Report, work: &Work<'_>) -> Result<(), checkpoint::Error> {
    report.begin(step, plan.weights_size());
    let done = work(&mut |bytes| {
        report.progress(bytes);
        match report.is_stopped() {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        }
    });
    report.end();
    done
}

/// Ends a conversion that is complete, if that was asked for.
fn stop_if_asked(report: &mut dyn Report) -> Result<(), Error> {
    if !report.is_stopped() {
        return Ok(());
    }
    report.note("Stopped: the conversion is complete, and the originals are there as well");
    Err(Error::Interrupted)
}

/// Deletes the original weights, which the conversion was compared with, and no other file: what describes the model
/// and its text is small.
///
/// # Errors
/// [`Error::Delete`]; the list of what was downloaded cannot be written.
pub fn delete_originals(checkpoint: &Checkpoint, plan: &Plan, report: &mut dyn Report) -> Result<(), Error> {
    // By what they are, not by how they are called: `x` is `./x`.
    let same = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.into());
    let written: Vec<PathBuf> = plan.files().iter().map(|(file, _)| same(file)).collect();
    let originals: Vec<_> = checkpoint.files.iter().filter(|file| !written.contains(&same(file))).collect();
    for file in &originals {
        match folder_of(file).and_then(|(folder, name)| folder.remove(name)) {
            // An index of shards that the new files took the place of.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            deleted => deleted.map_err(|source| Error::Delete { path: file.to_path_buf(), source })?,
        }
        report.note(&format!("Deleted {}", file.display()));
    }
    // What was deleted on purpose is not missing.
    let names = originals.iter().filter_map(|file| file.file_name()?.to_str());
    Manifest::forget(&checkpoint.folder, &names.collect::<Vec<_>>())?;
    Ok(())
}
