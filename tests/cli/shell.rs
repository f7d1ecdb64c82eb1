//! What shells and `man` are given.

use std::fs;
use std::process::{Command, Stdio};

use crate::help::COMMANDS;
use crate::support::Mist;
use crate::transcript::Transcript;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

fn script(t: &Transcript, shell: &str) -> String {
    let ended = Mist::new(t.folder()).args(["completions", shell]).run();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}");
    ended.text()
}

#[test]
fn the_script_of_each_shell_names_every_command_and_each_flag_once() {
    let t = Transcript::new();
    for shell in SHELLS {
        let script = script(&t, shell);
        assert!(script.ends_with('\n'), "{shell}");
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
        let flag = if shell == "fish" { "-l checkpoint-dir" } else { "--checkpoint-dir" };
        assert!(script.contains(flag), "{shell}");
        assert!(!script.contains("checkpoint_dir"), "{shell} offers a second spelling");
    }
}

/// Of those shells that are here.
#[test]
fn each_shell_can_read_its_script() {
    let t = Transcript::new();
    for shell in ["bash", "zsh", "fish"] {
        let file = t.folder().join(shell);
        fs::write(&file, script(&t, shell)).unwrap();
        match Command::new(shell).arg("-n").arg(&file).output() {
            Ok(read) => assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}"),
            Err(_) => eprintln!("SKIPPED: there is no {shell} here"),
        }
    }
}

/// Runs the function of the script as bash does when Tab is pressed after `line`.
fn offered_by_bash(t: &Transcript, line: &str) -> Option<String> {
    let file = t.folder().join("mist.bash");
    fs::write(&file, script(t, "bash")).unwrap();
    let tab = r#"
        source "$1"; read -ra COMP_WORDS <<< "$2"
        [[ $2 == *' ' ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        _mist_models mist "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        echo "${COMPREPLY[*]}""#;
    let mut bash = Command::new("bash");
    // `compopt` complains where no completion is under way.
    bash.args(["-c", tab, "bash"]).arg(&file).arg(line).current_dir(t.folder()).stderr(Stdio::null());
    // Where the script finds `mist`, which is asked for the models that there are.
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_mist")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    bash.env("PATH", path).env("MIST_HOME", t.folder()).env("HF_HUB_CACHE", t.folder());
    bash.output().ok().map(|ended| String::from_utf8_lossy(&ended.stdout).trim_end().to_string())
}

#[test]
fn bash_offers_commands_flags_values_and_paths() {
    let t = Transcript::new();
    for (line, offered) in [
        ("mist ch", "chat"),
        ("mist chat --te", "--temperature"),
        // A boolean flag's optional value does not stand in the way of the next flag.
        ("mist chat --quiet --te", "--temperature"),
        ("mist chat --quantize q5", "q5_k q5_1 q5_0"),
        ("mist chat --device c", "cpu cuda"),
        ("mist chat --dtype b", "bf16"),
        ("mist chat --checkpoint-dir ch", "checkpoints"),
        ("mist chat --repo_", ""),
        ("mist chat --temperature ", ""),
        ("mist generate-sequential --dev", "--device --devices"),
        ("mist download TinyL", "TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
        ("mist completions z", "zsh"),
        ("mist generate ch", "checkpoints"),
        ("mist generate tiny/l", "tiny/llama"),
        ("mist generate -m tiny/m", "tiny/mixtral"),
        ("mist remove tiny/m", "tiny/mixtral"),
        ("mist generate tiny/llama ch", ""),
    ] {
        match offered_by_bash(&t, line) {
            Some(found) => assert_eq!(found, offered, "{line}"),
            None => eprintln!("SKIPPED: there is no bash here"),
        }
    }
}

/// For fish its generator is silent on what is not a flag.
#[test]
fn fish_is_told_of_values_that_are_no_flags() {
    let script = script(&Transcript::new(), "fish");
    let line = "complete -c mist -n \"__fish_mist_using_subcommand completions\" -f -a \"bash elvish fish powershell zsh\"\n";
    assert!(script.contains(line), "{script}");
}

#[test]
fn every_command_has_a_page() {
    let mut t = Transcript::new();
    t.run("man --output-dir pages");
    let pages = t.folder().join("pages");
    let mut names: Vec<_> =
        fs::read_dir(&pages).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<String> = COMMANDS.iter().map(|command| format!("mist-{command}.1")).collect();
    expected.push("mist.1".into());
    expected.sort();
    assert_eq!(names, expected);
    for name in names {
        let page = fs::read_to_string(pages.join(&name)).unwrap();
        let title = format!(".TH {} 1 \"\" \"mist ", name.trim_end_matches(".1").to_uppercase());
        assert!(page.starts_with(&title), "{name}: {page}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLE"] {
            assert!(page.contains(&format!(".SH {section}\n")), "{name} has no {section}");
        }
        // In the C locale a formatter leaves out what is not ASCII.
        assert!(page.is_ascii() && page.ends_with('\n'), "{name}");
        if let Ok(read) =
            Command::new("groff").args(["-man", "-ww", "-Tascii"]).arg(pages.join(&name)).output()
        {
            assert!(read.status.success() && read.stderr.is_empty(), "{name}: {read:?}");
        }
    }
    // Again, over what is there, and one to stdout.
    t.run("man --output-dir pages --quiet");
    let printed = Mist::new(t.folder()).args(["man"]).run();
    assert_eq!(printed.stdout, fs::read(pages.join("mist.1")).unwrap());
    fs::write(t.folder().join("file"), "").unwrap();
    t.run("man --output-dir file");
    t.run("completions tcsh");
    t.run("completions");
    t.matches("shell");
}

/// The smallest page with all that a page of a command has.
#[test]
fn a_page() {
    let t = Transcript::new();
    assert_eq!(Mist::new(t.folder()).args(["man", "--output-dir", "."]).run().code, Some(0));
    let page = fs::read_to_string(t.folder().join("mist-completions.1")).unwrap();
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("page", page.replace(env!("CARGO_PKG_VERSION"), "[version]"));
    });
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_success_and_a_full_disk_one_line() {
    let t = Transcript::new();
    for args in [&["completions", "bash"][..], &["man"]] {
        let script = r#"{ "$0" "$@"; echo $? > status; } | true"#;
        let ended = Mist::shell(t.folder(), script).args(args).run();
        assert_eq!(
            (fs::read_to_string(t.folder().join("status")).unwrap(), ended.stderr),
            ("0\n".into(), "".into())
        );
    }
    let script = r#"trap '' XFSZ; ulimit -f 1; exec "$0" "$@""#;
    let ended = Mist::shell(t.folder(), script).args(["man", "--output-dir", "pages"]).run();
    assert_eq!(ended.code, Some(1));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let [error, hint] = lines.as_slice() else { panic!("{ended:?}") };
    assert!(error.starts_with("error: cannot write pages/mist.1: "), "{ended:?}");
    assert!(hint.starts_with("hint: `ulimit -f unlimited`"), "{ended:?}");
    assert!(!ended.stderr.contains(".partial"), "{ended:?}");
    assert_eq!(fs::read_dir(t.folder().join("pages")).unwrap().count(), 0, "no part is left");
    if std::path::Path::new("/dev/full").exists() {
        let ended = Mist::shell(t.folder(), r#""$0" "$@" > /dev/full"#).args(["completions", "zsh"]).run();
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
        assert!(ended.stderr.starts_with("error: cannot write to stdout: "), "{ended:?}");
    }
}
