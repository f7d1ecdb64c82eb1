//! What an earlier run left behind and something else has damaged since: the next run finds out, whatever it is.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::faults::checkpoint;
use crate::support::{Hub, MIB, folder, noise};

const WEIGHTS: &str = "model.safetensors";
const PARTIAL: &str = ".model.safetensors.partial";
const JOURNAL: &str = ".model.safetensors.journal";
const MANIFEST: &str = "mist-download.json";
const SIZE: u64 = 24 * MIB + 77;

/// A name, and what happens to the folder.
type Damage = (&'static str, fn(&Path));

fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(file).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn resize(file: &Path, change: impl Fn(u64) -> u64) {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(file).unwrap();
    file.set_len(change(file.metadata().unwrap().len())).unwrap();
}

const OF_A_PART: &[Damage] = &[
    ("none", |_| {}),
    ("no partial file", |f| drop(fs::remove_file(f.join(PARTIAL)))),
    ("no journal", |f| drop(fs::remove_file(f.join(JOURNAL)))),
    ("an empty partial file", |f| resize(&f.join(PARTIAL), |_| 0)),
    ("a partial file cut in half", |f| resize(&f.join(PARTIAL), |n| n / 2)),
    ("a partial file longer than the file", |f| resize(&f.join(PARTIAL), |_| SIZE + 1000)),
    ("a partial file of the right length and nothing else", |f| {
        resize(&f.join(PARTIAL), |_| 0);
        resize(&f.join(PARTIAL), |_| SIZE);
    }),
    ("a wrong byte in the partial file", |f| overwrite(&f.join(PARTIAL), 1000, b"wrong")),
    ("a wrong byte at its beginning", |f| overwrite(&f.join(PARTIAL), 0, b"wrong")),
    ("an empty journal", |f| resize(&f.join(JOURNAL), |_| 0)),
    ("a journal cut in its last line", |f| resize(&f.join(JOURNAL), |n| n.saturating_sub(1))),
    ("a journal cut in half", |f| resize(&f.join(JOURNAL), |n| n / 2)),
    ("a journal with zeros at its end", |f| resize(&f.join(JOURNAL), |n| n + 4096)),
    ("a journal with something at its end", |f| {
        let end = fs::metadata(f.join(JOURNAL)).map_or(0, |m| m.len());
        overwrite(&f.join(JOURNAL), end, b"\n\xff\xfe 0-18446744073709551615 {\"\n");
    }),
    ("a journal of something else", |f| overwrite(&f.join(JOURNAL), 0, &[0xff; 512])),
    ("a journal of another program", |f| fs::write(f.join(JOURNAL), "{\"version\":99}\n").unwrap()),
    ("a journal whose validator no server can be given", |f| {
        let journal = fs::read_to_string(f.join(JOURNAL)).unwrap_or_default();
        let (heading, rest) = journal.split_once('\n').unwrap_or_default();
        fs::write(f.join(JOURNAL), format!("{heading}\netag \"a\u{1}b\"\n{rest}")).unwrap();
    }),
    ("a journal that ends with such a validator", |f| {
        let end = fs::metadata(f.join(JOURNAL)).map_or(0, |m| m.len());
        overwrite(&f.join(JOURNAL), end, b"etag \"\x7f\"\n");
    }),
    ("a manifest of something else", |f| fs::write(f.join(MANIFEST), "[[[[\u{0}").unwrap()),
];

const OF_THE_WHOLE: &[Damage] = &[
    ("none", |_| {}),
    ("a wrong byte", |f| overwrite(&f.join(WEIGHTS), 1_000_000, b"wrong")),
    ("cut in half", |f| resize(&f.join(WEIGHTS), |n| n / 2)),
    ("longer", |f| resize(&f.join(WEIGHTS), |n| n + 1)),
    ("not there", |f| fs::remove_file(f.join(WEIGHTS)).unwrap()),
    ("a small file with other content", |f| overwrite(&f.join("config.json"), 0, b"[")),
    ("no manifest", |f| drop(fs::remove_file(f.join(MANIFEST)))),
    ("an empty manifest", |f| fs::write(f.join(MANIFEST), "").unwrap()),
    ("a manifest of something else", |f| fs::write(f.join(MANIFEST), "{\"files\":[{}]}").unwrap()),
    ("an old partial file beside it", |f| fs::write(f.join(PARTIAL), "old").unwrap()),
];

/// A download that is killed when half of the weights were sent, if it has not ended by then.
fn half_of_it(hub: &Hub) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let before = hub.sent(WEIGHTS);
    hub.server.throttle(64 * MIB);
    let mut run = hub.download(root.path(), &[]);
    while hub.sent(WEIGHTS) - before < SIZE / 2 && run.runs() {
        sleep(Duration::from_millis(1));
    }
    run.kill();
    hub.server.throttle(0);
    root
}

#[test]
fn a_damaged_part_never_becomes_a_wrong_file() {
    let hub = Hub::start(checkpoint(noise(SIZE)));
    for (name, damage) in OF_A_PART {
        // On a busy machine the kill may come after the end; then there is nothing to damage.
        let halves = (0..10).map(|_| half_of_it(&hub));
        let root = halves.into_iter().find(|root| folder(root.path()).join(PARTIAL).exists());
        let root = root.expect("a part");
        damage(&folder(root.path()));
        let ended = hub.download(root.path(), &[]).end();
        assert_eq!(
            (hub.judge(&ended, root.path()), ended.code),
            (Ok(()), Some(0)),
            "{name}:\n{}",
            ended.stderr
        );
    }
}

#[test]
fn a_damaged_file_is_found_and_fetched_again() {
    let hub = Hub::start(checkpoint(noise(SIZE)));
    for (name, damage) in OF_THE_WHOLE {
        let root = tempfile::tempdir().unwrap();
        hub.complete(root.path());
        damage(&folder(root.path()));
        let ended = hub.download(root.path(), &[]).end();
        assert_eq!(
            (hub.judge(&ended, root.path()), ended.code),
            (Ok(()), Some(0)),
            "{name}:\n{}",
            ended.stderr
        );
    }
}

#[test]
fn a_folder_where_a_file_should_be_is_an_error_of_one_line() {
    for name in [PARTIAL, JOURNAL, WEIGHTS, MANIFEST] {
        let (hub, root) = (Hub::start(checkpoint(noise(MIB))), tempfile::tempdir().unwrap());
        let in_the_way = folder(root.path()).join(name);
        fs::create_dir_all(in_the_way.join("not empty")).unwrap();
        let ended = hub.download(root.path(), &[]).end();
        ended.orderly().unwrap();
        assert!(ended.code == Some(1) && ended.stderr.contains(name), "{name}:\n{}", ended.stderr);
        assert!(in_the_way.join("not empty").is_dir(), "{name}");
    }
}
