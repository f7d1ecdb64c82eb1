//! A small HTTP/1.1 server on the loopback device: keep-alive, ranges, a log of what was asked and of what was really
//! sent, a common rate, and answers that break the rules where a test says so.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a body that are sent, counted and paced at once.
const PIECE: usize = 64 << 10;
/// No client of ours sends a longer head.
const MAX_HEAD: usize = 16 << 10;

/// A request as it came: path and query, headers by lower-case name.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    fn parse(head: &str) -> Option<(bool, Self)> {
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?, first.next()?.to_string());
        let headers = lines
            .filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_string())))
            .collect();
        Some((method == "HEAD", Self { path, headers }))
    }

    /// The first byte of the range that was asked for and, where the request names it, the last.
    pub fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let last = (!last.is_empty()).then(|| last.parse()).transpose().ok()?;
        Some((first.parse().ok()?, last))
    }

    /// The first byte of the range that was asked for.
    pub fn range_start(&self) -> Option<usize> {
        self.range().map(|(first, _)| first)
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug)]
pub enum Framing {
    /// By a Content-Length, which may lie.
    Length(usize),
    /// By a last chunk, sent where the body is not cut.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// An answer, and how it goes wrong.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// The connection ends after so many bytes of the body,
    pub cut: usize,
    /// and by a reset.
    pub reset: bool,
    /// At this byte of the body, or at its end if that comes first, nothing happens
    pub stall_at: usize,
    /// for this long.
    pub stall: Duration,
    /// A byte, then this long nothing, and so on.
    pub drip: Option<Duration>,
    /// Sent instead of all of the above; then the connection ends.
    pub raw: Option<&'static [u8]>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let framing = Framing::Length(body.len());
        let (cut, stall_at) = (usize::MAX, usize::MAX);
        let stall = Duration::ZERO;
        Self {
            status,
            headers: Vec::new(),
            body,
            framing,
            cut,
            reset: false,
            stall_at,
            stall,
            drip: None,
            raw: None,
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn cut_at(mut self, bytes: usize) -> Self {
        self.cut = bytes;
        self
    }

    pub fn stall(mut self, time: Duration) -> Self {
        self.stall = time;
        self
    }

    /// What a storage host answers to a request for `content` that may ask for a range.
    pub fn ranged(content: &[u8], asked: &Asked) -> Self {
        Self::file(content, asked, None)
    }

    /// The same from a host that gives entity tags, by which a range may be made conditional.
    pub fn file(content: &[u8], asked: &Asked, etag: Option<&str>) -> Self {
        // RFC 9110, 13.1.5: a weak tag never matches.
        let strong = etag.filter(|e| !e.starts_with("W/"));
        let same = asked.headers.get("if-range").is_none_or(|tag| Some(tag.as_str()) == strong);
        let length = content.len();
        let answer = match asked.range().filter(|_| same) {
            None => Self::new(200, content),
            Some((first, _)) if first >= length => {
                Self::new(416, "").header("Content-Range", format!("bytes */{length}"))
            }
            Some((first, last)) => {
                let last = last.unwrap_or(length).min(length - 1).max(first);
                Self::new(206, &content[first..=last])
                    .header("Content-Range", format!("bytes {first}-{last}/{length}"))
            }
        };
        match etag {
            Some(etag) => answer.header("ETag", etag).header("Accept-Ranges", "bytes"),
            None => answer,
        }
    }
}

/// A request that was answered.
struct Logged {
    asked: Asked,
    /// Bytes of the body that the system has taken so far.
    sent: AtomicU64,
}

/// Bytes per second over all connections, 0 for no limit, and when the next piece may go.
#[derive(Default)]
struct Pace {
    rate: AtomicU64,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    fn wait(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let go = {
            let mut next = self.next.lock().unwrap();
            let go = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(go + Duration::from_secs_f64(bytes as f64 / rate as f64));
            go
        };
        thread::sleep(go.saturating_duration_since(Instant::now()));
    }
}

/// A server that lives as long as the test process.
pub struct Server {
    pub address: String,
    log: Arc<Mutex<Vec<Arc<Logged>>>>,
    pace: Arc<Pace>,
}

impl Server {
    /// Serves what `answer` gives; its second argument counts the requests before this one.
    pub fn start(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, log: Arc::default(), pace: Arc::default() };
        let (log, pace, answer) = (server.log.clone(), server.pace.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A head and a short body are two writes; the second must not wait for the first's acknowledgement.
                let _ = stream.set_nodelay(true);
                let (log, pace, answer) = (log.clone(), pace.clone(), answer.clone());
                thread::spawn(move || Connection { stream, log, pace }.serve(&*answer));
            }
        });
        server
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().iter().map(|l| l.asked.clone()).collect()
    }

    /// Bytes sent so far in the bodies of answers to the requests that `which` picks.
    pub fn sent(&self, which: impl Fn(&Asked) -> bool) -> u64 {
        let log = self.log.lock().unwrap();
        log.iter().filter(|l| which(&l.asked)).map(|l| l.sent.load(Ordering::SeqCst)).sum()
    }

    /// Sends no more than so many bytes per second from now on, over all connections; 0 lifts the limit.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.pace.rate.store(bytes_per_second, Ordering::Relaxed);
    }
}

struct Connection {
    stream: TcpStream,
    log: Arc<Mutex<Vec<Arc<Logged>>>>,
    pace: Arc<Pace>,
}

impl Connection {
    /// Answers requests until an answer ends the connection or the client does.
    fn serve(mut self, answer: &dyn Fn(&Asked, usize) -> Answer) -> Option<()> {
        loop {
            let (head_only, asked) = Asked::parse(&self.head()?)?;
            let logged = Arc::new(Logged { asked, sent: AtomicU64::new(0) });
            let before = {
                let mut log = self.log.lock().unwrap();
                log.push(logged.clone());
                log.len() - 1
            };
            let mut answer = answer(&logged.asked, before);
            if head_only {
                answer.body.clear();
            }
            let stays_open = self.send(&answer, &logged.sent)?;
            if answer.reset && !stays_open {
                // The head's last byte is still unread: the system then resets instead of closing.
                return None;
            }
            self.stream.read_exact(&mut [0]).ok()?;
            if !stays_open {
                self.stream.shutdown(Shutdown::Write).ok()?;
                // Until the client has closed: closing first could discard what it has not read.
                return self.stream.read_to_end(&mut Vec::new()).ok().map(drop);
            }
        }
    }

    /// The head of the next request, read but for its last byte.
    fn head(&mut self) -> Option<String> {
        let mut head = [0; MAX_HEAD];
        loop {
            let n = self.stream.peek(&mut head).ok().filter(|n| *n > 0)?;
            if let Some(end) = head[..n].windows(4).position(|w| w == b"\r\n\r\n") {
                self.stream.read_exact(&mut head[..end + 3]).ok()?;
                return String::from_utf8(head[..end].to_vec()).ok();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends an answer and says whether the connection outlives it.
    fn send(&mut self, answer: &Answer, sent: &AtomicU64) -> Option<bool> {
        let stream = &mut self.stream;
        if let Some(raw) = answer.raw {
            stream.write_all(raw).ok()?;
            thread::sleep(answer.stall);
            return Some(false);
        }
        let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
        head += &match answer.framing {
            Framing::Length(n) => format!("Content-Length: {n}\r\n"),
            Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_string(),
            Framing::Close => "Connection: close\r\n".to_string(),
        };
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).ok()?;

        let end = answer.body.len().min(answer.cut);
        let stall_at = answer.stall_at.min(end);
        let mut at = 0;
        loop {
            if at == stall_at {
                thread::sleep(answer.stall);
            }
            if at == end {
                break;
            }
            let limit = if at < stall_at { stall_at } else { end };
            let size = if answer.drip.is_some() { 1 } else { PIECE };
            let piece = &answer.body[at..limit.min(at + size)];
            self.pace.wait(piece.len());
            thread::sleep(answer.drip.unwrap_or_default());
            match answer.framing {
                Framing::Chunked => {
                    write!(stream, "{:x}\r\n", piece.len()).ok()?;
                    stream.write_all(piece).ok()?;
                    stream.write_all(b"\r\n").ok()?;
                }
                Framing::Length(_) | Framing::Close => stream.write_all(piece).ok()?,
            }
            sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            at += piece.len();
        }
        let cut = answer.cut <= answer.body.len();
        match answer.framing {
            _ if cut => Some(false),
            Framing::Length(n) => Some(n <= end),
            Framing::Close => Some(false),
            Framing::Chunked => stream.write_all(b"0\r\n\r\n").ok().map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// Asks over `stream` for a file with these headers, and gives the head and `length` bytes of what follows.
    fn ask(stream: &mut TcpStream, headers: &str, length: usize) -> (String, Vec<u8>) {
        write!(stream, "GET /file HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        (String::from_utf8(head).unwrap(), body)
    }

    /// A count that should come to `expected`: the last bytes are counted when the system has taken them, and the client
    /// may have them before.
    fn counted(expected: u64, count: impl Fn() -> u64) -> u64 {
        let end = Instant::now() + Duration::from_secs(60);
        while count() < expected && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        count()
    }

    fn connected(server: &Server) -> TcpStream {
        TcpStream::connect(server.address.strip_prefix("http://").unwrap()).unwrap()
    }

    #[test]
    fn ranges_come_over_one_connection_and_are_counted() {
        let content: Vec<u8> = (0..=255).collect();
        let served = content.clone();
        let server = Server::start(move |asked, _| Answer::file(&served, asked, Some("\"tag\"")));
        let mut stream = connected(&server);
        for (headers, status, range, expected) in [
            ("", 200, "", &content[..]),
            ("Range: bytes=10-19\r\n", 206, "bytes 10-19/256", &content[10..20]),
            ("Range: bytes=250-\r\n", 206, "bytes 250-255/256", &content[250..]),
            ("Range: bytes=250-999\r\n", 206, "bytes 250-255/256", &content[250..]),
            ("Range: bytes=256-300\r\n", 416, "bytes */256", &[]),
            ("Range: bytes=0-0\r\nIf-Range: \"tag\"\r\n", 206, "bytes 0-0/256", &content[..1]),
            ("Range: bytes=0-0\r\nIf-Range: \"other\"\r\n", 200, "", &content[..]),
        ] {
            let (head, body) = ask(&mut stream, headers, expected.len());
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {head}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", expected.len())), "{headers}: {head}");
            assert_eq!(head.contains("Content-Range"), !range.is_empty());
            assert!(head.contains(range) && body == expected, "{headers}: {head}");
        }
        assert_eq!(server.asked().len(), 7);
        assert_eq!(counted(10 + 6 + 6 + 1 + 256, || server.sent(|a| a.range_start().is_some())), 279);
        assert_eq!(server.sent(|a| a.range() == Some((250, None))), 6);
    }

    #[test]
    fn a_weak_tag_matches_nothing() {
        let server = Server::start(|asked, _| Answer::file(b"abc", asked, Some("W/\"tag\"")));
        let headers = "Range: bytes=0-0\r\nIf-Range: W/\"tag\"\r\n";
        assert!(ask(&mut connected(&server), headers, 3).0.starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_cut_ends_the_stream_and_a_reset_breaks_it() {
        for reset in [false, true] {
            let server = Server::start(move |_, _| Answer { reset, ..Answer::new(200, "abcdef").cut_at(3) });
            let mut stream = connected(&server);
            write!(stream, "GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut all = Vec::new();
            let read = stream.read_to_end(&mut all);
            match reset {
                false => assert!(all.ends_with(b"Content-Length: 6\r\n\r\nabc") && read.is_ok()),
                true => assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset),
            }
            assert_eq!(counted(3, || server.sent(|_| true)), 3);
        }
    }

    #[test]
    fn the_rate_is_that_of_all_connections_together() {
        let server = Server::start(|_, _| Answer::new(200, vec![0; 4 * PIECE]));
        server.throttle(20 * PIECE as u64);
        let started = Instant::now();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| ask(&mut connected(&server), "", 4 * PIECE));
            }
        });
        // Eight pieces, of which the first goes at once.
        assert!(started.elapsed() >= Duration::from_millis(7 * 50), "{:?}", started.elapsed());
    }
}
