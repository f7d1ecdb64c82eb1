//! Texts, in pieces and as a whole.

use mist::generate::Watch;
use mist::{Finish, Model, Options, Piece, Sampling};

use super::{greedy, mist, tiny};
use crate::support::model;

#[test]
fn a_text_is_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    for path in [tiny(), model("mistral-window"), model("mixtral")] {
        let model = Model::open(&path).unwrap();
        let path = path.to_str().unwrap();
        let args = ["generate", "-m", path, "-p", "The lamp", "-n", "24", "--json"];
        for (more, options) in [
            (["--temperature", "0"], greedy(24)),
            (["--seed", "7"], Options { seed: Some(7), max_new_tokens: Some(24), ..Options::default() }),
        ] {
            let command = mist(folder.path(), &[&args[..], &more].concat(), "").json();
            let mut pieces = model.generate("The lamp", options).unwrap();
            assert_eq!(pieces.text().unwrap(), command["text"].as_str().unwrap(), "{path} {more:?}");
            let generation = pieces.generation().unwrap();
            assert_eq!(serde_json::json!(generation.ids), command["output_ids"], "{path} {more:?}");
            assert_eq!(generation.finish.name(), command["finish_reason"]);
        }
    }
}

#[test]
fn pieces_are_the_text_and_the_last_one_says_why_it_ends() {
    let model = Model::open(tiny()).unwrap();
    let whole = model.generate("The lamp", greedy(30)).unwrap().text().unwrap();
    let pieces: Vec<Piece> =
        model.generate("The lamp", greedy(30)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(pieces.iter().map(ToString::to_string).collect::<String>(), whole);
    let (last, others) = pieces.split_last().unwrap();
    assert!(others.iter().all(|piece| piece.id.is_some() && piece.finish.is_none()));
    assert!(last.id.is_none() && last.finish.is_some());
    let ids: Vec<u32> = others.iter().filter_map(|piece| piece.id).collect();
    assert_eq!(model.tokenizer().detokenizer().push(ids[0]), others[0].text);
}

#[test]
fn a_text_ends_where_it_is_asked_to() {
    let model = Model::open(tiny()).unwrap();
    let whole = model.generate("The lamp", greedy(30)).unwrap().text().unwrap();
    let stop: String = whole.chars().skip(5).take(3).collect();
    let options = Options { stop: vec![stop.clone()], ..greedy(30) };
    let mut pieces = model.generate("The lamp", options).unwrap();
    assert_eq!(pieces.text().unwrap(), whole.split(&stop).next().unwrap());
    assert_eq!(pieces.generation().unwrap().finish, Finish::Stop);
    assert!(pieces.generation().unwrap().stop_text && pieces.next().is_none());
    let mut none = model.generate("The lamp", greedy(0)).unwrap();
    assert_eq!((none.text().unwrap().as_str(), none.generation().unwrap().finish), ("", Finish::Length));
    let stopped = model.generate("The lamp", greedy(30)).unwrap();
    let mut stopped = stopped.watch(Watch::new(|| true, |_, _| ()));
    assert_eq!(stopped.text().unwrap(), "");
    assert_eq!(stopped.generation().unwrap().finish, Finish::Interrupted);
}

#[test]
fn what_cannot_be_generated_is_an_error() {
    let model = Model::open(tiny()).unwrap();
    let error = |prompt: &str, options: Options| model.generate(prompt, options).unwrap_err().to_string();
    let impossible = Sampling { temperature: -1.0, ..Sampling::greedy() };
    assert_eq!(error("x", impossible.into()), "temperature is -1, it must be 0 or more");
    assert!(error(&"x ".repeat(600), greedy(1)).contains("the model's context is 512"));
}

#[test]
fn perplexity_is_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let text = "The lighthouse keeper wrote down the weather every evening: wind from the north-west.";
    std::fs::write(folder.path().join("text"), text).unwrap();
    let (model, path) = (Model::open(tiny()).unwrap(), tiny());
    let args = ["evaluate", "-m", path.to_str().unwrap(), "--file", "text", "--json"];
    // As text: not every parser of numbers gives the same bits back.
    let is_in = |perplexity: f64, command: &str| command.contains(&format!("\"perplexity\":{perplexity},"));
    let command = mist(folder.path(), &args, "").text();
    let likelihood = model.perplexity(text).unwrap();
    assert!(is_in(likelihood.perplexity(), &command), "{likelihood:?} {command}");
    assert!(command.contains(&format!("\"scored_tokens\":{},", likelihood.scored)));
    let command = mist(folder.path(), &[&args[..], &["--context-length", "16"]].concat(), "").text();
    let windows = model.likelihood(&model.tokenize(text).unwrap(), Some(16), |_| ()).unwrap();
    assert!(is_in(windows.perplexity(), &command), "{windows:?} {command}");
    assert_eq!(model.perplexity("").unwrap_err().to_string(), "1 token, at least 2 are needed");
    let long = model.perplexity(&text.repeat(20)).unwrap_err().to_string();
    assert!(long.ends_with("in one window, the model's context is 512"), "{long}");
}
