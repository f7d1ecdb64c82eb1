//! Writes conversions: locks the folder, leaves no files after an interrupt, and verifies before originals are deleted.

use std::io;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::opened::{refuse_half_a_download, warn};
use super::report::{Report, Step};
use super::sidecars::sidecar_files;
use crate::checkpoint;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::convert::plan::ConversionPlan;
use crate::checkpoint::layouts::mist;
use crate::checkpoint::open::Checkpoint;
use crate::hub::Manifest;
use crate::quant::Scheme;
use crate::system::files::{Claim, folder_of};

/// Claims the folder of a conversion, and waits while another process writes there. Follows no links below `base`.
///
/// # Errors
/// The wait is interrupted ([`Error::Interrupted`]); the folder cannot be created or locked.
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

/// Quantizes a checkpoint to the `mist` layout in `folder`, unless the conversion exists. `force` replaces existing files.
///
/// # Errors
/// The originals are partly downloaded; the conversion cannot be planned; a file exists already; the errors of [`write()`].
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
        plan.delete_abandoned()?;
        report.note(&format!("already converted to {scheme}"));
        return Ok(());
    }
    warn_of_blocks(checkpoint, report);
    plan.check(force)?;
    write(&plan, false, report)
}

/// Warns if the weights are already quantized, so that they are rounded twice.
pub fn warn_of_blocks(checkpoint: &Checkpoint, report: &mut dyn Report) {
    let matrices = checkpoint.weights.matrices(checkpoint.config.tied_head);
    if matrices.iter().any(|(_, matrix)| matrix.parts().any(|(scheme, _)| !scheme.is_dense())) {
        report.warn("the weights are already quantized; quantizing twice loses more than quantizing once");
    }
}

/// Writes the files of a plan. With `verify`, reads them again and compares them with the originals.
///
/// # Errors
/// The user stops it ([`Error::Interrupted`]); a file cannot be written, or differs from what was written.
pub fn write(plan: &ConversionPlan, verify: bool, report: &mut dyn Report) -> Result<(), Error> {
    let written = pass(Step::Converting, plan, report, &|progress| plan.write(progress));
    if written.is_err() {
        stop_before(report)?;
    }
    written?;
    stop_if_asked(report)?;
    if verify {
        report.note("Comparing the conversion with the originals");
        let verified = pass(Step::Verifying, plan, report, &|progress| plan.verify(progress));
        stop_if_asked(report)?;
        verified?;
    }
    Ok(())
}

/// A pass over the weights, which reports progress in bytes to its callback and stops at the callback's error.
type Work<'a> = dyn Fn(&mut dyn FnMut(u64) -> io::Result<()>) -> Result<(), checkpoint::Error> + 'a;

fn pass(
    step: Step,
    plan: &ConversionPlan,
    report: &mut dyn Report,
    work: &Work<'_>,
) -> Result<(), checkpoint::Error> {
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

/// Checks that the user has not stopped a conversion that has written nothing yet.
///
/// # Errors
/// The user has stopped it ([`Error::Interrupted`]).
pub fn stop_before(report: &mut dyn Report) -> Result<(), Error> {
    if !report.is_stopped() {
        return Ok(());
    }
    report.note("Stopped: nothing was written");
    Err(Error::Interrupted)
}

/// Checks that the user has not stopped a conversion that is already complete.
fn stop_if_asked(report: &mut dyn Report) -> Result<(), Error> {
    if !report.is_stopped() {
        return Ok(());
    }
    report.note("Stopped: the conversion is complete, and the originals are kept");
    Err(Error::Interrupted)
}

/// Deletes the original weights after the comparison with the conversion. Keeps the small files: description and tokenizer.
///
/// # Errors
/// A file cannot be deleted ([`Error::Delete`]); the manifest of the download cannot be written.
pub fn delete_originals(
    checkpoint: &Checkpoint,
    plan: &ConversionPlan,
    report: &mut dyn Report,
) -> Result<(), Error> {
    // Compares canonical paths: `x` and `./x` are the same file.
    let same = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.into());
    let written: Vec<PathBuf> = plan.files().iter().map(|(file, _)| same(file)).collect();
    let originals: Vec<_> = checkpoint.files.iter().filter(|file| !written.contains(&same(file))).collect();
    for file in &originals {
        match folder_of(file).and_then(|(folder, name)| folder.remove(name)) {
            // The conversion already removed it: an index of shards is gone once the new files replace it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            deleted => deleted.map_err(|reason| Error::Delete { path: file.to_path_buf(), reason })?,
        }
        report.note(&format!("Deleted {}", file.display()));
    }
    // Deleted originals must not count as missing files of the download.
    let names = originals.iter().filter_map(|file| file.file_name()?.to_str());
    Manifest::forget(&checkpoint.folder, &names.collect::<Vec<_>>())?;
    Ok(())
}
