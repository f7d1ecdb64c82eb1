//! Every reader of a stranger's bytes, on fixtures that are changed at random. The bodies are those of `fuzz/`.
//!
//! Each target runs in a process of its own, under a limit of memory, for a few seconds. What breaks it (a panic, an abort,
//! a signal, too much memory or time for one input) is kept as a file, whose path the failed test gives:
//!
//! | variable | |
//! |---|---|
//! | `MIST_FUZZ_SECONDS` | how long each target runs; 2 by default |
//! | `MIST_FUZZ_SEED` | another beginning of the random numbers |
//! | `MIST_FUZZ_INPUT` | the file that each target runs on, and no other |
// The lint knows functions marked as tests, not their helpers; a helper that fails here is a failed test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, clippy::exit, clippy::disallowed_methods)]

mod mutate;
mod targets;

use std::alloc::{GlobalAlloc, Layout};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use targets::{TARGETS, Target};

/// Bytes that a target may hold at once.
const MEMORY: usize = 512 << 20;
/// Bytes that a target may keep of all inputs before it begins anew: a template that exceeded its limit keeps what it had.
const KEPT: usize = 64 << 20;
/// How long one input may take: more than the two renderings of a template may, on a machine that has other work.
const SLOW: Duration = Duration::from_secs(120);
/// The exit status of a process that asks to be begun anew.
const ANEW: i32 = 77;

/// The program's own allocator, and a count of what is held.
struct Counted;

static HELD: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn count(more: usize) {
    if HELD.fetch_add(more, Ordering::Relaxed) + more > MEMORY {
        // Nothing can be reported here but this: the parent knows the input.
        std::process::abort();
    }
}

// SAFETY: every call is passed on as it is; what is counted beside it neither allocates nor unwinds.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise for this function is the one that the other's wants.
        let pointer = unsafe { mist::system::budget::Limited.alloc(layout) };
        count(layout.size());
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { mist::system::budget::Limited.alloc_zeroed(layout) };
        count(layout.size());
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { mist::system::budget::Limited.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { mist::system::budget::Limited.realloc(pointer, layout, size) };
        count(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        pointer
    }
}

/// Names the target to the process that runs it, and the file for its inputs.
const CHILD: &str = "MIST_FUZZ_CHILD";

fn seconds() -> f64 {
    std::env::var("MIST_FUZZ_SECONDS").map_or(2.0, |text| text.parse().unwrap())
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let files = target.seeds.iter().map(|name| fs::read(targets::fixtures().join(name)).unwrap());
    let seeds: Vec<Vec<u8>> = files.chain((target.made)()).collect();
    assert!(!seeds.is_empty());
    seeds
}

/// Runs the target in other processes until its time is over.
fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    if let Some(input) = std::env::var_os(CHILD) {
        return run(target, Path::new(&input));
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder).unwrap();
    let first: u64 = std::env::var("MIST_FUZZ_SEED").map_or(1, |text| text.parse().unwrap());
    for seed in first.. {
        let left = end.saturating_duration_since(Instant::now()).as_secs_f64();
        if seed > first && left == 0.0 {
            return;
        }
        let input = folder.join(format!("{name}-{seed}"));
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([name, "--exact", "--nocapture", "--test-threads=1"]);
        child
            .env(CHILD, &input)
            .env("MIST_FUZZ_SEED", seed.to_string())
            .env("MIST_FUZZ_SECONDS", left.to_string());
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) | Some(ANEW) => {
                eprint!(
                    "{}",
                    said.lines()
                        .filter(|l| l.starts_with("fuzz: "))
                        .map(|l| format!("{l}\n"))
                        .collect::<String>()
                );
                fs::remove_file(&input).ok();
            }
            _ => panic!("{name} breaks on {}: {}\n{said}", input.display(), output.status),
        }
        if output.status.code() == Some(0) {
            return;
        }
    }
}

/// A target's process: each input is in the file while it is tried.
fn run(target: &Target, input: &Path) {
    let seed: u64 = std::env::var("MIST_FUZZ_SEED").map_or(1, |text| text.parse().unwrap());
    if let Some(only) = std::env::var_os("MIST_FUZZ_INPUT") {
        return (target.run)(&fs::read(PathBuf::from(only)).unwrap());
    }
    let seeds = seeds(target);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs_f64(seconds());
    let (mut tries, mut slowest) = (0u64, Duration::ZERO);
    let watch = watch();
    let mut inputs = seeds.clone().into_iter();
    let before = HELD.load(Ordering::Relaxed);
    loop {
        let bytes = inputs.next().unwrap_or_else(|| mutate::mutated(&mut random, &seeds));
        fs::write(input, &bytes).unwrap();
        watch.store(0, Ordering::Relaxed);
        let start = Instant::now();
        (target.run)(&bytes);
        slowest = slowest.max(start.elapsed());
        tries += 1;
        let kept = HELD.load(Ordering::Relaxed).saturating_sub(before) > KEPT;
        if Instant::now() > end || kept {
            let name = target.name;
            eprintln!("fuzz: {name}, seed {seed}: {tries} inputs, the slowest took {slowest:?}");
            std::process::exit(if kept { ANEW } else { 0 });
        }
    }
}

/// Ends the process when an input takes too long: seconds since the number was last set to 0.
fn watch() -> std::sync::Arc<AtomicUsize> {
    let since = std::sync::Arc::new(AtomicUsize::new(0));
    let watched = since.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if watched.fetch_add(1, Ordering::Relaxed) as u64 > SLOW.as_secs() {
                eprintln!("an input takes longer than {SLOW:?}");
                std::process::abort();
            }
        }
    });
    since
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { fuzz(stringify!($name)); })*

        #[test]
        fn every_target_is_run_and_has_a_program_in_fuzz() {
            let names = [$(stringify!($name)),*];
            assert_eq!(names.to_vec(), TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let listed = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            for name in names {
                let program = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
                assert!(program.contains(&format!("targets::{name}(data)")), "{name}");
                assert!(listed.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

tests! {
    gguf safetensors index zip pickle config params lit_yaml lit_json generation_config manifests tokenizer_json
    tokenizer_model tekken tokenizer_config template journal listing terminal
}

/// Writes what the targets begin with where `cargo fuzz` looks for it.
#[test]
#[ignore = "writes to fuzz/corpus; see fuzz/README.md"]
fn corpus() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (i, bytes) in seeds(target).into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{i}")), bytes).unwrap();
        }
    }
}
