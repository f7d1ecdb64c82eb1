//! Conversations in Mistral's formats: the ids are those of mistral-common.

use std::fs;
use std::path::Path;

use mist::text::{Message, Tokenizer};

use crate::data::{self, CONVERSATIONS, Conversation, file, folder, tokenizer};
use crate::support::Mist;

/// Conversations that mistral-common refuses for every version and `mist` takes.
const TAKEN_ALL_THE_SAME: [&str; 2] = ["assistant is empty", "assistants in a row, one empty"];
/// Conversations for the binary, which reads its tokenizer anew for each.
const THROUGH_THE_BINARY: [&str; 6] = [
    "system first, turns",
    "look-alikes 1",
    "look-alikes over the edges",
    "white space: mixed",
    "runs of spaces",
    "emoji",
];

fn named(name: &str) -> &'static Conversation {
    CONVERSATIONS.conversations.iter().find(|conversation| conversation.name == name).unwrap()
}

/// What is wrong with the ids of a conversation, if anything.
fn fault(tokenizer: &Tokenizer, version: &str, conversation: &Conversation) -> Option<String> {
    let name = &conversation.name;
    match (tokenizer.encode_chat(&conversation.messages), &conversation.ids[version]) {
        (Ok(is), Some(should)) if is == *should => None,
        (Ok(is), Some(should)) => Some(format!("{name}: {is:?}\ninstead of {should:?}")),
        (Err(error), Some(_)) => Some(format!("{name}: {error}")),
        (Err(_), None) => None,
        (Ok(_), None) if TAKEN_ALL_THE_SAME.contains(&name.as_str()) => None,
        (Ok(is), None) => Some(format!("{name}: {is:?}, where mistral-common refuses")),
    }
}

fn ids_are_those_of_mistral_common(version: &str) {
    let Some(tokenizer) = tokenizer(version) else { return };
    let faults = CONVERSATIONS.conversations.iter().filter_map(|one| fault(tokenizer, version, one));
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{version}, {} conversations:\n{}", faults.len(), faults.join("\n"));
}

macro_rules! of_each {
    ($($version:ident),*) => {
        $(mod $version {
            #[test]
            fn ids_are_those_of_mistral_common() {
                super::ids_are_those_of_mistral_common(stringify!($version));
            }
        })*

        #[test]
        fn no_version_is_forgotten() {
            assert_eq!([$(stringify!($version)),*].to_vec(), data::versions().collect::<Vec<_>>());
        }
    };
}

of_each!(v1, v2, v3, v7, tekken_240718, tekken_240911, tekken_v7, tekken_v13);

/// What `mist tokenize` says of a conversation, where the checkpoint is `folder`.
fn ids_by_the_binary(folder: &Path, messages: &[Message]) -> Vec<u32> {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("messages.json"), serde_json::to_vec(messages).unwrap()).unwrap();
    let args = ["tokenize", "--messages", "messages.json", "--json", "--checkpoint-dir"];
    let ended = Mist::new(scratch.path()).args(args).args([folder]).run();
    assert_eq!(ended.code, Some(0), "{}: {ended:?}", folder.display());
    serde_json::from_value(ended.json()["ids"].clone()).unwrap()
}

#[test]
fn the_binary_reads_a_folder_that_holds_one_file_of_a_tokenizer() {
    for version in data::versions() {
        let Some(folder) = folder(version) else { return };
        for name in THROUGH_THE_BINARY {
            let conversation = named(name);
            let should = conversation.ids[version].as_ref().unwrap();
            assert_eq!(ids_by_the_binary(&folder, &conversation.messages), *should, "{version}: {name}");
        }
    }
}

/// The name of the first files says nothing of their version, and later ones have it too; their control tokens tell.
#[test]
fn a_tokenizer_model_without_a_version_in_its_name_has_the_format_of_what_is_in_it() {
    for version in ["v1", "v3", "v7"] {
        let Some(file) = file(version) else { return };
        let folder = tempfile::tempdir().unwrap();
        fs::copy(file, folder.path().join("tokenizer.model")).unwrap();
        let conversation = named("system first, turns");
        let should = conversation.ids[version].as_ref().unwrap();
        assert_eq!(ids_by_the_binary(folder.path(), &conversation.messages), *should, "{version}");
    }
}
