//! Chooses the files of a repository to fetch, by rules over a listing, without network or disk.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Error, FileName, RepoId};
use crate::json;

/// Maximum size of an index in bytes. It names each tensor once. Those of the largest models have a few megabytes.
pub(super) const MAX_INDEX: u64 = 16 << 20;

/// The wanted files of a repository.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub repo: &'a RepoId,
    pub tokenizer_only: bool,
    /// Only these weights.
    pub file: Option<&'a FileName>,
}

/// The outcome of the rules.
#[derive(Debug)]
pub(super) struct Choice {
    pub files: Vec<Entry>,
    pub left_out: Vec<FileName>,
}

/// Chooses the first kind of weights that the repository has, in this order: safetensors in the Hugging Face layout,
/// `pytorch_model*.bin`, Mistral's own layout, GGUF. With them it chooses the small files that a model is read with.
/// `read` returns the content of a listed file.
///
/// # Errors
/// The repository breaks a rule; `read` fails.
pub(super) fn choose(
    wanted: Wanted<'_>,
    listing: &[Entry],
    read: &mut dyn FnMut(&Entry) -> Result<Vec<u8>, Error>,
) -> Result<Choice, Error> {
    let mut names: BTreeSet<FileName> = filter(listing, is_small).collect();
    if wanted.tokenizer_only {
        if !names.iter().any(is_tokenizer) {
            return Err(Error::NoTokenizer { repo: wanted.repo.clone() });
        }
    } else {
        names.extend(weights(wanted, listing, read)?);
    }
    let left_out = match wanted.tokenizer_only {
        true => Vec::new(),
        false => filter(listing, is_weights).filter(|n| !names.contains(n)).collect(),
    };
    let files = listing.iter().filter(|e| names.contains(&e.name)).cloned();
    // Sorted and without duplicates, since a listing may name a file twice.
    let files: BTreeMap<FileName, Entry> = files.map(|e| (e.name.clone(), e)).collect();
    let mut names = BTreeSet::new();
    if let Some(second) = files.keys().find(|name| !names.insert(name.as_str().to_ascii_lowercase())) {
        return Err(Error::SameName { repo: wanted.repo.clone(), file: second.clone() });
    }
    Ok(Choice { files: files.into_values().collect(), left_out })
}

fn weights(
    wanted: Wanted<'_>,
    listing: &[Entry],
    read: &mut dyn FnMut(&Entry) -> Result<Vec<u8>, Error>,
) -> Result<BTreeSet<FileName>, Error> {
    let find = |name: &str| listing.iter().find(|e| e.name.as_str() == name);
    let described = |config: &'static str, names| match find(config) {
        Some(_) => Ok(names),
        None => Err(Error::NoConfig { repo: wanted.repo.clone(), config }),
    };
    if let Some(file) = wanted.file {
        return match find(file.as_str()) {
            Some(entry) => Ok(parts(&entry.name, listing)),
            None => Err(Error::NoFile { repo: wanted.repo.clone(), file: file.clone() }),
        };
    }
    for (whole, index) in [
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ] {
        // The index first: beside an index, a single file is a leftover or a shard's namesake.
        if let Some(index) = find(index) {
            let mut names = shards(wanted.repo, index, listing, &read(index)?)?;
            names.insert(index.name.clone());
            return described("config.json", names);
        }
        if let Some(whole) = find(whole) {
            return described("config.json", BTreeSet::from([whole.name.clone()]));
        }
    }
    let mistral = ["safetensors", "pth"].map(|kind| {
        filter(listing, |n| n.starts_with("consolidated") && n.ends_with(kind)).collect::<BTreeSet<_>>()
    });
    if let Some(mut names) = mistral.into_iter().find(|names| !names.is_empty()) {
        names.extend(filter(listing, |n| n == "consolidated.safetensors.index.json"));
        return described("params.json", names);
    }
    let gguf: Vec<FileName> = filter(listing, |n| n.ends_with(".gguf")).collect();
    match gguf.first().map(|first| parts(first, listing)) {
        None => Err(Error::NoWeights { repo: wanted.repo.clone() }),
        Some(parts) if parts.len() == gguf.len() => Ok(parts),
        Some(_) => Err(Error::SeveralGguf { repo: wanted.repo.clone(), files: gguf }),
    }
}

/// Returns the listed parts of a split GGUF file (`X-00001-of-00003.gguf`), or any other file itself.
fn parts(file: &FileName, listing: &[Entry]) -> BTreeSet<FileName> {
    let ends = |name: &str| {
        let (rest, all) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let are_numbers = [part, all].iter().all(|n| n.len() == 5 && n.bytes().all(|b| b.is_ascii_digit()));
        are_numbers.then(|| (stem.to_string(), all.to_string()))
    };
    match ends(file.as_str()) {
        Some(own) => filter(listing, |name| ends(name).as_ref() == Some(&own)).collect(),
        None => BTreeSet::from([file.clone()]),
    }
}

/// Returns the shards that an index names. Each must be a plain file of the listing: another name could lead out of the
/// folder, or to another repository's address with our token.
fn shards(
    repo: &RepoId,
    index: &Entry,
    listing: &[Entry],
    content: &[u8],
) -> Result<BTreeSet<FileName>, Error> {
    let bad = |why: String| Error::Index { repo: repo.clone(), index: index.name.clone(), why };
    let named = json::shards(content).map_err(|e| bad(e.to_string()))?;
    if named.is_empty() {
        return Err(bad("its weight_map is empty".to_string()));
    }
    let listed = |shard: &str| match listing.iter().find(|e| e.name.as_str() == shard) {
        Some(entry) => Ok(entry.name.clone()),
        None => Err(Error::Shard {
            repo: repo.clone(),
            index: index.name.clone(),
            shard: shard.chars().take(100).collect(),
        }),
    };
    named.iter().map(|shard| listed(shard)).collect()
}

fn filter(listing: &[Entry], keep: impl Fn(&str) -> bool) -> impl Iterator<Item = FileName> {
    listing.iter().filter(move |e| keep(e.name.as_str())).map(|e| e.name.clone())
}

/// Returns whether a file of this name is one of the small files that a model is read with.
fn is_small(name: &str) -> bool {
    let fixed = [
        "config.json",
        "generation_config.json",
        "params.json",
        "special_tokens_map.json",
        "tekken.json",
        "chat_template.jinja",
    ];
    name.starts_with("tokenizer") || fixed.contains(&name)
}

fn is_tokenizer(name: &FileName) -> bool {
    name.as_str().starts_with("tokenizer") || name.as_str() == "tekken.json"
}

/// Returns whether a file of this name holds weights of any kind.
pub(super) fn is_weights(name: &str) -> bool {
    [".safetensors", ".bin", ".pth", ".pt", ".gguf"].iter().any(|kind| name.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::hinted::Hinted;

    fn listing(names: &[&str]) -> Vec<Entry> {
        names.iter().map(|n| Entry { name: n.parse().unwrap(), size: 10, hash: None }).collect()
    }

    fn index(shards: &[&str]) -> Vec<u8> {
        let map: BTreeMap<String, &str> =
            shards.iter().enumerate().map(|(i, s)| (format!("model.layers.{i}.weight"), *s)).collect();
        serde_json::to_vec(&serde_json::json!({ "metadata": {}, "weight_map": map })).unwrap()
    }

    /// Returns the names chosen from `names`, where every file that is read has the content `content`.
    fn chosen(names: &[&str], content: &[u8]) -> Result<Vec<String>, Error> {
        chosen_with(names, content, false, None)
    }

    fn chosen_with(
        names: &[&str],
        content: &[u8],
        tokenizer_only: bool,
        file: Option<&FileName>,
    ) -> Result<Vec<String>, Error> {
        let repo = "org/name".parse().unwrap();
        let wanted = Wanted { repo: &repo, tokenizer_only, file };
        let choice = choose(wanted, &listing(names), &mut |_| Ok(content.to_vec()))?;
        Ok(choice.files.iter().map(|e| e.name.to_string()).collect())
    }

    const SHARDED: &[&str] = &[
        "README.md",
        "config.json",
        "consolidated.safetensors",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "params.json",
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "tokenizer.json",
        "tokenizer.model.v3",
    ];
    const SHARDS: &[&str] = &["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

    #[test]
    fn shards_of_the_index_are_taken_and_no_duplicate_beside_them() {
        let files = chosen(SHARDED, &index(SHARDS)).unwrap();
        let expected = [
            "config.json",
            "generation_config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "params.json",
            "tokenizer.json",
            "tokenizer.model.v3",
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn what_was_left_out_is_said() {
        let repo = "org/name".parse().unwrap();
        let wanted = Wanted { repo: &repo, tokenizer_only: false, file: None };
        let choice = choose(wanted, &listing(SHARDED), &mut |_| Ok(index(SHARDS))).unwrap();
        let left: Vec<&str> = choice.left_out.iter().map(FileName::as_str).collect();
        assert_eq!(left, ["consolidated.safetensors", "pytorch_model-00001-of-00002.bin"]);
    }

    #[test]
    fn a_single_safetensors_file_wins_over_bin() {
        let names = ["config.json", "model.safetensors", "pytorch_model.bin", "adapter_model.safetensors"];
        assert_eq!(chosen(&names, b"").unwrap(), ["config.json", "model.safetensors"]);
    }

    #[test]
    fn bin_shards_come_with_their_index() {
        let names = [
            "config.json",
            "pytorch_model.bin.index.json",
            "pytorch_model-1.bin",
            "pytorch_model-2.bin",
            "optimizer.bin",
        ];
        let files = chosen(&names, &index(&["pytorch_model-1.bin", "pytorch_model-2.bin"])).unwrap();
        assert_eq!(
            files,
            ["config.json", "pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model.bin.index.json"]
        );
    }

    #[test]
    fn mistrals_own_layout_is_taken_where_there_is_no_other() {
        let names = ["consolidated.safetensors", "params.json", "tekken.json", "README.md"];
        assert_eq!(chosen(&names, b"").unwrap(), ["consolidated.safetensors", "params.json", "tekken.json"]);
        assert_eq!(
            chosen(&["consolidated.00.pth", "params.json"], b"").unwrap(),
            ["consolidated.00.pth", "params.json"]
        );
    }

    #[test]
    fn one_gguf_is_taken_and_of_several_none_is_guessed() {
        assert_eq!(chosen(&["README.md", "m.Q4_0.gguf"], b"").unwrap(), ["m.Q4_0.gguf"]);
        let several = ["m.Q4_0.gguf", "m.Q8_0.gguf"];
        let error = chosen(&several, b"").unwrap_err();
        assert_eq!(error.to_string(), "org/name has 2 GGUF files: m.Q4_0.gguf, m.Q8_0.gguf");
        assert_eq!(error.hint().unwrap(), "pick one, such as m.Q4_0.gguf");
        let picked = "m.Q8_0.gguf".parse().unwrap();
        assert_eq!(chosen_with(&several, b"", false, Some(&picked)).unwrap(), ["m.Q8_0.gguf"]);
        let absent = "m.Q2_K.gguf".parse().unwrap();
        assert!(matches!(chosen_with(&several, b"", false, Some(&absent)), Err(Error::NoFile { .. })));
    }

    #[test]
    fn a_split_gguf_comes_with_all_its_parts() {
        let parts = ["m.Q4_0-00001-of-00002.gguf", "m.Q4_0-00002-of-00002.gguf"];
        assert_eq!(chosen(&parts, b"").unwrap(), parts);
        let several = [parts[0], parts[1], "m.Q8_0-00001-of-00001.gguf", "m.Q4_0.gguf"];
        assert!(matches!(chosen(&several, b""), Err(Error::SeveralGguf { .. })));
        for picked in parts {
            let picked = picked.parse().unwrap();
            assert_eq!(chosen_with(&several, b"", false, Some(&picked)).unwrap(), parts);
        }
    }

    #[test]
    fn tokenizer_only_takes_no_weights_and_reads_no_index() {
        let repo = "org/name".parse().unwrap();
        let wanted = Wanted { repo: &repo, tokenizer_only: true, file: None };
        let choice = choose(wanted, &listing(SHARDED), &mut |_| panic!("no index is needed")).unwrap();
        assert!(choice.files.iter().all(|e| !is_weights(e.name.as_str())));
        assert!(matches!(chosen_with(&["config.json"], b"", true, None), Err(Error::NoTokenizer { .. })));
    }

    #[test]
    fn hostile_shard_names_are_refused() {
        for shard in
            ["../../x.safetensors", "/etc/passwd", "c:\\x", "a/b.safetensors", "..", "", "x\u{1b}[2J"]
        {
            let error = chosen(SHARDED, &index(&[SHARDS[0], shard])).unwrap_err();
            assert!(matches!(error, Error::Shard { .. }), "{shard:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'));
        }
    }

    #[test]
    fn an_index_that_names_a_missing_shard_or_nothing_is_an_error() {
        assert!(matches!(chosen(SHARDED, &index(&["model-3.safetensors"])), Err(Error::Shard { .. })));
        for content in ["", "[]", "{}", r#"{"weight_map":{}}"#, r#"{"weight_map":{"a":1}}"#] {
            assert!(matches!(chosen(SHARDED, content.as_bytes()), Err(Error::Index { .. })), "{content}");
        }
    }

    #[test]
    fn weights_that_nothing_describes_are_not_fetched() {
        assert!(matches!(
            chosen(&["model.safetensors"], b""),
            Err(Error::NoConfig { config: "config.json", .. })
        ));
        assert!(matches!(
            chosen(&["consolidated.safetensors"], b""),
            Err(Error::NoConfig { config: "params.json", .. })
        ));
        assert!(matches!(chosen(&["README.md"], b""), Err(Error::NoWeights { .. })));
    }

    #[test]
    fn names_that_are_one_file_on_some_systems_are_refused() {
        let names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer.JSON"];
        assert!(matches!(chosen(&names, b""), Err(Error::SameName { .. })));
    }
}
