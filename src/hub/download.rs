//! Runs a download, from the first request to the last rename.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::choice::{self, Wanted};
use super::client::{About, Client};
use super::engine::{self, Job};
use super::folder::{self, Folder};
use super::plan::{DownloadPlan, PlannedFile};
use super::{Commit, DownloadReport, Entry, Error, FileName, HubCache, Manifest, RepoId, Revision};
use crate::system::files::{self, free_space};

/// A request for a download.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repo: RepoId,
    /// The branch, tag or commit.
    pub revision: Revision,
    /// The root folder: files go to `root/ORG/NAME`.
    pub root: PathBuf,
    /// Whether to fetch only the small files, without weights.
    pub tokenizer_only: bool,
    /// The only weights to fetch, if given.
    pub file: Option<FileName>,
    /// A cache whose contents need not be fetched.
    pub cache: Option<HubCache>,
}

impl Request {
    fn folder(&self) -> PathBuf {
        self.repo.folder(&self.root)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { repo: &self.repo, tokenizer_only: self.tokenizer_only, file: self.file.as_ref() }
    }
}

/// The outcome for a file of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The folder had the complete file.
    Kept,
    /// The hub's own cache had the file.
    Cached,
    /// The file was fetched.
    Fetched,
}

/// Resolves the revision to a commit, lists it, chooses files, and reports the plan. Writes nothing, and reads at most the
/// index of the shards.
///
/// # Errors
/// The hub refuses the request; the repository is not a checkpoint.
pub fn plan(
    client: &Client,
    request: &Request,
    report: &mut dyn DownloadReport,
) -> Result<DownloadPlan, Error> {
    let repo = &request.repo;
    let commit = client.commit(repo, &request.revision, report)?;
    let listing = client.files(repo, &commit, report)?;
    let mut read = |index: &Entry| {
        let url = client.resolve(repo, &commit, &index.name);
        let about = About { repo, revision: &request.revision, file: Some(&index.name) };
        client.get(&url, about, choice::MAX_INDEX, report).map(|(_, body)| body)
    };
    let choice = choice::choose(request.wanted(), &listing, &mut read)?;
    let folder = request.folder();
    // A manifest that cannot be read is ignored and overwritten.
    let manifest = Manifest::read(&folder).ok().flatten();
    let files = choice.files.into_iter().map(|entry| {
        let vouched = manifest.as_ref().is_some_and(|m| m.vouches(repo, &commit, &entry, &folder));
        let here = here(&folder, &entry, vouched);
        let cached = request.cache.as_ref().filter(|_| here < entry.size);
        PlannedFile { here, cached: cached.and_then(|cache| cache.content(repo, &entry)), entry }
    });
    let files = files.collect();
    // If a file system does not report its free space, the download is tried.
    let free = free_space(&folder).ok();
    let (repo, commit, left_out) = (repo.clone(), Some(commit), choice.left_out);
    let plan = DownloadPlan { repo, commit, files, free, left_out, folder };
    report.plan(&plan);
    Ok(plan)
}

/// Returns the number of bytes of `entry` that `folder` has, as far as is known without reading the file.
fn here(folder: &Path, entry: &Entry, vouched: bool) -> u64 {
    let whole = folder::size_of(&folder.join(entry.name.as_str())) == Some(entry.size);
    match vouched || (whole && entry.hash.is_some()) {
        true => entry.size,
        false => engine::here(folder, entry),
    }
}

/// Fetches the missing files of a plan, until all are complete or `stop` is set. The outcomes are in the order of the
/// plan's files. The folder's manifest lists at any time which files are complete.
///
/// # Errors
/// The error of the first file that could not be fetched. Complete files and pieces of other files stay.
pub fn carry_out(
    client: &Client,
    plan: &DownloadPlan,
    stop: &AtomicBool,
    report: &mut dyn DownloadReport,
) -> Result<Vec<Outcome>, Error> {
    let Some(commit) = &plan.commit else {
        // The plan was made from the files on disk, so all of them exist.
        return Ok(vec![Outcome::Kept; plan.files.len()]);
    };
    let entries = plan.files.iter().map(|f| &f.entry);
    let earlier = Manifest::read(&plan.folder).ok().flatten();
    let vouched =
        |entry| earlier.as_ref().is_some_and(|m| m.vouches(&plan.repo, commit, entry, &plan.folder));
    if entries.clone().all(vouched) && earlier.as_ref().is_some_and(|m| m.is_at(&plan.repo, commit)) {
        // No file is missing, so the folder need not be writable.
        return Ok(vec![Outcome::Kept; plan.files.len()]);
    }
    if let Some((here, file)) = earlier.as_ref().and_then(|m| m.left_behind(plan)) {
        return Err(Error::OtherCommit { repo: plan.repo.clone(), here, file });
    }
    plan.check_space()?;
    let folder = Folder::claim(&plan.folder, stop, report)?;
    // Read again, since another process may have written to the folder in between.
    let earlier = Manifest::read(folder.path()).ok().flatten();
    let mut manifest = Manifest::new(&plan.repo, commit, entries.clone(), earlier.as_ref());
    let (mut outcomes, mut missing) = (Vec::with_capacity(plan.files.len()), Vec::new());
    for PlannedFile { entry, cached, .. } in &plan.files {
        if manifest.vouches(&plan.repo, commit, entry, folder.path()) {
            report.begin(&entry.name, entry.size, entry.size);
            report.end(&entry.name);
            outcomes.push(Outcome::Kept);
        } else if let Some(sha256) = folder.holds(entry, stop, report)? {
            manifest.finished(folder.path(), entry, sha256);
            outcomes.push(Outcome::Kept);
        } else if let Some(content) = cached
            && let Some(sha256) = folder.take(content, entry, stop, report)?
        {
            manifest.finished(folder.path(), entry, sha256);
            outcomes.push(Outcome::Cached);
        } else {
            manifest.expect(entry);
            missing.push(entry.clone());
            outcomes.push(Outcome::Fetched);
        }
    }
    if earlier.as_ref() != Some(&manifest) {
        manifest.write(folder.path())?;
    }
    // The files that describe the model come first, so that an interrupted download can be inspected.
    missing.sort_by_key(|entry| choice::is_weights(entry.name.as_str()));
    let job = Job { client, repo: &plan.repo, commit, folder: folder.opened(), entries: &missing, stop };
    engine::run(&job, report, &mut |entry, sha256| {
        manifest.finished(folder.path(), entry, sha256);
        manifest.write(folder.path())
    })?;
    Ok(outcomes)
}

/// Creates a plan from the files on disk, without a network. The folder must have weights with all their shards, the
/// files that describe them, and all files of its manifest.
///
/// # Errors
/// [`Error::NeverFetched`]; [`Error::Offline`], which names the missing files.
pub fn on_disk(request: &Request) -> Result<DownloadPlan, Error> {
    let path = request.folder();
    let offline =
        |missing: String| Error::Offline { repo: request.repo.clone(), folder: path.clone(), missing };
    if !files::exists(&path).map_err(Error::io("read", &path))? {
        return Err(Error::NeverFetched { repo: request.repo.to_string() });
    }
    let listing = folder::list(&path)?;
    let mut read = |index: &Entry| read_capped(&path.join(index.name.as_str()));
    let choice = choice::choose(request.wanted(), &listing, &mut read).map_err(|e| offline(e.to_string()))?;
    let manifest = Manifest::read(&path)?;
    let missing = manifest.as_ref().map(|m| m.missing(&path)).unwrap_or_default();
    let wanted = |name: &&FileName| {
        let weights = choice::is_weights(name.as_str());
        !weights || !request.tokenizer_only && request.file.as_ref().is_none_or(|f| f == *name)
    };
    if let Some(name) = missing.iter().find(wanted) {
        return Err(offline(format!("{name} has not been fetched whole")));
    }
    let asked = Commit::parse(&request.revision.to_string());
    let here = manifest.as_ref().and_then(Manifest::commit);
    if let Some(asked) = asked.filter(|asked| here.as_ref() != Some(asked)) {
        let here = here.map_or("an unknown commit".to_string(), |here| here.to_string());
        return Err(offline(format!("it is of {here}, not of {asked}")));
    }
    let files = choice.files.into_iter().map(|entry| PlannedFile { here: entry.size, entry, cached: None });
    let files = files.collect();
    let (repo, left_out) = (request.repo.clone(), choice.left_out);
    Ok(DownloadPlan { repo, commit: None, files, free: None, left_out, folder: path })
}

fn read_capped(path: &Path) -> Result<Vec<u8>, Error> {
    files::read(path, choice::MAX_INDEX).map_err(Error::io("read", path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn request(root: &Path) -> Request {
        Request {
            repo: "org/name".parse().unwrap(),
            revision: Revision::default(),
            root: root.to_path_buf(),
            tokenizer_only: false,
            file: None,
            cache: None,
        }
    }

    #[test]
    fn offline_a_folder_is_complete_when_its_index_is_satisfied() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("org/name");
        fs::create_dir_all(&folder).unwrap();
        let index = r#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#;
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(folder.join("model-1.safetensors"), "x").unwrap();
        fs::write(folder.join(".model-2.safetensors.partial"), "x").unwrap();
        let error = on_disk(&request(root.path())).unwrap_err();
        assert!(
            matches!(&error, Error::Offline { missing, .. } if missing.contains("model-2.safetensors")),
            "{error}"
        );

        fs::write(folder.join("model-2.safetensors"), "x").unwrap();
        assert_eq!(on_disk(&request(root.path())).unwrap().files.len(), 4);
    }

    #[test]
    fn offline_a_folder_that_is_not_there_is_not_complete() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(on_disk(&request(root.path())), Err(Error::NeverFetched { .. })));
    }
}
