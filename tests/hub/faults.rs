//! One fault at a time, and what must come of it.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mist::hub::Error;
use regex::Regex;

use crate::fault::{Fault, Fault::*, To};
use crate::support::{Hits, Hits::*, Hub, MIB, Rule, Served, folder, large, noise, small};
use crate::{download, hasty};

/// What must come of a run.
#[derive(Clone, Copy, Debug)]
enum End {
    /// All files, byte-identical.
    Whole,
    /// An error whose line matches this.
    Fails(&'static str),
    /// One of the two: the server lies so that both are right.
    Either,
}
use End::{Either, Fails, Whole};

/// A name, the rules that the servers follow, and what comes of it.
type Case = (&'static str, &'static [Rule], End);

/// Runs at once: most of them wait, for a pause or a slow answer.
const AT_ONCE: usize = 12;
const SMALL: u64 = 3 * MIB + 1234;
/// Several segments, the last of them short.
const LARGE: u64 = 40 * MIB + 4321;

/// Addresses: the weights at the hub, a small file there, any file there, and where redirects lead.
pub const W: &str = "/resolve/0123456789abcdef0123456789abcdef01234567/model.safetensors";
const C: &str = "/resolve/0123456789abcdef0123456789abcdef01234567/config.json";
pub const RESOLVE: &str = "/resolve/";
pub const SIGNED: &str = "/signed/";
pub const MOVED: &str = "/moved/";
const REVISION: &str = "/revision/";
const TREE: &str = "/tree/";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Cuts, statuses and lies about a file of one piece.
const ONE_PIECE: &[Case] = &[
    ("all is well", &[], Whole),
    ("closed before the first byte", &[(W, First(1), Cut(0))], Whole),
    ("closed after the first byte", &[(W, First(1), Cut(1))], Whole),
    ("closed in the middle", &[(W, First(1), Cut(1_500_001))], Whole),
    ("closed before the last byte", &[(W, First(1), Cut(SMALL as usize - 1))], Whole),
    ("closed after the last byte", &[(W, Always, Cut(SMALL as usize))], Whole),
    ("closed at a third, each time", &[(W, Always, Cut(MIB as usize + 500))], Whole),
    ("closed before the first byte four times", &[(W, First(4), Cut(0))], Whole),
    (
        "closed before the first byte each time",
        &[(W, Always, Cut(0))],
        Fails("safetensors.*cut short at 0 of"),
    ),
    ("closed after ten bytes each time", &[(W, Always, Cut(10))], Fails("safetensors.*cut short at")),
    ("reset before the first byte", &[(W, First(1), Reset(0))], Whole),
    ("reset in the middle", &[(W, First(1), Reset(1_500_001))], Whole),
    ("reset each time", &[(W, Always, Reset(0))], Fails("cut short|cannot be reached")),
    ("half a head", &[(W, First(1), HeadCut)], Whole),
    ("half a head each time", &[(W, Always, HeadCut)], Fails("cannot be reached|cut short|answer")),
    ("no HTTP", &[(W, First(1), Garbage)], Whole),
    ("no HTTP each time", &[(W, Always, Garbage)], Fails("cannot be reached|answer")),
    ("closed without a word", &[(W, First(2), Silence(Duration::from_millis(100)))], Whole),
    ("a second of nothing", &[(W, Always, Stall(MIB as usize, seconds(1)))], Whole),
    ("500 twice", &[(W, First(2), Status(500))], Whole),
    ("502", &[(W, First(1), Status(502))], Whole),
    ("503 four times", &[(W, First(4), Later(503, "0"))], Whole),
    ("503 each time", &[(W, Always, Status(503))], Fails("answered 503 for model.safetensors")),
    ("503 that says when", &[(W, First(1), Later(503, "1"))], Whole),
    ("504", &[(W, First(1), Status(504))], Whole),
    ("408", &[(W, First(1), Status(408))], Whole),
    ("429", &[(W, First(2), Status(429))], Whole),
    ("429 each time", &[(W, Always, Later(429, "0"))], Fails("answered 429 for model.safetensors")),
    ("429 until a date", &[(W, First(1), Later(429, "Wed, 21 Oct 2015 07:28:00 GMT"))], Whole),
    ("429 for ever and a day", &[(W, First(1), Later(429, "99999999999999999999"))], Whole),
    ("429 until minus one", &[(W, First(1), Later(429, "-1"))], Whole),
    ("404", &[(W, Always, Status(404))], Fails("has no file model.safetensors|answered 404")),
    ("403", &[(W, Always, Status(403))], Fails("403|access")),
    ("418", &[(W, Always, Status(418))], Fails("answered 418 for model.safetensors")),
    ("416 for all of it", &[(W, Always, Status(416))], Fails("416")),
    ("302 to nowhere", &[(W, Always, Status(302))], Fails("redirects to nowhere")),
    ("a page instead of the file", &[(W, Always, Page)], Fails("model.safetensors")),
    ("a page instead of the file once", &[(W, First(1), Page)], Whole),
    ("a wrong byte", &[(W, First(1), Corrupt(1_000_000))], Whole),
    ("a wrong byte each time", &[(W, Always, Corrupt(1_000_000))], Fails("model.safetensors.*sha256")),
    ("a wrong first byte each time", &[(W, Always, Corrupt(0))], Fails("model.safetensors.*sha256")),
    (
        "a wrong last byte each time",
        &[(W, Always, Corrupt(SMALL as usize - 1))],
        Fails("model.safetensors.*sha256"),
    ),
    ("a wrong byte after a cut", &[(W, First(1), Cut(2_000_000)), (W, First(1), Corrupt(2_500_000))], Whole),
    ("too large a length", &[(W, First(1), LengthOff(1000))], Either),
    ("too large a length each time", &[(W, Always, LengthOff(1000))], Either),
    ("too small a length", &[(W, First(1), LengthOff(-1000))], Whole),
    ("too small a length each time", &[(W, Always, LengthOff(-1000))], Either),
    ("a length of all that can be counted", &[(W, Always, LengthOff(isize::MAX / 2))], Either),
    ("a longer body", &[(W, First(1), Longer(1000))], Either),
    ("a longer body each time", &[(W, Always, Longer(1))], Either),
    ("a body of more than all", &[(W, Always, Longer(4 * MIB as usize))], Either),
    ("a shorter body", &[(W, First(1), Shorter(1000))], Whole),
    ("a shorter body each time", &[(W, Always, Shorter(1))], Either),
    ("no body each time", &[(W, Always, Shorter(SMALL as usize))], Fails("model.safetensors")),
    ("chunks", &[(W, Always, Chunked)], Whole),
    ("chunks, cut", &[(W, First(2), ChunkedCut(1_000_000))], Whole),
    ("chunks, too many", &[(W, Always, Longer(1000)), (W, Always, Chunked)], Either),
    ("no length", &[(W, Always, UntilClose)], Whole),
    ("no length, cut", &[(W, First(2), UntilCloseCut(1_000_000))], Whole),
    ("an encoding that it has not", &[(W, Always, Encoded)], Either),
    ("no ranges after a cut", &[(W, First(1), Cut(2_000_000)), (W, Always, NoRanges)], Whole),
    ("416 after a cut", &[(W, First(1), Cut(2_000_000)), (W, Always, RangesRefused)], Whole),
    ("another range after a cut", &[(W, First(1), Cut(2_000_000)), (W, Always, OtherRange)], Either),
    ("another tag after a cut", &[(W, Always, EtagChanges), (W, First(1), Cut(2_000_000))], Whole),
    ("a weak tag and a cut", &[(W, Always, EtagWeak), (W, First(1), Cut(2_000_000))], Whole),
    ("no tag and a cut", &[(W, Always, EtagNone), (W, First(1), Cut(2_000_000))], Whole),
];

/// Redirects, the interface, and the small files, of which the listing gives no hash.
const AROUND: &[Case] = &[
    ("moved within the hub", &[(RESOLVE, Always, Moved(To::Hub))], Whole),
    ("moved to storage", &[(RESOLVE, Always, Moved(To::Storage))], Whole),
    ("moved within the hub, false length", &[(RESOLVE, Always, MovedLying(To::Hub))], Whole),
    ("moved to storage, false length", &[(RESOLVE, Always, MovedLying(To::Storage))], Whole),
    (
        "moved on within storage",
        &[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, First(3), Moved(To::Itself))],
        Whole,
    ),
    ("moved to itself", &[(W, Always, Moved(To::Itself))], Fails("redirects more than 10 times")),
    ("moved to nobody", &[(W, First(1), Moved(To::Nobody))], Whole),
    ("moved to nobody each time", &[(W, Always, Moved(To::Nobody))], Fails("cannot be reached")),
    ("moved to a file of this machine", &[(W, Always, Moved(To::Disk))], Fails("error: ")),
    ("storage is busy", &[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, First(2), Later(503, "0"))], Whole),
    (
        "storage is down",
        &[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, Always, Status(500))],
        Fails("500"),
    ),
    ("storage cuts", &[(RESOLVE, Always, Moved(To::Storage)), (SIGNED, First(2), Cut(100))], Whole),
    ("storage cuts always", &[(W, Always, Moved(To::Storage)), (SIGNED, Always, Cut(0))], Fails("cut short")),
    ("the signature ran out", &[(W, Always, Moved(To::Storage)), (SIGNED, First(1), Status(403))], Either),
    (
        "storage refuses",
        &[(W, Always, Moved(To::Storage)), (SIGNED, Always, Status(403))],
        Fails("403|access"),
    ),
    ("storage is damaged", &[(W, Always, Moved(To::Storage)), (SIGNED, Always, Corrupt(7))], Fails("sha256")),
    ("the commit: 503 twice", &[(REVISION, First(2), Later(503, "0"))], Whole),
    ("the commit: 503 each time", &[(REVISION, Always, Later(503, "0"))], Fails("answered 503")),
    ("the commit: cut", &[(REVISION, First(1), Cut(5))], Whole),
    ("the commit: half a head", &[(REVISION, First(1), HeadCut)], Whole),
    ("the commit: no HTTP", &[(REVISION, Always, Garbage)], Fails("cannot be reached|answer")),
    ("the commit: a page", &[(REVISION, Always, Page)], Fails("not a revision")),
    ("the listing: 429 twice", &[(TREE, First(2), Later(429, "0"))], Whole),
    ("the listing: cut", &[(TREE, First(2), Cut(20))], Whole),
    ("the listing: cut each time", &[(TREE, Always, Cut(20))], Fails("cut short")),
    ("the listing: reset", &[(TREE, First(1), Reset(20))], Whole),
    ("the listing: too large a length", &[(TREE, First(1), LengthOff(10))], Whole),
    ("the listing: chunks", &[(TREE, Always, Chunked)], Whole),
    ("the listing: chunks, cut", &[(TREE, First(1), ChunkedCut(20))], Whole),
    ("the listing: no length, cut", &[(TREE, Always, UntilCloseCut(20))], Fails("not a listing|cut short")),
    ("the listing: a page", &[(TREE, Always, Page)], Fails("not a listing")),
    ("a small file: closed", &[(C, First(1), Cut(0))], Whole),
    ("a small file: closed in the middle", &[(C, First(2), Cut(100))], Whole),
    ("a small file: closed each time", &[(C, Always, Cut(0))], Fails("config.json.*cut short")),
    ("a small file: 503 twice", &[(C, First(2), Later(503, "0"))], Whole),
    ("a small file: 500 each time", &[(C, Always, Later(500, "0"))], Fails("answered 500 for config.json")),
    ("a small file: a page", &[(C, Always, Page)], Fails("config.json")),
    ("a small file: longer", &[(C, Always, Longer(10))], Whole),
    ("a small file: another byte once", &[(C, First(1), Corrupt(100))], Whole),
    ("a small file: another byte", &[(C, Always, Corrupt(100))], Fails("config.json came damaged")),
    ("a small file: shorter", &[(C, First(1), Shorter(2))], Whole),
    ("a small file: chunks", &[(C, Always, Chunked)], Whole),
    ("a small file: no length, cut", &[(C, First(1), UntilCloseCut(100))], Whole),
];

/// Several segments at once.
const SEGMENTS: &[Case] = &[
    ("all is well", &[], Whole),
    ("all is well, from storage", &[(RESOLVE, Always, MovedLying(To::Storage))], Whole),
    ("no ranges", &[(W, Always, NoRanges)], Whole),
    ("no ranges for some", &[(W, Every(3), NoRanges)], Whole),
    ("no ranges, and cut", &[(W, Always, NoRanges), (W, First(2), Cut(9_000_000))], Whole),
    ("416", &[(W, Always, RangesRefused)], Whole),
    ("416 for some", &[(W, Every(3), RangesRefused)], Whole),
    ("another range", &[(W, Always, OtherRange)], Whole),
    ("another range for some", &[(W, Every(2), OtherRange)], Whole),
    ("a range that says it is one further", &[(W, Always, RangeOff(1))], Whole),
    ("a range that says it is one further, once", &[(W, First(1), RangeOff(1))], Whole),
    ("another total", &[(W, Always, TotalOff(1))], Either),
    ("no Content-Range", &[(W, Always, NoContentRange)], Whole),
    ("a Content-Range that is none", &[(W, Every(2), BadContentRange)], Whole),
    ("a part as if it were all", &[(W, Always, PartAsWhole)], Either),
    ("a part as if it were all, once", &[(W, First(1), PartAsWhole)], Either),
    ("closed after a megabyte each time", &[(W, Always, Cut(MIB as usize))], Whole),
    ("closed at an odd place for some", &[(W, Every(2), Cut(3_333_333))], Whole),
    ("closed before the first byte for some", &[(W, Every(3), Cut(0))], Whole),
    ("reset for some", &[(W, Every(3), Reset(2_000_000))], Whole),
    ("half a head for some", &[(W, Every(3), HeadCut)], Whole),
    ("503 for some", &[(W, Every(3), Status(503))], Whole),
    ("429 for every other", &[(W, Every(2), Later(429, "0"))], Whole),
    ("503 each time", &[(W, Always, Later(503, "0"))], Fails("answered 503 for model.safetensors")),
    ("a wrong byte", &[(W, First(1), Corrupt(20_000_000))], Whole),
    ("a wrong byte each time", &[(W, Always, Corrupt(20_000_000))], Fails("model.safetensors.*sha256")),
    (
        "a wrong last byte each time",
        &[(W, Always, Corrupt(LARGE as usize - 1))],
        Fails("model.safetensors.*sha256"),
    ),
    ("shorter for some", &[(W, Every(2), Shorter(1000))], Whole),
    ("longer each time", &[(W, Always, Longer(1000))], Either),
    ("too small a length for some", &[(W, Every(2), LengthOff(-1000))], Whole),
    ("too large a length for some", &[(W, Every(2), LengthOff(1000))], Either),
    ("another tag each time", &[(W, Always, EtagChanges)], Whole),
    ("a weak tag, and cut", &[(W, Always, EtagWeak), (W, Every(3), Cut(2_000_000))], Whole),
    ("no tag, and cut", &[(W, Always, EtagNone), (W, Every(3), Cut(2_000_000))], Whole),
    ("chunks, cut for some", &[(W, Always, Chunked), (W, Every(3), Cut(2_000_000))], Whole),
    ("no length, cut for some", &[(W, Always, UntilClose), (W, Every(3), Cut(2_000_000))], Whole),
    ("a second of nothing for some", &[(W, Every(3), Stall(2_000_000, seconds(1)))], Whole),
    (
        "storage without ranges, cut",
        &[(W, Always, Moved(To::Storage)), (SIGNED, Always, NoRanges), (SIGNED, First(1), Cut(9_000_000))],
        Whole,
    ),
    ("storage cuts", &[(W, Always, MovedLying(To::Storage)), (SIGNED, Every(2), Cut(3_000_000))], Whole),
    ("signatures run out", &[(W, Always, Moved(To::Storage)), (SIGNED, Every(2), Status(403))], Either),
];

/// A checkpoint with weights of this length.
pub fn checkpoint(weights: Vec<u8>) -> Vec<Served> {
    let config: String = (0..40).map(|i| format!("\"key_{i}\": {i},\n")).collect();
    vec![
        small("README.md", "hello"),
        small("config.json", &format!("{{{config}\"last\": null}}")),
        small("tokenizer.json", r#"{"version":"1.0"}"#),
        // Of no bytes at all, for which no range can be asked.
        small("tokenizer_config.json", ""),
        large("model.safetensors", weights),
    ]
}

/// Runs a case, then once more against servers that do nothing wrong: a fault must leave nothing that lasts.
fn carry_out((_, rules, end): &Case, files: &[Served]) -> Result<(), String> {
    let (hub, root) = (Hub::start(files.to_vec()), tempfile::tempdir().unwrap());
    let run = || {
        let ended = hub.download(root.path(), &[]).end();
        match hub.judge(&ended, root.path()) {
            Ok(()) => Ok(ended),
            Err(why) => Err(format!("{why}\n{}", ended.stderr)),
        }
    };
    hub.follow(rules);
    let ended = run()?;
    let as_expected = match end {
        Whole => ended.code == Some(0),
        Fails(pattern) => ended.error().is_some_and(|line| Regex::new(pattern).unwrap().is_match(line)),
        Either => true,
    };
    if !as_expected {
        return Err(format!("expected {end:?}, ended with {:?}\n{}", ended.code, ended.stderr));
    }
    if !hub.idle().is_empty() {
        return Err(format!("nothing met {:?}", hub.idle()));
    }
    hub.follow(&[]);
    match run().map_err(|why| format!("then {why}"))? {
        ended if ended.code == Some(0) => Ok(()),
        ended => Err(format!("did not recover\n{}", ended.stderr)),
    }
}

/// Runs all cases, several at once, and tells of all that fail.
fn carry_out_all(cases: &[Case], weights: u64) {
    let (files, next, failed) = (checkpoint(noise(weights)), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = carry_out(case, &files) {
                        failed.lock().unwrap().push(format!("{}: {why}", case.0));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} cases:\n\n{}", failed.len(), cases.len(), failed.join("\n"));
}

#[test]
fn faults_of_a_file_of_one_piece() {
    carry_out_all(ONE_PIECE, SMALL);
}

#[test]
fn faults_of_redirects_of_the_interface_and_of_small_files() {
    carry_out_all(AROUND, 50_000);
}

#[test]
fn faults_of_a_file_of_several_segments() {
    carry_out_all(SEGMENTS, LARGE);
}

#[test]
fn a_file_that_comes_wrong_is_fetched_twice_and_not_a_third_time() {
    let (hub, root) = (Hub::start(checkpoint(noise(LARGE))), tempfile::tempdir().unwrap());
    hub.follow(&[(W, Always, Corrupt(12_345_678))]);
    let ended = hub.download(root.path(), &[]).end();
    hub.judge(&ended, root.path()).unwrap();
    assert_eq!((ended.code, hub.sent("model.safetensors")), (Some(1), 2 * LARGE), "{}", ended.stderr);
    assert!(!folder(root.path()).join(".model.safetensors.partial").exists());
}

/// Downloads with little patience while the first answer for the weights hangs, and says whether all came.
fn through(fault: Fault, hits: Hits, root: &Path) -> Result<(), Error> {
    let hub = Hub::start(checkpoint(noise(LARGE)));
    hub.follow(&[(W, hits, fault)]);
    let done = download(&hasty(&hub.server.address), &root.join("checkpoints")).map(drop);
    hub.nothing_wrong(root).unwrap();
    assert_eq!(done.is_ok(), folder(root).join("model.safetensors").exists());
    done
}

#[test]
fn an_answer_that_hangs_is_given_up_wherever_it_hangs() {
    let hangs =
        [Silence(seconds(60)), Stall(0, seconds(60)), Stall(1, seconds(60)), Stall(5_000_000, seconds(60))];
    thread::scope(|scope| {
        for fault in hangs {
            scope.spawn(move || {
                for hits in [First(1), Every(3)] {
                    through(fault, hits, tempfile::tempdir().unwrap().path()).unwrap();
                }
            });
        }
    });
    assert!(through(Stall(0, seconds(60)), Always, tempfile::tempdir().unwrap().path()).is_err());
}
