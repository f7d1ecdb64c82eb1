//! What a server can do wrong with one answer.

use std::time::Duration;

use crate::server::{Answer, Asked, Framing};

/// Part of every signed address here; no message of ours may hold it.
pub const SIGNATURE: &str = "topsecretsignature";

/// One thing that goes wrong. Positions are bytes of an answer's body where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A status with a page of HTML.
    Status(u16),
    /// The same with a Retry-After.
    Later(u16, &'static str),
    /// 200 with a page of HTML, as a captive portal gives it.
    Page,
    /// The connection is closed after so many bytes of the body.
    Cut(usize),
    /// The same by a reset.
    Reset(usize),
    /// Nothing comes for so long at this byte.
    Stall(usize, Duration),
    /// Nothing comes at all for so long; then the connection is closed.
    Silence(Duration),
    /// The connection is closed in the middle of the head.
    HeadCut,
    /// What comes is no HTTP.
    Garbage,
    /// The byte at this position of the *file* is another one.
    Corrupt(usize),
    /// The Content-Length is wrong by so much, the body as it should be.
    LengthOff(isize),
    /// The body is longer by so much, the Content-Length with it.
    Longer(usize),
    /// The body is shorter by so much, the Content-Length with it.
    Shorter(usize),
    /// All of the file for a range.
    NoRanges,
    /// 416 for a range.
    RangesRefused,
    /// The first bytes of the file for whatever range, and a Content-Range that says so.
    OtherRange,
    /// The right bytes and a Content-Range that is off by so much.
    RangeOff(usize),
    /// The right bytes and a Content-Range with another total.
    TotalOff(usize),
    /// The right bytes and no Content-Range.
    NoContentRange,
    /// The right bytes and a Content-Range that is none.
    BadContentRange,
    /// A part as 200, that is, as if it were all.
    PartAsWhole,
    /// Another strong entity tag each time.
    EtagChanges,
    /// A weak entity tag.
    EtagWeak,
    /// No entity tag.
    EtagNone,
    /// Chunks instead of a Content-Length.
    Chunked,
    /// The same, cut.
    ChunkedCut(usize),
    /// Neither Content-Length nor chunks.
    UntilClose,
    /// The same, cut: nothing in HTTP tells it from the end.
    UntilCloseCut(usize),
    /// A Content-Encoding that nobody asked for; the body is as it should be.
    Encoded,
    /// The file is elsewhere.
    Moved(To),
    /// The same, and the redirect's own Content-Length and X-Linked-Size are false.
    MovedLying(To),
}

/// Where a redirect leads.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// Another path of the hub.
    Hub,
    /// A signed address of the storage server.
    Storage,
    /// Itself.
    Itself,
    /// A port at which nobody listens.
    Nobody,
    /// The hub, called by another name.
    HubByAnotherName,
    /// A file of this machine.
    Disk,
}

/// A request for a file, and what there is to answer it with.
pub struct Request<'a> {
    pub asked: &'a Asked,
    /// The file's name and content; neither for what is no file.
    pub file: Option<(&'a str, &'a [u8])>,
    /// The file's entity tag.
    pub etag: &'a str,
    /// The storage server's address.
    pub storage: &'a str,
    /// Requests before this one.
    pub before: usize,
}

impl Request<'_> {
    fn content(&self) -> &[u8] {
        self.file.map_or(&[], |(_, content)| content)
    }

    fn location(&self, to: To) -> String {
        let name = self.file.map_or("", |(name, _)| name);
        match to {
            To::Hub => format!("/moved/{name}"),
            To::Storage => format!("{}/signed/{name}?Key=1&Signature={SIGNATURE}", self.storage),
            To::Itself => self.asked.path.clone(),
            To::Nobody => format!("http://127.0.0.1:9/{name}?Signature={SIGNATURE}"),
            To::HubByAnotherName => {
                let host = self.asked.headers.get("host").map(String::as_str).unwrap_or_default();
                format!("http://{}/moved/{name}", host.replace("127.0.0.1", "localhost"))
            }
            To::Disk => "file:///etc/passwd".to_string(),
        }
    }
}

impl Fault {
    /// The answer `honest` with this fault; `None` where the request leaves no room for it.
    pub fn spoil(self, mut honest: Answer, request: &Request<'_>) -> Option<Answer> {
        let (asked, content) = (request.asked, request.content());
        let length = honest.body.len();
        let first = asked.range_start().filter(|_| honest.status == 206);
        let html = "<html>this is not the file</html>";
        Some(match self {
            Self::Status(status) => Answer::new(status, html),
            Self::Later(status, after) => Answer::new(status, html).header("Retry-After", after),
            Self::Page => Answer::new(200, html).header("Content-Type", "text/html"),
            Self::Cut(at) => honest.cut_at(at),
            Self::Reset(at) => Answer { reset: true, ..honest.cut_at(at) },
            Self::Stall(at, time) => Answer { stall_at: at, ..honest.stall(time) },
            Self::Silence(time) => Answer { raw: Some(b""), ..honest.stall(time) },
            Self::HeadCut => Answer { raw: Some(b"HTTP/1.1 200 OK\r\nContent-Le"), ..honest },
            Self::Garbage => Answer { raw: Some(b"\x00\xffSSH-2.0-x\r\n\r\n\r\n\r\n"), ..honest },
            Self::Corrupt(at) => {
                let at = at.checked_sub(first.unwrap_or(0)).filter(|at| *at < honest.cut)?;
                *honest.body.get_mut(at)? ^= 1;
                honest
            }
            Self::LengthOff(by) => {
                Answer { framing: Framing::Length(length.checked_add_signed(by)?), ..honest }
            }
            Self::Longer(by) => {
                honest.body.resize(length + by, 0);
                Answer { framing: Framing::Length(length + by), ..honest }
            }
            Self::Shorter(by) => {
                honest.body.truncate(length.checked_sub(by)?);
                Answer { framing: Framing::Length(length - by), ..honest }
            }
            Self::NoRanges => first.map(|_| Answer::new(200, content))?,
            Self::RangesRefused => first.map(|_| {
                Answer::new(416, html).header("Content-Range", format!("bytes */{}", content.len()))
            })?,
            Self::OtherRange => {
                first.filter(|first| *first > 0)?;
                let range = format!("bytes 0-{}/{}", length - 1, content.len());
                Answer::new(206, &content[..length]).header("Content-Range", range)
            }
            Self::RangeOff(by) => {
                let first = first? + by;
                with_range(honest, format!("bytes {first}-{}/{}", first + length - 1, content.len()))
            }
            Self::TotalOff(by) => {
                let first = first?;
                with_range(honest, format!("bytes {first}-{}/{}", first + length - 1, content.len() + by))
            }
            Self::NoContentRange => {
                first?;
                honest.headers.retain(|(name, _)| *name != "Content-Range");
                honest
            }
            Self::BadContentRange => {
                first?;
                with_range(honest, "bytes 99999999999999999999-/\"".to_string())
            }
            Self::PartAsWhole => {
                first?;
                Answer::new(200, honest.body)
            }
            Self::EtagChanges => Answer::file(content, asked, Some(&format!("\"{}\"", request.before))),
            Self::EtagWeak => Answer::file(content, asked, Some(&format!("W/{}", request.etag))),
            Self::EtagNone => Answer::ranged(content, asked),
            Self::Chunked => Answer { framing: Framing::Chunked, ..honest },
            Self::ChunkedCut(at) => Answer { framing: Framing::Chunked, ..honest.cut_at(at) },
            Self::UntilClose => Answer { framing: Framing::Close, ..honest },
            Self::UntilCloseCut(at) => Answer { framing: Framing::Close, ..honest.cut_at(at) },
            Self::Encoded => honest.header("Content-Encoding", "gzip"),
            Self::Moved(to) => Answer::new(302, "").header("Location", request.location(to)),
            Self::MovedLying(to) => {
                let lie = (content.len() / 2).to_string();
                let moved = Answer::new(302, "").header("Location", request.location(to));
                let moved = moved.header("X-Linked-Size", lie).header("X-Linked-ETag", "\"0000\"");
                Answer { framing: Framing::Length(content.len() / 2), ..moved }
            }
        })
    }
}

fn with_range(mut answer: Answer, range: String) -> Answer {
    answer.headers.retain(|(name, _)| *name != "Content-Range");
    answer.header("Content-Range", range)
}
