//! The repositories that `mist download` lists. Only the listing and the hints use this table. A model is described by its
//! own `config.json`, and any repository of the family loads.

use super::size::Size;

/// A line of the listing. Unknown values are `None`; none is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `ORG/NAME`.
    pub name: &'static str,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Number of parameters that one token uses, for mixtures of experts.
    pub active: Option<u64>,
    /// The longest context that the published `config.json` allows, in tokens.
    pub context: Option<u32>,
    /// The licence by the hub's tag.
    pub licence: Option<&'static str>,
    /// Whether terms must be accepted on the hub's page first. Owners change this: Mistral gated its open repositories in
    /// 2024, and opened some again.
    pub gated: Option<bool>,
}

/// Headings of the columns of [`Entry::cells`].
pub const HEADINGS: [&str; 6] = ["repository", "parameters", "active", "context", "disk", "licence"];

impl Entry {
    /// Returns the entry as a row of a table under [`HEADINGS`]. Unknown values are blank; only gated access is named.
    pub fn cells(&self) -> [String; 6] {
        let gated = self.gated.unwrap_or(false).then_some("gated");
        [
            self.name.to_string(),
            self.parameters.map(count).unwrap_or_default(),
            self.active.map(count).unwrap_or_default(),
            self.context.map(|tokens| tokens.to_string()).unwrap_or_default(),
            self.disk_bytes().map(|bytes| Size(bytes).to_string()).unwrap_or_default(),
            self.licence.into_iter().chain(gated).collect::<Vec<_>>().join(", "),
        ]
    }

    /// Returns the bytes of the weights on disk. All of these models are published with 16 bits per parameter.
    pub fn disk_bytes(&self) -> Option<u64> {
        self.parameters.map(|n| 2 * n)
    }

    const fn context(self, tokens: u32) -> Self {
        Self { context: Some(tokens), ..self }
    }

    const fn licence(self, tag: &'static str) -> Self {
        Self { licence: Some(tag), ..self }
    }

    const fn gated(self, gated: bool) -> Self {
        Self { gated: Some(gated), ..self }
    }
}

/// Formats a number of parameters: `135 M`, `46.7 B`.
fn count(n: u64) -> String {
    match n {
        0..1_000_000_000 => format!("{:.0} M", n as f64 / 1e6),
        _ => format!("{:.1} B", n as f64 / 1e9),
    }
}

/// Returns a dense model.
const fn dense(name: &'static str, parameters: u64) -> Entry {
    Entry { name, parameters: Some(parameters), active: None, context: None, licence: None, gated: None }
}

/// Returns a mixture of experts.
const fn sparse(name: &'static str, parameters: u64, active: u64) -> Entry {
    Entry { active: Some(active), ..dense(name, parameters) }
}

const B7: u64 = 7_241_732_096;
/// Parameters of the 7B model with 32768 tokens in place of 32000.
const B7_V3: u64 = 7_248_023_552;
const B12: u64 = 12_247_782_400;
const B22: u64 = 22_247_282_688;
const B24: u64 = 23_572_403_200;
const B123: u64 = 122_610_069_504;
/// All parameters, and the active ones.
const B8X7: (u64, u64) = (46_702_792_704, 12_879_925_248);

const K8: u32 = 8 << 10;
const K32: u32 = 32 << 10;
const K64: u32 = 64 << 10;
const K128: u32 = 128 << 10;

const APACHE: &str = "apache-2.0";
/// Mistral's licence for research.
const MRL: &str = "mrl";
/// Mistral's licence for anything but production.
const MNPL: &str = "mnpl";
const LLAMA: &str = "llama3.2";

/// The five models of lit-gpt's tutorial in its order, then the rest of the family, then small models of the same shape.
/// The tests compute every number of parameters from the published configuration.
pub const ENTRIES: &[Entry] = &[
    dense("mistralai/Mistral-7B-v0.1", B7).context(K32).licence(APACHE),
    dense("mistralai/Mistral-7B-Instruct-v0.1", B7).context(K32).licence(APACHE),
    sparse("mistralai/Mixtral-8x7B-v0.1", B8X7.0, B8X7.1).context(K32).licence(APACHE),
    sparse("mistralai/Mixtral-8x7B-Instruct-v0.1", B8X7.0, B8X7.1).context(K32).licence(APACHE).gated(false),
    dense("mistralai/Mistral-7B-Instruct-v0.2", B7).context(K32).licence(APACHE),
    dense("unsloth/mistral-7b-v0.2", B7).context(K32),
    dense("mistralai/Mistral-7B-v0.3", B7_V3).context(K32).licence(APACHE),
    dense("mistralai/Mistral-7B-Instruct-v0.3", B7_V3).context(K32).licence(APACHE).gated(false),
    dense("mistralai/Mathstral-7B-v0.1", B7_V3).context(K32).licence(APACHE),
    // The vocabularies differ: 32000 tokens here, 32768 in the other.
    sparse("mistralai/Mixtral-8x22B-v0.1", 140_620_634_112, 39_152_031_744).context(K64).licence(APACHE),
    sparse("mistralai/Mixtral-8x22B-Instruct-v0.1", 140_630_071_296, 39_161_468_928)
        .context(K64)
        .licence(APACHE),
    dense("mistralai/Codestral-22B-v0.1", B22).context(K32).licence(MNPL).gated(true),
    // The model card states 128k tokens; the configuration once had 1024000.
    dense("mistralai/Mistral-Nemo-Base-2407", B12).licence(APACHE),
    dense("mistralai/Mistral-Nemo-Instruct-2407", B12).context(K128).licence(APACHE),
    dense("mistralai/Ministral-8B-Instruct-2410", 8_019_808_256).context(K32).licence(MRL).gated(true),
    dense("mistralai/Mistral-Small-Instruct-2409", B22).context(K32).licence(MRL).gated(true),
    dense("mistralai/Mistral-Small-24B-Base-2501", B24).context(K32).licence(APACHE),
    dense("mistralai/Mistral-Small-24B-Instruct-2501", B24).context(K32).licence(APACHE),
    dense("mistralai/Mistral-Large-Instruct-2407", B123).context(K128).licence(MRL).gated(true),
    dense("mistralai/Mistral-Large-Instruct-2411", B123).context(K128).licence(MRL).gated(true),
    dense("HuggingFaceTB/SmolLM2-135M", 134_515_008).context(K8).licence(APACHE),
    dense("HuggingFaceTB/SmolLM2-135M-Instruct", 134_515_008).context(K8).licence(APACHE),
    dense("HuggingFaceTB/SmolLM2-360M", 361_821_120).context(K8),
    dense("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120).context(K8).licence(APACHE),
    dense("HuggingFaceTB/SmolLM2-1.7B", 1_711_376_384).context(K8).licence(APACHE),
    dense("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384).context(K8).licence(APACHE),
    dense("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1_100_048_384).context(2 << 10).licence(APACHE),
    dense("meta-llama/Llama-3.2-1B", 1_235_814_400).context(K128).licence(LLAMA).gated(true),
    dense("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400).context(K128).licence(LLAMA).gated(true),
    dense("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824).context(K128).licence(LLAMA).gated(true),
];

/// Finds the listed name that is nearest to `typed`, if one is near enough; of equally near names the earlier one. Case is
/// ignored. If the part after the slash is right or stands alone, the mistake is in the organisation.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    // A long text is not a misspelling, and the comparison takes quadratic time.
    if typed.len() > 200 {
        return None;
    }
    let model = after_slash(&typed);
    let similarity = |entry: &Entry| {
        let name = entry.name.to_ascii_lowercase();
        let listed = after_slash(&name);
        match typed.contains('/') {
            _ if model == listed => 1.0,
            true => strsim::normalized_damerau_levenshtein(&typed, &name),
            false => strsim::normalized_damerau_levenshtein(model, listed),
        }
    };
    let (score, name) = ENTRIES
        .iter()
        .map(|entry| (similarity(entry), entry.name))
        .fold((0.0, ""), |best, next| if next.0 > best.0 { next } else { best });
    // Below this, unrelated repositories of similar length begin to match.
    (score >= 0.75).then_some(name)
}

/// Finds the repository for a short name such as `mistral` or `mixtral:8x7b`: the first instruction model whose name begins
/// with it.
pub fn called(typed: &str) -> Option<&'static str> {
    let word: String = typed.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
    let word = word.to_ascii_lowercase();
    let begins = |entry: &&Entry| after_slash(&entry.name.to_ascii_lowercase()).starts_with(&word);
    let instructed = |entry: &&Entry| entry.name.contains("Instruct");
    let mut named = ENTRIES.iter().filter(|_| word.len() >= 5).filter(begins);
    named.clone().find(instructed).or_else(|| named.next()).map(|entry| entry.name)
}

fn after_slash(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
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
        assert_eq!(
            nearest("mistralai/Mixtral-8x7b-instruct-0.1"),
            Some("mistralai/Mixtral-8x7B-Instruct-v0.1")
        );
        assert_eq!(nearest("mistralai/Codestal-22B-v0.1"), Some("mistralai/Codestral-22B-v0.1"));
        assert_eq!(nearest("TinyLama-1.1B-chat-v1.0"), Some("TinyLlama/TinyLlama-1.1B-Chat-v1.0"));
        assert_eq!(nearest("openai/whisper-large-v3"), None);
        assert_eq!(nearest("gpt2"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn a_wrong_or_missing_organisation_does_not_lead_to_another_model() {
        assert_eq!(nearest("mistral/Mistral-7B-Instruct-v0.3"), Some("mistralai/Mistral-7B-Instruct-v0.3"));
        assert_eq!(nearest("mixtral-8x7b-instruct-v0.1"), Some("mistralai/Mixtral-8x7B-Instruct-v0.1"));
        assert_eq!(nearest("SmolLM2-360M-Instruct"), Some("HuggingFaceTB/SmolLM2-360M-Instruct"));
        // v0.1 and v0.3 differ from it in one letter.
        assert_eq!(nearest("mistralai/Mistral-7B-v0.2"), Some("unsloth/mistral-7b-v0.2"));
    }

    #[test]
    fn without_instruct_a_base_model_is_meant_where_there_is_one() {
        for base in ["mistralai/Mixtral-8x22B-v0.1", "HuggingFaceTB/SmolLM2-135M"] {
            assert_eq!(nearest(base), Some(base));
        }
        assert_eq!(nearest("mistralai/Mistral-Nemo-2407"), Some("mistralai/Mistral-Nemo-Base-2407"));
        assert_eq!(nearest("mistralai/Mistral-Large-2411"), Some("mistralai/Mistral-Large-Instruct-2411"));
    }

    #[test]
    fn of_equally_near_names_the_earlier_wins() {
        assert_eq!(nearest("mistralai/Mistral-7B-v0.4"), Some("mistralai/Mistral-7B-v0.1"));
        assert_eq!(nearest("mistralai/Mistral-7B-Instruct-v0.5"), Some("mistralai/Mistral-7B-Instruct-v0.1"));
    }

    #[test]
    fn a_row_fits_a_hundred_columns_and_without_the_licence_eighty() {
        let widest = |i: usize| ENTRIES.iter().map(|e| e.cells()[i].len()).chain([HEADINGS[i].len()]).max();
        let widths: Vec<usize> = (0..6).filter_map(widest).collect();
        let [all, narrow] = [6, 5].map(|columns| widths[..columns].iter().sum::<usize>() + 2 * (columns - 1));
        assert!(all <= 100 && narrow <= 80, "{all}, {narrow}");
    }

    #[test]
    fn what_is_unknown_is_blank_and_open_access_goes_without_saying() {
        let blank = Entry { parameters: None, ..dense("org/name", 0) };
        assert_eq!(blank.cells().concat(), "org/name");
        let shown = [(None, Some(true)), (Some("mrl"), Some(true)), (Some("mit"), Some(false))]
            .map(|(licence, gated)| Entry { licence, gated, ..blank }.cells()[5].clone());
        assert_eq!(shown, ["gated", "mrl, gated", "mit"]);
    }
}
