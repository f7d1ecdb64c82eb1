//! Models by path, quantized, and what is wrong with others. (By name: `examples`, whose programs have a folder and an
//! environment of their own.)

use std::path::Path;
use std::sync::{Arc, Mutex};

use mist::placement::Devices;
use mist::quant::Scheme;
use mist::runtime::{NO_LIMIT, Quantize, Report, Step};
use mist::system::hinted::Hinted;
use mist::{Finish, Model, Options};

use super::{greedy, mist, tiny};
use crate::support::{copy_folder, gguf};

/// Everything that is reported.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }

    fn has(&self, part: &str) -> bool {
        self.0.lock().unwrap().iter().any(|line| line.contains(part))
    }
}

impl Report for Lines {
    fn note(&mut self, line: &str) {
        self.push(line);
    }

    fn warn(&mut self, line: &str) {
        self.push(line);
    }

    fn begin(&mut self, step: Step, _: u64) {
        self.push(step.name());
    }
}

#[test]
fn a_conversion_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    copy_folder(&tiny(), &path);
    let open = |quantize: Quantize| {
        let lines = Lines::default();
        let model = Model::builder().quantize(quantize).report(lines.clone()).open(&path).unwrap();
        (model.generate("The lamp", greedy(12)).unwrap().text().unwrap(), lines)
    };
    let (first, lines) = open(Scheme::Q8_0.into());
    assert!(lines.has("Quantizing to q8_0, once") && lines.has("Converting") && lines.has("Loading"));
    assert!(path.join("q8_0/mist.json").is_file());
    let (second, lines) = open(Scheme::Q8_0.into());
    assert!(!lines.has("Quantizing") && lines.has("q8_0 conversion, on cpu"), "{:?}", lines.0);
    let command = mist(
        folder.path(),
        &["generate", "-m", "m:q8_0", "-p", "The lamp", "-n", "12", "--temperature", "0"],
        "",
    );
    assert_eq!((&first, second), (&command.text(), command.text()));
    let (published, lines) = open(Quantize::None);
    let plain = Model::open(tiny()).unwrap().generate("The lamp", greedy(12)).unwrap().text().unwrap();
    assert!(published == plain && lines.has("bf16 as published"));
}

#[test]
fn a_text_does_not_depend_on_the_devices() {
    let one = Model::open(tiny()).unwrap().generate("The lamp", greedy(12)).unwrap().text().unwrap();
    let two = Model::builder().devices(Devices::First(2)).context(64).open(tiny()).unwrap();
    assert_eq!((two.devices(), two.context_length()), ("2 x cpu", 64));
    assert_eq!(two.generate("The lamp", greedy(12)).unwrap().text().unwrap(), one);
}

#[test]
fn a_gguf_file_opens() {
    let model = Model::open(gguf("mistral-window")).unwrap();
    assert_eq!(model.generate("The lamp", greedy(4)).unwrap().count(), 5);
}

#[test]
fn what_cannot_be_opened_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&tiny(), &folder.path().join("m"));
    let config = folder.path().join("m/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"vocab_size\": 320", "\"vocab_size\": 321")).unwrap();
    let open = |name: &Path| {
        let error = Model::open(name).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let (error, _) = open(&folder.path().join("m"));
    assert!(error.contains("embed_tokens") && error.contains("321"), "{error}");
    let (error, hint) = open(Path::new("no/such-model"));
    assert_eq!(error, "no/such-model is not on this machine");
    assert_eq!(hint, "`mist download no/such-model` fetches it");
    let (error, hint) = open(Path::new("no/such/folder"));
    assert!(
        error.starts_with("there is no file, folder or checkpoint") && !hint.is_empty(),
        "{error} {hint}"
    );
    let (error, hint) = open(&folder.path().join("none.gguf"));
    assert!(error.ends_with("none.gguf does not exist") && !hint.is_empty(), "{error}");
    let long = Model::builder().context(513).open(tiny()).unwrap_err();
    assert_eq!(long.to_string(), "the context cannot have 513 tokens, the model's has 512");
    assert!(long.is_wrong_call());
    let many = Model::builder().devices(Devices::First(3)).open(tiny()).unwrap_err();
    assert_eq!(many.to_string(), "2 layers cannot be split over 3 devices");
    let twice = Model::builder().quantize(Scheme::Q4K).open(format!("{}:q8_0", tiny().display()));
    assert!(twice.unwrap_err().is_wrong_call());
}

#[test]
fn an_error_does_not_say_its_source_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.gguf");
    let mut bytes = std::fs::read(gguf("mistral-window")).unwrap();
    // The name of the tokenizer's kind comes after its length and type.
    let key = b"tokenizer.ggml.model";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    bytes[at + key.len() + 12] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let path = folder.path().join("m");
    copy_folder(&tiny(), &path);
    std::fs::create_dir(path.join("q8_0")).unwrap();
    std::fs::write(path.join("q8_0/mist.json"), "{}").unwrap();
    let unreadable = folder.path().join("unreadable");
    copy_folder(&tiny(), &unreadable);
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::remove_file(unreadable.join(name)).unwrap();
        std::fs::create_dir(unreadable.join(name)).unwrap();
    }
    let other = folder.path().join("other");
    copy_folder(&tiny(), &other);
    std::fs::remove_file(other.join("config.json")).unwrap();
    std::fs::create_dir(other.join("config.json")).unwrap();
    let model = Model::open(tiny()).unwrap();
    let errors = [
        Model::open(&unreadable).unwrap_err(),
        Model::open(&other).unwrap_err(),
        Model::open(&file).unwrap_err(),
        Model::builder().quantize(Scheme::Q8_0).open(&path).unwrap_err(),
        model.generate(&"x ".repeat(600), greedy(1)).unwrap_err(),
    ];
    for error in errors {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or("none".into());
        assert!(!error.to_string().contains(&source), "{error:?}");
    }
}

#[test]
fn a_context_is_as_long_as_there_is_memory_for() {
    let memory = || "120KiB".parse().unwrap();
    let lines = Lines::default();
    let model = Model::builder().memory(memory()).report(lines.clone()).open(tiny()).unwrap();
    let context = model.context_length();
    assert!((32..512).contains(&context), "{context}");
    assert!(lines.has(&format!("a context of {context} tokens, the model's is 512")), "{:?}", lines.0);
    let text = |model: &Model| model.generate("The lamp", greedy(12)).unwrap().text().unwrap();
    assert_eq!(text(&model), text(&Model::open(tiny()).unwrap()));
    // To the end of the context, without an error.
    let long = Options { max_new_tokens: Some(NO_LIMIT), ignore_eos: true, ..greedy(0) };
    let mut pieces = model.generate("The lamp", long).unwrap();
    pieces.text().unwrap();
    assert_eq!(pieces.generation().unwrap().finish, Finish::Context);
    // What was asked for is not shortened, and there is no room for the weights alone.
    Model::builder().memory(memory()).context(512).open(tiny()).unwrap_err();
    Model::builder().memory("1KiB".parse().unwrap()).open(tiny()).unwrap_err();
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let many = std::num::NonZeroUsize::new(1025).unwrap();
    let many = Model::builder().threads(many).open(tiny()).unwrap_err();
    assert_eq!(many.to_string(), "1025 threads, at most 1024 are possible");
    let none = Model::builder().context(0).open(tiny()).unwrap_err();
    assert!(none.is_wrong_call() && none.to_string().contains("context"), "{none}");
    // Something was computed in this process: its threads stay.
    Model::open(tiny()).unwrap().generate("x", greedy(1)).unwrap().text().unwrap();
    let other = std::num::NonZeroUsize::new(mist::cpu::pool::threads() + 1).unwrap();
    let lines = Lines::default();
    Model::builder().threads(other).report(lines.clone()).open(tiny()).unwrap();
    assert!(lines.has("the number of threads stays as it is"), "{:?}", lines.0);
}
