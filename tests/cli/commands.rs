//! What works.

use crate::support::{Mist, fixtures};
use crate::transcript::Transcript;

const GREEDY: &str = "--prompt 'The keeper' --temperature 0 --max-new-tokens 8";

#[test]
fn generate() {
    let mut t = Transcript::new();
    t.run(&format!("generate --checkpoint-dir tiny/llama {GREEDY}"));
    t.run(&format!("generate --checkpoint-dir tiny/llama {GREEDY} --quiet --echo"));
    t.run(&format!("generate --checkpoint-dir tiny/llama {GREEDY} --verbose --chat"));
    t.run("generate --checkpoint-dir tiny/llama --prompt 'The keeper' --max-new-tokens 0 --seed 1");
    t.run("generate --checkpoint-dir tiny/llama --prompt 'The keeper' --max-new-tokens 1 --seed 1");
    t.run("generate --checkpoint-dir tiny.gguf --prompt 'The keeper' --seed 7 --max-new-tokens 8 --num-samples 2");
    t.run("generate --checkpoint-dir tiny/mixtral --prompt 'The keeper' --seed 7 --max-new-tokens 8 --threads 1");
    t.matches("generate");
}

#[test]
fn generate_as_json() {
    let mut t = Transcript::new();
    t.run(&format!("generate --checkpoint-dir tiny/llama {GREEDY} --seed 3 --json"));
    t.run(&format!(
        "generate --checkpoint-dir tiny/llama {GREEDY} --seed 3 --json true --num-samples 2 --quiet"
    ));
    t.matches("generate_json");
}

#[test]
fn generate_from_files_and_pipes() {
    let mut t = Transcript::new();
    std::fs::write(t.folder().join("prompts.txt"), "The keeper\nA whale\r\nThe keeper\n").unwrap();
    let rest = "--temperature 0 --max-new-tokens 6 --quiet";
    t.run(&format!("generate --checkpoint-dir tiny/llama --prompts-file prompts.txt {rest}"));
    t.run(&format!("generate --checkpoint-dir tiny/llama --prompts-file prompts.txt {rest} --echo"));
    t.run_with(&format!("generate --checkpoint-dir tiny/llama {rest}"), |m| m.stdin("A whale"));
    t.run_with(&format!("generate --checkpoint-dir tiny/llama --prompt - {rest}"), |m| m.stdin("A whale"));
    t.run_with(&format!("generate --checkpoint-dir tiny/llama --prompt - {rest} --echo"), |m| {
        m.stdin("A whale\n")
    });
    t.matches("generate_sources");
}

/// A field that the template may read was dropped, and the ids were those of another conversation.
#[test]
fn a_message_with_a_field_that_is_not_understood_is_refused() {
    let t = Transcript::new();
    for field in ["name", "tool_calls", "tool_call_id", "reasoning_content"] {
        let message = format!(r#"[{{"role": "user", "content": "hi", "{field}": "x"}}]"#);
        std::fs::write(t.folder().join("chat.json"), message).unwrap();
        let args = ["tokenize", "--checkpoint-dir", "tiny/llama", "--messages", "chat.json"];
        let ended = Mist::new(t.folder()).args(args).run();
        assert_eq!((ended.code, ended.text().as_str()), (Some(1), ""), "{ended:?}");
        let error = format!("unknown field `{field}`, expected `role` or `content`");
        assert!(
            ended.stderr.starts_with("error: chat.json is ") && ended.stderr.contains(&error),
            "{ended:?}"
        );
    }
}

/// An empty line, and no word why.
#[test]
fn a_text_that_ends_before_it_begins_says_why() {
    let t = Transcript::new();
    let run = |more: &[&str]| {
        let args =
            ["generate", "--checkpoint-dir", "tiny/llama", "--prompt", "The keeper", "--temperature", "0"];
        Mist::new(t.folder()).args(args).args(more).run()
    };
    let text = run(&[]).text();
    let first = &text[..text.chars().next().unwrap().len_utf8()];
    for more in [&["--stop", first][..], &["--stop", first, "--echo"]] {
        let ended = run(more);
        assert!(ended.stderr.contains("The text is empty: it began with a stop text\n"), "{ended:?}");
    }
}

#[test]
fn a_seed_that_was_drawn_can_be_given_again() {
    let t = Transcript::new();
    let run = |more: &[&str]| {
        let args = ["generate", "--checkpoint-dir", "tiny/llama", "--prompt", "The keeper"];
        Mist::new(t.folder()).args(args).args(more).run()
    };
    let drawn = run(&[]);
    let seed = drawn.stderr.lines().find_map(|line| line.strip_prefix("Seed: ")).unwrap();
    let again = run(&["--seed", seed]);
    assert_eq!(drawn.text(), again.text());
    assert!(!again.stderr.contains("Seed: "), "it was given");
    assert_ne!(run(&["--seed", &format!("{seed}1")]).text(), again.text());
}

#[test]
fn a_stop_text_ends_the_text_and_is_not_part_of_it() {
    let t = Transcript::new();
    let run = |more: &[&str]| {
        let args =
            ["generate", "--checkpoint-dir", "tiny/llama", "--prompt", "The keeper", "--temperature", "0"];
        let ended =
            Mist::new(t.folder()).args(args).args(["--max-new-tokens", "40", "--json"]).args(more).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.json()
    };
    let whole = run(&[]);
    let text = whole["text"].as_str().unwrap();
    // A stop text that is not the first of its kind would end the text earlier.
    let letters: Vec<char> = text.chars().collect();
    let stop: String = letters[letters.len() / 2..letters.len() / 2 + 3].iter().collect();
    let expected = text.split(&stop).next().unwrap();
    let stopped = run(&["--stop", "not in there", "--stop", &stop]);
    assert_eq!(
        (stopped["text"].as_str().unwrap(), stopped["finish_reason"].as_str().unwrap()),
        (expected, "stop")
    );
    assert_eq!(whole["finish_reason"], "length");
    assert_eq!(whole["output_ids"].as_array().unwrap().len(), 40);
}

#[test]
fn generate_sequential() {
    let mut t = Transcript::new();
    t.run(&format!("generate --checkpoint-dir tiny/mixtral {GREEDY} --quiet"));
    t.run(&format!("generate-sequential --checkpoint-dir tiny/mixtral {GREEDY}"));
    t.run(&format!("generate-sequential --checkpoint-dir tiny/mixtral {GREEDY} --devices 3 --verbose"));
    t.run(&format!(
        "generate-sequential --checkpoint-dir tiny/mixtral {GREEDY} --devices cpu,cpu --split 4,1"
    ));
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 3 --plan");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 2 --split 1,4 --plan --json");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 6 --plan");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 2 --split 1,3 --plan");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 2 --split 1,2,2 --plan");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 2 --split 0,5 --plan");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices gpu --plan");
    t.run("generate-sequential --checkpoint-dir tiny/mixtral --devices 0 --plan");
    t.matches("generate_sequential");
}

#[test]
fn plans_by_memory() {
    let mut t = Transcript::new();
    let plan = "generate-sequential --checkpoint-dir tiny/mixtral --plan";
    t.run(&format!("{plan} --devices 3 --memory 500KiB,2MiB,900KB"));
    t.run(&format!("{plan} --devices 2 --memory 800KiB"));
    t.run(&format!("{plan} --devices 2 --memory 800KiB --context-length 512"));
    t.run(&format!("{plan} --devices 2 --memory 800KiB --prompt 'The keeper' --json"));
    t.run(&format!("{plan} --devices 2 --split 3,2 --memory 800KiB,2MiB"));
    t.run(&format!("{plan} --devices 2 --memory 1KiB"));
    t.run(&format!("{plan} --device cpu --memory 800KiB"));
    // Cards that are not there, whether or not their memory is given.
    t.run(&format!("{plan} --devices cuda:0,cpu --memory 700KiB,100MiB"));
    t.run(&format!("{plan} --devices cuda:0,cpu"));
    t.run(&format!("{plan} --device metal"));
    t.run(&format!("{plan} --split 3,2"));
    t.run(&format!("{plan} --devices 2 --split 4,1 --memory 1200KiB"));
    // As it runs: the cache is that of the prompt and what follows it.
    let run = "generate-sequential --checkpoint-dir tiny/mixtral --prompt 'The keeper' --temperature 0";
    t.run(&format!("{run} --max-new-tokens 4 --devices 2 --memory 600KiB"));
    t.run(&format!("{run} --max-new-tokens 900 --devices 2 --memory 600KiB"));
    t.matches("plans_by_memory");
}

/// Only the computed tokens were counted.
#[test]
fn a_file_of_prompts_counts_the_tokens_that_were_in_the_cache() {
    let t = Transcript::new();
    std::fs::write(t.folder().join("many.txt"), "The keeper\nA whale\nThe keeper saw a light\nOh\n").unwrap();
    let tokens = |more: &[&str]| -> Vec<usize> {
        let mist = Mist::new(t.folder()).args(["generate", "tiny/mixtral", "--prompts-file", "many.txt"]);
        let ended = mist.args(["--temperature", "0", "-n", "6", "--num-samples", "2"]).args(more).run();
        let line = ended.stderr.split("Prompts: ").nth(1).unwrap();
        let line = line.split_once(". Generated").unwrap().0;
        assert!(more.is_empty() || line.ends_with(" more in the cache)"), "{line}");
        line.split([' ', '(']).filter_map(|word| word.parse().ok()).collect()
    };
    let (all, little_memory) = (tokens(&[]), tokens(&["--memory", "700KiB"]));
    assert!(all.len() == 1 && little_memory.len() == 2);
    assert_eq!(little_memory.iter().sum::<usize>(), all[0]);
}

#[test]
fn a_file_of_prompts_is_computed_together() {
    let mut t = Transcript::new();
    std::fs::write(t.folder().join("many.txt"), "The keeper\nA whale\nThe keeper saw a light\nOh\n").unwrap();
    for devices in ["", "--devices 3"] {
        let run = format!(
            "generate --checkpoint-dir tiny/mixtral --prompts-file many.txt {devices} --temperature 0"
        );
        t.run(&format!("{run} --max-new-tokens 6"));
        t.run(&format!("{run} --max-new-tokens 6 --memory 720KiB --quiet"));
    }
    let sampled =
        "generate --checkpoint-dir tiny/llama --prompts-file many.txt --max-new-tokens 5 --seed 7 --quiet";
    t.run(&format!("{sampled} --num-samples 2"));
    t.run(&format!("{sampled} --json"));
    std::fs::write(t.folder().join("gap.txt"), "a\n\nb\n").unwrap();
    t.run("generate --checkpoint-dir tiny/llama --prompts-file gap.txt --temperature 0 --max-new-tokens 5");
    std::fs::write(t.folder().join("long.txt"), format!("a\n{}\n", "The keeper wrote. ".repeat(400)))
        .unwrap();
    t.run("generate --checkpoint-dir tiny/llama --prompts-file long.txt");
    std::fs::write(t.folder().join("nothing.txt"), "").unwrap();
    t.run("generate --checkpoint-dir tiny/llama --prompts-file nothing.txt");
    t.matches("prompts_file");
}

#[test]
fn evaluate() {
    let mut t = Transcript::new();
    let text = "The lighthouse keeper wrote down the weather every evening: wind from the north-west.\n";
    std::fs::write(t.folder().join("text.txt"), text.repeat(3)).unwrap();
    t.run("evaluate --checkpoint-dir tiny/llama --file text.txt");
    t.run("evaluate --checkpoint-dir tiny/llama --file text.txt --context-length 32 --json");
    t.run("evaluate --checkpoint-dir tiny.gguf --file text.txt --no-bos --cache-dtype f16");
    t.run_with("evaluate --checkpoint-dir tiny/llama --file -", |m| m.stdin(text.repeat(3)));
    std::fs::write(t.folder().join("long.txt"), text.repeat(60)).unwrap();
    t.run("evaluate --checkpoint-dir tiny/llama --file long.txt");
    std::fs::write(t.folder().join("empty.txt"), "").unwrap();
    t.run("evaluate --checkpoint-dir tiny/llama --file empty.txt");
    t.run("evaluate --checkpoint-dir tiny/llama --file missing.txt");
    std::fs::write(t.folder().join("latin1.txt"), b"\xe9t\xe9").unwrap();
    t.run("evaluate --checkpoint-dir tiny/llama --file latin1.txt");
    t.matches("evaluate");
}

#[test]
fn tokenize() {
    let mut t = Transcript::new();
    t.run("tokenize --checkpoint-dir tiny/llama --text 'The keeper saw 東京🙂'");
    t.run("tokenize --checkpoint-dir tiny.gguf --text 'The keeper saw 東京🙂' --no-bos");
    t.run("tokenize --checkpoint-dir tiny/llama --text 'a<|im_end|>b' --json");
    t.run("tokenize --checkpoint-dir tiny/llama --text ''");
    t.run_with("tokenize --checkpoint-dir tiny/llama --text -", |m| m.stdin("The keeper\n"));
    t.run("tokenize --checkpoint-dir tiny/llama --decode 0 68 31 95 76");
    t.run("tokenize --checkpoint-dir tiny/llama --decode 68,31,95 --json");
    t.run_with("tokenize --checkpoint-dir tiny/llama --decode -", |m| m.stdin("[0, 68,\n31]"));
    std::fs::write(t.folder().join("chat.json"), r#"[{"role": "user", "content": "And then?"}]"#).unwrap();
    t.run("tokenize --checkpoint-dir tiny/llama --messages chat.json");
    t.run("tokenize --checkpoint-dir tiny/llama --messages chat.json --json");
    let own = r#"{"ids":[0,68,31],"tokens":["<s>","a","<"]}"#.to_string()
        + "\n{\"output_ids\": [68], \"prompt_ids\": [0]}";
    t.run_with("tokenize --checkpoint-dir tiny/llama --decode -", |m| m.stdin(own.as_bytes()));
    t.run_with("tokenize --checkpoint-dir tiny/llama --decode -", |m| m.stdin(r#"{"text": "a"}"#));
    t.run_with("tokenize --checkpoint-dir tiny/llama --decode -", |m| m.stdin("1 two"));
    t.run("tokenize --checkpoint-dir tiny/llama --decode many");
    t.run("tokenize --checkpoint-dir tiny/llama --decode 4294967296");
    t.run("tokenize --checkpoint-dir tiny/llama --decode 320");
    t.run("tokenize --checkpoint-dir tiny/llama");
    t.run("tokenize --checkpoint-dir tiny/llama --text a --decode 1");
    std::fs::write(t.folder().join("chat.json"), r#"{"role": "user"}"#).unwrap();
    t.run("tokenize --checkpoint-dir tiny/llama --messages chat.json");
    t.matches("tokenize");
}

/// `tests/fixtures/tokenizer/reference.json`: a conversation as transformers writes it.
#[test]
fn a_conversation_has_the_ids_of_the_reference() {
    let t = Transcript::new();
    let text = std::fs::read_to_string(fixtures().join("tokenizer/reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let messages = t.folder().join("chat.json");
    std::fs::write(&messages, reference["chat"]["messages"].to_string()).unwrap();
    let args = ["tokenize", "--checkpoint-dir", "tiny/llama", "--messages", "chat.json", "--json"];
    assert_eq!(Mist::new(t.folder()).args(args).run().json()["ids"], reference["chat"]["ids"]);
}

#[test]
fn inspect() {
    let mut t = Transcript::new();
    t.run("inspect --checkpoint-dir tiny/llama");
    t.run("inspect --checkpoint-dir tiny/mixtral --verify --context-length 100");
    t.run("inspect --checkpoint-dir tiny.gguf --json");
    t.matches("inspect");
}

#[test]
fn devices() {
    let mut t = Transcript::new();
    t.run("devices");
    t.run("devices --json");
    t.run_with("devices", |m| m.env("MIST_CPU", "mmx").env("NO_COLOR", "1"));
    t.matches("devices");
}

#[test]
fn convert_and_what_it_made() {
    let mut t = Transcript::new();
    t.run("convert --checkpoint-dir tiny.gguf --output-dir out --dry-run");
    assert!(!t.folder().join("out").exists());
    t.run("convert --checkpoint-dir tiny.gguf --output-dir out --json");
    t.run("convert --checkpoint-dir tiny.gguf --output-dir out");
    t.run("convert --checkpoint-dir tiny.gguf --output-dir out --force --quiet");
    t.run(&format!("generate --checkpoint-dir tiny.gguf {GREEDY} --quiet"));
    t.run(&format!("generate --checkpoint-dir out {GREEDY} --quiet"));
    t.run("inspect --checkpoint-dir out");
    t.run("convert --checkpoint_dir tiny/llama --dtype bf16");
    t.run("inspect --checkpoint-dir tiny/llama --quiet");
    let mut left: Vec<_> =
        std::fs::read_dir(t.folder().join("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["mist.json", "mist.safetensors", "tokenizer.json", "tokenizer_config.json"]);
    t.matches("convert");
}

#[test]
fn originals_go_after_the_conversion_was_compared_with_them_and_it_opens_in_their_place() {
    let t = Transcript::new();
    let folder = t.folder().join("checkpoints/tiny/mixtral");
    let run = |line: &str| Mist::new(t.folder()).args(line.split(' ')).run();
    let deleted = run("convert --checkpoint-dir tiny/mixtral --quantize q8_0 --delete-originals");
    assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    assert!(!folder.join("model.safetensors.index.json").exists());
    assert!(folder.join("tokenizer.json").exists());
    for line in [
        "generate --checkpoint-dir tiny/mixtral --prompt a --temperature 0",
        "convert --checkpoint-dir tiny/mixtral --to hf",
    ] {
        let ended = run(line);
        assert_eq!(ended.code, Some(0), "{line}: {}", ended.stderr);
    }
    assert!(folder.join("hf/model.safetensors").exists());
}

#[test]
fn a_quantized_run_converts_once_and_again_when_the_originals_are_others() {
    let mut t = Transcript::new();
    let tiny = format!("generate --checkpoint-dir tiny/llama --quantize q8_0 {GREEDY}");
    t.run(&tiny);
    t.run(&format!("{tiny} --quiet"));
    t.run(&format!("generate --checkpoint-dir tiny.gguf --quantize q4_0 {GREEDY} --quiet"));
    assert!(t.folder().join("checkpoints/tiny/llama/q8_0/mist.json").exists());
    assert!(t.folder().join("tiny.q4_0/tokenizer.json").exists());
    // The conversion beside the originals is one as well, and theirs is what runs without the flag.
    t.run("convert --checkpoint-dir tiny/llama --quantize q4_1 --quiet");
    t.run(&format!("generate --checkpoint-dir tiny/llama --quantize q4_1 {GREEDY} --quiet"));
    assert!(!t.folder().join("checkpoints/tiny/llama/q4_1").exists());
    let weights = t.folder().join("checkpoints/tiny/llama/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    t.run("inspect --checkpoint-dir tiny/llama --quiet");
    t.run(&tiny);
    t.matches("quantize");
}

#[test]
fn download_without_a_repository_lists_names() {
    let mut t = Transcript::new();
    t.run("download");
    t.matches("download");
}

/// lit-gpt's tutorials write flags in snake_case and give booleans a value.
#[test]
fn snake_case_flags_mean_the_same() {
    let t = Transcript::new();
    let run = |line: &str| Mist::new(t.folder()).args(line.split(' ')).run();
    let kebab =
        run("generate --checkpoint-dir tiny/llama --prompt x --max-new-tokens 5 --top-k 3 --seed 1 --quiet");
    let snake = run(
        "generate --checkpoint_dir tiny/llama --prompt x --max_new_tokens 5 --top_k 3 --seed 1 --quiet true",
    );
    assert_eq!((kebab.code, kebab.text()), (Some(0), snake.text()));
    assert_eq!(snake.stderr, "");
}
