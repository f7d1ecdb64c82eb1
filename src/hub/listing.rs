//! Resolves a revision to a commit, and a commit to a list of files with sizes and hashes.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;

use super::client::{About, Client};
use super::hash::BlobId;
use super::{Commit, Digest, DownloadReport, Entry, Error, FileName, Hash, RepoId, Revision};
use crate::json::{self, Capped};

/// Maximum size of a response in bytes. A page of a listing has at most 1000 entries of a few hundred bytes, and a
/// model card's metadata is not much larger.
const MAX_ANSWER: u64 = 8 << 20;
/// Maximum number of pages of a listing, more than any checkpoint has.
const MAX_PAGES: usize = 100;
/// Maximum number of files of a repository, more than any checkpoint has.
const MAX_FILES: usize = 10_000;

#[derive(Deserialize)]
struct RevisionResponse {
    sha: String,
}

#[derive(Deserialize)]
pub(super) struct TreeItem {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    size: Option<u64>,
    #[serde(default)]
    oid: String,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

impl Client {
    /// Resolves a revision to its current commit.
    ///
    /// # Errors
    /// The hub refuses the request; the response is malformed.
    pub(super) fn commit(
        &self,
        repo: &RepoId,
        revision: &Revision,
        report: &mut dyn DownloadReport,
    ) -> Result<Commit, Error> {
        let about = About { repo, revision, file: None };
        let url = self.api(repo, ["revision", revision.as_str()]);
        let (_, body) = self.get(&url, about, MAX_ANSWER, report)?;
        let response: RevisionResponse =
            json::skimmed(&body).map_err(|e| self.broken(about, format!("is not a revision: {e}")))?;
        Commit::parse(&response.sha)
            .ok_or_else(|| self.broken(about, "names no commit of 40 hexadecimal digits"))
    }

    /// Lists the files of a commit. Files in folders and files without a plain file name are left out, since no file of a
    /// checkpoint is among them.
    ///
    /// # Errors
    /// The hub refuses the request; a response is malformed.
    pub(super) fn files(
        &self,
        repo: &RepoId,
        commit: &Commit,
        report: &mut dyn DownloadReport,
    ) -> Result<Vec<Entry>, Error> {
        let about = About { repo, revision: &commit.as_revision(), file: None };
        let first = {
            let mut url = self.api(repo, ["tree", commit.as_str()]);
            url.query_pairs_mut().append_pair("recursive", "true");
            url
        };
        let (mut files, mut ids) = (Vec::new(), Ids::default());
        let mut page = first.clone();
        for _ in 0..MAX_PAGES {
            let (headers, body) = self.get(&page, about, MAX_ANSWER, report)?;
            for item in page_items(&body).map_err(|why| self.broken(about, why))? {
                let oid = BlobId::parse(&item.oid);
                if files.len() >= MAX_FILES {
                    return Err(self.broken(about, format!("has more than {MAX_FILES} files")));
                }
                if let Some(entry) = entry(item).map_err(|why| self.broken(about, why))? {
                    ids.see(&entry, oid);
                    files.push(entry);
                }
            }
            let Some(link) = next_link(&headers) else {
                ids.give(&mut files);
                return Ok(files);
            };
            page = next_page(&first, link)
                .ok_or_else(|| self.broken(about, "has a next page without a cursor"))?;
        }
        Err(self.broken(about, format!("goes on after {MAX_PAGES} pages")))
    }

    fn api<const N: usize>(&self, repo: &RepoId, rest: [&str; N]) -> Url {
        self.endpoint().join(["api", "models"].into_iter().chain(repo.parts()).chain(rest))
    }
}

/// Parses a page of a listing.
pub(super) fn page_items(body: &[u8]) -> Result<Vec<TreeItem>, String> {
    let Capped::<TreeItem, MAX_FILES>(items) =
        json::skimmed(body).map_err(|e| format!("is not a listing: {e}"))?;
    Ok(items)
}

/// Converts an entry, if it is a file with a plain file name.
pub(super) fn entry(item: TreeItem) -> Result<Option<Entry>, String> {
    let Some(name) = FileName::parse(&item.path).filter(|_| item.kind == "file") else {
        return Ok(None);
    };
    let Some(large) = item.lfs else {
        let size = item.size.ok_or_else(|| format!("has no size for {name}"))?;
        return Ok(Some(Entry { name, size, hash: None }));
    };
    match Digest::parse(&large.oid) {
        Some(digest) => Ok(Some(Entry { name, size: large.size, hash: Some(Hash::Sha256(digest)) })),
        None => Err(format!("has no sha256 for {name}")),
    }
}

/// Checks which ids of a listing are git's. Some mirrors invent ids, so the ids of small files are only trusted if the
/// listing's id of a file in large-file storage is that of git's pointer, which can be computed.
#[derive(Debug, Default)]
struct Ids {
    small: BTreeMap<FileName, BlobId>,
    are_gits: bool,
}

impl Ids {
    fn see(&mut self, entry: &Entry, id: Option<BlobId>) {
        match (id, entry.hash) {
            (Some(id), Some(Hash::Sha256(digest))) => {
                self.are_gits |= id == BlobId::of_pointer(digest, entry.size);
            }
            (Some(id), None) => drop(self.small.insert(entry.name.clone(), id)),
            _ => {}
        }
    }

    fn give(self, files: &mut [Entry]) {
        for file in files.iter_mut().filter(|file| self.are_gits && file.hash.is_none()) {
            file.hash = self.small.get(&file.name).copied().map(Hash::GitBlob);
        }
    }
}

/// Returns the target of `Link: <…>; rel="next"`.
pub(super) fn next_link(headers: &HeaderMap) -> Option<&str> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|part| part.contains("rel=\"next\""))?;
    Some(next.trim_start().trim_start_matches('<').split('>').next().unwrap_or_default())
}

/// Returns the address of the page that `link` names. Only its cursor is used: the token must not follow a link to
/// another host, and mirrors pass the hub's own links through.
pub(super) fn next_page(first: &Url, link: &str) -> Option<Url> {
    let target = first.join(link).ok()?;
    let (_, cursor) = target.query_pairs().find(|(key, _)| key == "cursor")?;
    let mut url = first.clone();
    url.query_pairs_mut().append_pair("cursor", &cursor);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_held_to_gits_ids_only_if_it_gives_gits_ids() {
        let digest = Digest([7; 32]);
        let ids_of = |pointer: BlobId| {
            let small = Entry { name: "config.json".parse().unwrap(), size: 2, hash: None };
            let large = Entry { name: "m.bin".parse().unwrap(), size: 9, hash: Some(Hash::Sha256(digest)) };
            let (mut ids, mut files) = (Ids::default(), [small, large]);
            ids.see(&files[0], BlobId::parse(&"a".repeat(40)));
            ids.see(&files[1], Some(pointer));
            ids.give(&mut files);
            files.map(|f| f.hash)
        };
        let [small, large] = ids_of(BlobId::of_pointer(digest, 9));
        assert_eq!(small, BlobId::parse(&"a".repeat(40)).map(Hash::GitBlob));
        assert_eq!(large, Some(Hash::Sha256(digest)));
        assert_eq!(ids_of(BlobId::of_pointer(digest, 8))[0], None);
    }

    #[test]
    fn a_link_to_another_host_gives_its_cursor_and_nothing_else() {
        let first = Url::parse("https://hub.test/api/models/a/b/tree/c?recursive=true").unwrap();
        let link = "<https://evil.test/x?limit=1&cursor=abc%3D%26d>; rel=\"next\"";
        let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
        let next = next_page(&first, next_link(&headers).unwrap()).unwrap();
        assert_eq!(next.host_str(), Some("hub.test"));
        assert_eq!(next.query(), Some("recursive=true&cursor=abc%3D%26d"));
    }
}
