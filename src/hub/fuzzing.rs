//! Functions through which the fuzz targets reach private code of this room.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, LINK};

use super::{Digest, Entry, Hash, engine, listing};

fn entry(size: u64) -> Option<Entry> {
    Some(Entry { name: "x".parse().ok()?, size, hash: Some(Hash::Sha256(Digest([1; 32]))) })
}

/// Returns the number of bytes that a journal lists for a partial file of `size` bytes.
pub fn journal(text: &str, size: u64) -> u64 {
    entry(size).map_or(0, |entry| engine::said_by_journal(&entry, text, size))
}

/// Returns the first line of the journal of a file of `size` bytes.
pub fn heading(size: u64) -> String {
    entry(size).and_then(|entry| engine::journal_heading(&entry)).unwrap_or_default()
}

/// Returns the names of the files on a page of a listing, whose `Link` header is `link`.
pub fn listing(link: &str, body: &[u8]) -> Vec<String> {
    let mut headers = HeaderMap::new();
    if let (Ok(link), Ok(first)) =
        (HeaderValue::from_str(link), Url::parse("https://hub.test/api/models/a/b/tree/c"))
    {
        headers.insert(LINK, link);
        let next = listing::next_link(&headers).and_then(|link| listing::next_page(&first, link));
        // The next page is always on the same host.
        debug_assert!(next.is_none_or(|next| next.host_str() == first.host_str()));
    }
    let items = listing::page_items(body).unwrap_or_default();
    let entries = items.into_iter().filter_map(|item| listing::entry(item).ok().flatten());
    entries.map(|entry| entry.name.to_string()).collect()
}
