//! Parses the names by which a user selects a model.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::hub::{FileName, RepoId, Revision};
use crate::system::environment::{self, HF_ENDPOINT};

/// A parsed model name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelName {
    /// The path as typed; `ORG/NAME` for an address and for a name with a variant.
    pub path: PathBuf,
    /// The repository, if the name can be one of a repository.
    pub repo: Option<RepoId>,
    /// The text after the colon: a scheme, or the quantization in a GGUF file's name.
    pub variant: Option<String>,
    /// The branch, tag or commit in an address.
    pub revision: Option<Revision>,
    /// The GGUF file in an address. The address of any other file stands for its repository.
    pub file: Option<FileName>,
}

impl ModelName {
    /// Parses a model name as typed. This never fails: any other text is a path.
    pub fn parse(typed: &OsStr) -> Self {
        let path = |typed: &OsStr| Self {
            path: typed.into(),
            repo: None,
            variant: None,
            revision: None,
            file: None,
        };
        let Some(text) = typed.to_str() else { return path(typed) };
        if let Some(address) = address(text.trim()) {
            return address;
        }
        // A colon may also be part of a path.
        let (name, variant) = match text.rsplit_once(':') {
            Some((name, variant)) if is_quantization(variant) => (name, Some(variant.to_string())),
            _ => (text, None),
        };
        Self { path: name.into(), repo: name.parse().ok(), variant, revision: None, file: None }
    }

    /// Returns whether the path can be looked up in a folder of checkpoints without leading out of it.
    pub(super) fn is_plain(&self) -> bool {
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        self.path.components().all(plain) && !self.path.as_os_str().is_empty()
    }
}

/// Hosts of the hub. The host of `HF_ENDPOINT` is accepted as well.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];

/// First path components of hub addresses that are not models.
const NO_MODELS: [&str; 8] =
    ["datasets", "spaces", "collections", "docs", "papers", "blog", "api", "settings"];

/// Parses an address such as `https://huggingface.co/ORG/NAME/blob/main/FILE`, as a browser shows it.
fn address(text: &str) -> Option<ModelName> {
    let own = environment::value(HF_ENDPOINT);
    let rest = match text.strip_prefix("hf://") {
        Some(rest) => rest,
        None => {
            let lower = text.to_ascii_lowercase();
            let scheme = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme));
            let bare = &text[scheme.map_or(0, str::len)..];
            let own = own.as_deref().map(|own| own.split_once("://").map_or(own, |(_, host)| host));
            let hosts = HOSTS.into_iter().chain(own.map(|own| own.trim_end_matches('/')));
            hosts.filter_map(|host| after(bare, host)).next()?
        }
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut parts = rest.splitn(3, '/');
    let (org, name) = (parts.next()?, parts.next()?);
    if NO_MODELS.contains(&org) {
        return None;
    }
    let (name, variant) = match name.split_once(':') {
        Some((name, variant)) if is_quantization(variant) => (name, Some(variant.to_string())),
        Some(_) => return None,
        None => (name, None),
    };
    let repo: RepoId = format!("{org}/{name}").parse().ok()?;
    let mut revision = None;
    let mut file = None;
    if let Some((kind, rest)) = parts.next().and_then(|rest| rest.split_once('/')) {
        let (at, path) = rest.split_once('/').map_or((rest, None), |(at, path)| (at, Some(path)));
        if ["tree", "blob", "resolve", "raw", "commit"].contains(&kind) {
            revision = at.parse().ok();
            file = path.filter(|path| is_gguf(Path::new(path))).and_then(|path| path.parse().ok());
        }
    }
    Some(ModelName { path: repo.to_string().into(), repo: Some(repo), variant, revision, file })
}

/// Returns what follows the host and a slash.
fn after<'a>(text: &'a str, host: &str) -> Option<&'a str> {
    let (begin, rest) = (text.get(..host.len())?, text.get(host.len()..)?);
    begin.eq_ignore_ascii_case(host).then(|| rest.strip_prefix('/')).flatten()
}

/// Returns whether a path has the extension of a GGUF file.
pub fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

/// Returns whether a GGUF file's name ends with the quantization `variant`, before `.gguf` and a shard number:
/// `X.Q4_K_M.gguf`.
pub fn is_variant(file: &Path, variant: &str) -> bool {
    let Some(stem) = file.file_stem().and_then(OsStr::to_str) else { return false };
    let stem = without_part(stem);
    let Some(begin) = stem.len().checked_sub(variant.len()) else { return false };
    let (before, end) = match (stem.get(..begin), stem.get(begin..)) {
        (Some(before), Some(end)) => (before, end),
        _ => return false,
    };
    end.eq_ignore_ascii_case(variant) && (before.is_empty() || before.ends_with(['.', '-', '_']))
}

/// Returns the quantization at the end of a GGUF file's name: `Q4_K_M` of `X.Q4_K_M.gguf`.
pub fn variant(file: &Path) -> Option<&str> {
    let stem = without_part(file.file_stem()?.to_str()?);
    let end = stem.rsplit(['.', '-']).next()?;
    is_quantization(end).then_some(end)
}

/// The variant of weights as they were published.
pub const NONE: &str = "none";

/// Returns whether a text is the name of a scheme, here or in llama.cpp: `q4_k`, `Q4_K_M`, `IQ4_XS`, `BF16`.
fn is_quantization(text: &str) -> bool {
    let begin = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = &text[..text.len() - begin.len()];
    let known = ["q", "iq", "tq", "f", "bf"].iter().any(|known| letters.eq_ignore_ascii_case(known));
    text.eq_ignore_ascii_case(NONE)
        || known && begin.starts_with(|c: char| c.is_ascii_digit()) && begin.bytes().all(is_word)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Removes a shard number such as `-00001-of-00003` from a name.
fn without_part(stem: &str) -> &str {
    let mut ends = stem.rsplitn(4, '-');
    match (ends.next(), ends.next(), ends.next(), ends.next()) {
        (Some(all), Some("of"), Some(part), Some(rest)) if is_number(all) && is_number(part) => rest,
        _ => stem,
    }
}

fn is_number(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())
}

// The lint exempts test functions but not their helpers, where a failure also fails the test.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Returns the parts of a name: path, variant, revision, file.
    fn parts(typed: &str) -> (String, Option<String>, Option<String>, Option<String>) {
        let name = ModelName::parse(OsStr::new(typed));
        let file = name.file.map(|file| file.to_string());
        (name.path.display().to_string(), name.variant, name.revision.map(|r| r.to_string()), file)
    }

    fn named(path: &str, variant: Option<&str>) -> (String, Option<String>, Option<String>, Option<String>) {
        (path.into(), variant.map(str::to_string), None, None)
    }

    #[test]
    fn a_name_may_have_a_variant_and_a_path_may_have_a_colon() {
        for (typed, path, variant) in [
            ("org/name", "org/name", None),
            ("org/name:q4_k", "org/name", Some("q4_k")),
            ("org/name:Q4_K_M", "org/name", Some("Q4_K_M")),
            ("org/name:", "org/name:", None),
            ("org/name:latest", "org/name:latest", None),
            ("a/b/c:d", "a/b/c:d", None),
            ("./a/b:q8_0", "./a/b", Some("q8_0")),
            ("x.gguf:q4_0", "x.gguf", Some("q4_0")),
            ("org/name:none", "org/name", Some("none")),
            ("C:\\models\\x.gguf", "C:\\models\\x.gguf", None),
            ("./x.gguf", "./x.gguf", None),
            ("../org/name", "../org/name", None),
            ("name", "name", None),
        ] {
            assert_eq!(parts(typed), named(path, variant), "{typed}");
        }
    }

    #[test]
    fn an_address_of_the_hub_is_its_repository() {
        for typed in [
            "https://huggingface.co/org/name",
            "HTTPS://HuggingFace.co/org/name/",
            "huggingface.co/org/name",
            "hf.co/org/name",
            "hf://org/name",
            "http://www.huggingface.co/org/name?library=transformers#use",
        ] {
            assert_eq!(parts(typed), named("org/name", None), "{typed}");
        }
        assert_eq!(parts("hf.co/org/name:Q8_0"), named("org/name", Some("Q8_0")));
        let (_, _, revision, file) = parts("https://huggingface.co/org/name/blob/main/x.Q4_0.gguf");
        assert_eq!((revision.as_deref(), file.as_deref()), (Some("main"), Some("x.Q4_0.gguf")));
        let (_, _, revision, file) = parts("https://huggingface.co/org/name/blob/main/config.json");
        assert_eq!((revision.as_deref(), file.as_deref()), (Some("main"), None));
        let (_, _, revision, file) = parts("https://huggingface.co/org/name/tree/refs");
        assert_eq!((revision.as_deref(), file.as_deref()), (Some("refs"), None));
        for typed in ["hf.co/org/name:latest", "https://huggingface.co/datasets/org/name"] {
            assert_eq!(parts(typed), named(typed, None), "{typed}");
        }
        assert_eq!(parts("https://example.org/org/name").0, "https://example.org/org/name");
    }

    #[test]
    fn a_files_quantization_is_the_end_of_its_name() {
        for (file, variant, expected) in [
            ("x.Q4_K_M.gguf", "q4_k_m", true),
            ("x-Q4_K_M.gguf", "Q4_K_M", true),
            ("mixtral-8x7b.Q4_K_M-00001-of-00003.gguf", "Q4_K_M", true),
            ("x.Q4_K_S.gguf", "Q4_K_M", false),
            ("x.IQ4_XS.gguf", "Q4_XS", false),
            ("Q8_0.gguf", "Q8_0", true),
            ("x.gguf", "Q8_0", false),
            ("\u{e9}.gguf", "Q", false),
        ] {
            assert_eq!(is_variant(Path::new(file), variant), expected, "{file} {variant}");
        }
    }

    #[test]
    fn a_quantization_is_read_from_a_files_name() {
        for (file, expected) in [
            ("x.Q4_K_M.gguf", Some("Q4_K_M")),
            ("x-iq4_xs.gguf", Some("iq4_xs")),
            ("x.f16-00001-of-00002.gguf", Some("f16")),
            ("x.gguf", None),
            ("quick.gguf", None),
        ] {
            assert_eq!(variant(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn what_leads_out_of_a_folder_is_not_looked_up_in_it() {
        for (typed, expected) in
            [("a/b", true), ("x.gguf", true), ("../a", false), ("/a", false), ("", false), ("a/../b", false)]
        {
            assert_eq!(ModelName::parse(OsStr::new(typed)).is_plain(), expected, "{typed}");
        }
    }
}
