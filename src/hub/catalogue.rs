//! The repositories that `mist download` lists. Only the listing and the hints depend on it: what a
//! repository is gets read from its own `config.json`, and any repository of the family loads.

/// One line of the listing. `None` where nothing at hand tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `ORG/NAME`.
    pub name: &'static str,
    /// Parameters in all.
    pub parameters: Option<u64>,
    /// Parameters that one token uses, for mixtures of experts.
    pub active: Option<u64>,
    /// The longest context that the published `config.json` allows, in tokens.
    pub context: Option<u32>,
}

impl Entry {
    /// Bytes that the weights take on disk. All of these are published with 16 bits a parameter.
    pub fn disk_bytes(&self) -> Option<u64> {
        self.parameters.map(|n| 2 * n)
    }
}

/// A dense model.
const fn dense(name: &'static str, parameters: u64, context: u32) -> Entry {
    Entry { name, parameters: Some(parameters), active: None, context: Some(context) }
}

/// A mixture of experts.
const fn sparse(name: &'static str, parameters: u64, active: u64, context: u32) -> Entry {
    Entry { name, parameters: Some(parameters), active: Some(active), context: Some(context) }
}

/// Nothing at hand tells its figures, and none is guessed.
const fn unknown(name: &'static str) -> Entry {
    Entry { name, parameters: None, active: None, context: None }
}

const B7: u64 = 7_241_732_096;
/// With 32768 instead of 32000 words.
const B7_V3: u64 = 7_248_023_552;
const B8X7: u64 = 46_702_792_704;
const B8X7_ACTIVE: u64 = 12_879_925_248;
const B12: u64 = 12_247_782_400;
const B24: u64 = 23_572_403_200;
const B123: u64 = 122_610_069_504;

/// The five of lit-gpt's tutorial in its order, then the rest of the family, then small models of the same
/// shape. Parameters are computed from each published configuration.
pub const ENTRIES: &[Entry] = &[
    dense("mistralai/Mistral-7B-v0.1", B7, 32768),
    dense("mistralai/Mistral-7B-Instruct-v0.1", B7, 32768),
    sparse("mistralai/Mixtral-8x7B-v0.1", B8X7, B8X7_ACTIVE, 32768),
    sparse("mistralai/Mixtral-8x7B-Instruct-v0.1", B8X7, B8X7_ACTIVE, 32768),
    dense("mistralai/Mistral-7B-Instruct-v0.2", B7, 32768),
    dense("unsloth/mistral-7b-v0.2", B7, 32768),
    dense("mistralai/Mistral-7B-v0.3", B7_V3, 32768),
    dense("mistralai/Mistral-7B-Instruct-v0.3", B7_V3, 32768),
    dense("mistralai/Mathstral-7B-v0.1", B7_V3, 32768),
    // Published with 32000 and with 32768 words.
    Entry { parameters: None, active: None, ..sparse("mistralai/Mixtral-8x22B-v0.1", 0, 0, 65536) },
    sparse("mistralai/Mixtral-8x22B-Instruct-v0.1", 140_630_071_296, 39_161_468_928, 65536),
    Entry { context: None, ..dense("mistralai/Mistral-Nemo-Base-2407", B12, 0) },
    Entry { context: None, ..dense("mistralai/Mistral-Nemo-Instruct-2407", B12, 0) },
    Entry { context: None, ..dense("mistralai/Mistral-Small-24B-Base-2501", B24, 0) },
    Entry { context: None, ..dense("mistralai/Mistral-Small-24B-Instruct-2501", B24, 0) },
    dense("mistralai/Mistral-Large-Instruct-2407", B123, 131_072),
    dense("mistralai/Mistral-Large-Instruct-2411", B123, 131_072),
    dense("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008, 8192),
    unknown("HuggingFaceTB/SmolLM2-360M-Instruct"),
    unknown("HuggingFaceTB/SmolLM2-1.7B-Instruct"),
    unknown("TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
];

/// The listed name that `typed` is most likely meant to be, if one is near: compared without case, and
/// against the part after the slash where the organisation was left out.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    // A long text is no misspelling, and the comparison is quadratic.
    if typed.len() > 200 {
        return None;
    }
    let similarity = |entry: &Entry| {
        let name = entry.name.to_ascii_lowercase();
        let compared = match typed.contains('/') {
            true => name.as_str(),
            false => name.rsplit('/').next().unwrap_or(&name),
        };
        strsim::normalized_damerau_levenshtein(&typed, compared)
    };
    let (score, name) = ENTRIES
        .iter()
        .map(|entry| (similarity(entry), entry.name))
        .fold((0.0, ""), |best, next| if next.0 > best.0 { next } else { best });
    // Below this, unrelated repositories of similar length begin to match.
    (score >= 0.75).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::RepoId;
    use super::*;

    #[test]
    fn the_tutorials_five_come_first_in_its_order() {
        let first: Vec<&str> = ENTRIES.iter().take(5).map(|e| e.name).collect();
        let tutorial = [
            "mistralai/Mistral-7B-v0.1",
            "mistralai/Mistral-7B-Instruct-v0.1",
            "mistralai/Mixtral-8x7B-v0.1",
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            "mistralai/Mistral-7B-Instruct-v0.2",
        ];
        assert_eq!(first, tutorial);
    }

    #[test]
    fn every_name_is_a_repository_and_stands_once() {
        for (i, entry) in ENTRIES.iter().enumerate() {
            assert!(entry.name.parse::<RepoId>().is_ok(), "{}", entry.name);
            assert!(ENTRIES[..i].iter().all(|e| e.name != entry.name), "{}", entry.name);
        }
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_strange_one_none() {
        assert_eq!(nearest("mistralai/Mistral-7B-v01"), Some("mistralai/Mistral-7B-v0.1"));
        assert_eq!(nearest("mixtral-8x7b-instruct-v0.1"), Some("mistralai/Mixtral-8x7B-Instruct-v0.1"));
        assert_eq!(nearest("mistral/Mistral-7B-Instruct-v0.3"), Some("mistralai/Mistral-7B-Instruct-v0.3"));
        assert_eq!(nearest("openai/whisper-large-v3"), None);
        assert_eq!(nearest(""), None);
    }
}
