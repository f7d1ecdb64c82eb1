//! One request to the hub: time limits, redirects, and what a status means.
//!
//! Plain HTTP and not the `hf-hub` crate (1.0.0), which sets no time limits, does not use a given HTTP client
//! for all of its requests, and streams the body of an error answer into the file.

use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reqwest::blocking::{self, Response};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{StatusCode, Url, redirect};

use super::proxy::Proxy;
use super::resolver::Resolver;
use super::retry::{Failure, Retries, is_passing, pause_asked};
use super::silence::Silence;
use super::{Commit, Endpoint, Error, FileName, RepoId, Report, Revision, Token};
use crate::system::threads;

/// Bytes that must come in the time that one read may take, where another connection can go on with the rest.
const LEAST: usize = 1 << 10;
/// Hub to storage takes one or two; a renamed repository one more.
const MAX_REDIRECTS: usize = 10;

/// Where the hub is, who asks, and how long to wait.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hub's address.
    pub endpoint: Endpoint,
    /// Sent to the endpoint's origin (scheme, host and port) and to nobody else.
    pub token: Option<Token>,
    /// For a connection, name lookup included.
    pub connect_timeout: Duration,
    /// For the head of an answer, and for each further piece of its body.
    pub read_timeout: Duration,
    /// Before the second attempt; doubled before each one after it.
    pub first_pause: Duration,
    /// The longest that a request may bring nothing, all attempts and the pauses between them included.
    pub patience: Duration,
    /// The silence after which the report is told who is waited for.
    pub notice: Duration,
    /// The most bytes of a file that are asked for at once.
    pub segment: u64,
}

impl Settings {
    /// No token, and time limits that suit the hub.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            token: None,
            connect_timeout: Duration::from_secs(10),
            // Two attempts are less than a minute.
            read_timeout: Duration::from_secs(28),
            first_pause: Duration::from_millis(500),
            patience: Duration::from_secs(60),
            notice: Duration::from_secs(4),
            // The hub counts requests: a hundred gigabytes are some fifteen hundred of these.
            segment: 64 << 20,
        }
    }

    /// As the environment says: `HF_ENDPOINT`; `access_token`, else the token that [`Token::from_environment`] finds.
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub fn from_environment(access_token: Option<Token>) -> Result<Self, Error> {
        let token = access_token.filter(|token| !token.is_empty()).or_else(Token::from_environment);
        Ok(Self { token, ..Self::new(Endpoint::from_environment()?) })
    }
}

/// What a request is about, for the error that may come of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub repo: &'a RepoId,
    pub revision: &'a Revision,
    pub file: Option<&'a FileName>,
}

impl std::fmt::Display for About<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.file {
            Some(file) => write!(f, "{file} of {}", self.repo),
            None => write!(f, "{} at {}", self.repo, self.revision),
        }
    }
}

/// A connection to the hub.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    authorization: Option<HeaderValue>,
    /// Never dropped: that would wait for the system's name lookup, which has no time limit of its own
    /// where a resolver does not answer. The process is short-lived and has one of these.
    http: ManuallyDrop<blocking::Client>,
    silence: Arc<Silence>,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::TokenFormat`]; [`Error::Unreachable`] if TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let authorization = settings.token.as_ref().map(Token::header).transpose()?;
        // Sizes and ranges are those of the file, so nothing may be compressed on the way.
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        // It starts a thread.
        threads::room(threads::STACK).map_err(|e| Error::NoThread { cause: e.to_string() })?;
        let http = blocking::Client::builder()
            .user_agent(concat!("mist/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(settings.connect_timeout)
            // In the blocking client this bounds each wait (for the head, for each read), not the whole.
            .timeout(settings.read_timeout)
            .https_only(settings.endpoint.is_https())
            // Followed here: reqwest sends the token again to a third address that lies with the second.
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Resolver))
            .build()
            .map_err(|e| no_thread(&e).unwrap_or_else(|| unreachable(settings.endpoint.host(), e)))?;
        let silence = Arc::new(Silence::new(settings.notice));
        Ok(Self { settings, authorization, http: ManuallyDrop::new(http), silence })
    }

    /// The hub's address.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// The address of a file's content.
    pub(super) fn resolve(&self, repo: &RepoId, commit: &Commit, file: &FileName) -> Url {
        self.endpoint().join(repo.parts().into_iter().chain(["resolve", commit.as_str(), file.as_str()]))
    }

    /// Whether the hub answers at all, within `limit`, name lookup included.
    pub(super) fn probe(&self, limit: Duration, report: &mut dyn Report) -> Result<(), Error> {
        let host = self.endpoint().host();
        let asked = self.silence.watched(report, &|| {
            let _waiting = self.silence.begin();
            self.silence.asks(host.clone());
            self.http.head(self.endpoint().join([])).timeout(limit).send()
        });
        asked.map(drop).map_err(|e| unreachable(host, e))
    }

    /// How long nothing has come, over all connections of this client.
    pub(super) fn silence(&self) -> &Silence {
        &self.silence
    }

    /// The most bytes of a file that are asked for at once.
    pub(super) fn segment(&self) -> u64 {
        self.settings.segment
    }

    /// One attempt to get `url`: all of it with the answer 200, or a range with the answer 206, or with 200 if the
    /// server does no ranges or has another content than the one whose validator is given.
    pub(super) fn attempt(
        &self,
        url: &Url,
        about: About<'_>,
        range: Option<(&Range<u64>, Option<&str>)>,
    ) -> Result<Response, Failure> {
        let mut answer = self.send(url, range)?;
        let mut redirects = 0;
        while let Some(target) = self.redirect(&answer)? {
            redirects += 1;
            if redirects > MAX_REDIRECTS {
                let (host, cause) =
                    (self.endpoint().host(), format!("it redirects more than {MAX_REDIRECTS} times"));
                return Err(Failure::Final(Error::Unreachable { host, cause }));
            }
            answer = self.send(&target, range)?;
        }
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::PARTIAL_CONTENT if range.is_some() => Ok(answer),
            status => Err(self.failure(status, &answer, about)),
        }
    }

    /// One request. The token goes to the endpoint's origin and to nobody else, however the address was come by.
    fn send(&self, url: &Url, range: Option<(&Range<u64>, Option<&str>)>) -> Result<Response, Failure> {
        let mut request = self.http.get(url.clone());
        if url.origin() == self.endpoint().join([]).origin()
            && let Some(value) = &self.authorization
        {
            request = request.header(AUTHORIZATION, value.clone());
        }
        if let Some((range, etag)) = range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
            if let Some(etag) = etag {
                request = request.header(IF_RANGE, etag);
            }
        }
        let host = Endpoint::of(url).host();
        self.silence.asks(host.clone());
        let answer = request.send().map_err(|e| match (e.is_builder(), e.is_timeout()) {
            (true, _) => Failure::Final(unreachable(host, e)),
            (false, true) => Failure::Silent(unreachable(host, e)),
            (false, false) => Failure::Passing(unreachable(host, e), None),
        })?;
        self.silence.heard();
        Ok(answer)
    }

    /// Where the answer sends us, if it does. Its body is not read, whatever length it claims.
    fn redirect(&self, answer: &Response) -> Result<Option<Url>, Failure> {
        if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let host = Endpoint::of(answer.url()).host();
        let bad = |cause: &str| Failure::Final(Error::Unreachable { host, cause: cause.to_string() });
        let location = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        match location.and_then(|l| answer.url().join(l).ok()) {
            None => Err(bad("it redirects to nowhere")),
            Some(url) if !matches!(url.scheme(), "http" | "https") => {
                Err(bad("it redirects to no web address"))
            }
            Some(url) if self.endpoint().is_https() && url.scheme() != "https" => {
                Err(bad("it redirects to an address without TLS"))
            }
            Some(url) => Ok(Some(url)),
        }
    }

    fn failure(&self, status: StatusCode, answer: &Response, about: About<'_>) -> Failure {
        let elsewhere = answer.url().origin() != self.endpoint().join([]).origin();
        if elsewhere || is_passing(status) || status == StatusCode::RANGE_NOT_SATISFIABLE {
            let host = Endpoint::of(answer.url()).host();
            let error = Error::Status { host, status: status.as_u16(), what: about.to_string() };
            return match status {
                StatusCode::RANGE_NOT_SATISFIABLE => Failure::NoRange(error),
                // A file store says no where a signed address has run out: the next attempt gets a new one.
                _ => pause_asked(error, answer.headers()),
            };
        }
        Failure::Final(self.refusal(status, answer.headers(), about))
    }

    /// The head and the whole body of a small answer, which must not be longer than `limit` bytes.
    pub(super) fn get(
        &self,
        url: &Url,
        about: About<'_>,
        limit: u64,
        report: &mut dyn Report,
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut retries = self.retries();
        let attempt = || {
            let waiting = self.silence.begin();
            let answer = self.attempt(url, about, None).and_then(|a| self.small_body(a, about, limit));
            (answer, waiting.silent())
        };
        loop {
            let (failure, silent) = match self.silence.watched(report, &attempt) {
                (Ok(answer), _) => return Ok(answer),
                (Err(failure), silent) => (failure, silent),
            };
            let (error, pause) = retries.again(failure, silent)?;
            report.note(&format!("{error}; trying again in {pause:?}"));
            sleep(pause);
        }
    }

    fn small_body(
        &self,
        answer: Response,
        about: About<'_>,
        limit: u64,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let headers = answer.headers().clone();
        let mut body = Vec::new();
        let read = self.heard(answer.take(limit.saturating_add(1))).read_to_end(&mut body);
        read.map_err(|e| failed(self.broken(about, format!("was cut short: {}", innermost(&e))), &e))?;
        match body.len() as u64 > limit {
            true => Err(Failure::Final(self.broken(about, format!("is longer than {limit} bytes")))),
            false => Ok((headers, body)),
        }
    }

    /// Patience for one request.
    pub(super) fn retries(&self) -> Retries {
        let Settings { first_pause, read_timeout, patience, .. } = self.settings;
        Retries::new(first_pause, read_timeout, patience)
    }

    /// [`Error::Answer`].
    pub(super) fn broken(&self, about: About<'_>, why: impl Into<String>) -> Error {
        Error::Answer { host: self.endpoint().host(), what: about.to_string(), why: why.into() }
    }

    /// A body whose bytes end the silence.
    fn heard<R: Read>(&self, body: R) -> Heard<'_, R> {
        Heard { body, silence: &self.silence }
    }

    /// The same, which fails when next to nothing comes and the rest `can_go_on` over another connection. A body that would
    /// begin anew is waited for, however slow it is.
    pub(super) fn patient<'a, R: Read + 'a>(&'a self, body: R, can_go_on: bool) -> Patient<Heard<'a, R>> {
        let least = if can_go_on { LEAST } else { 0 };
        let (body, window) = (self.heard(body), self.settings.read_timeout);
        Patient { body, least, window, begun: Instant::now(), bytes: 0 }
    }

    /// What a status other than success means. The hub names the reason in `X-Error-Code`; without a token it
    /// answers 401 for a repository that does not exist, so as not to tell private ones apart.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, about: About<'_>) -> Error {
        let repo = about.repo.clone();
        let code = headers.get("x-error-code").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let with_token = self.authorization.is_some();
        match (status.as_u16(), code) {
            (401 | 403, "GatedRepo") if with_token => Error::GatedWithoutAccess { repo },
            (401 | 403, "GatedRepo") => Error::GatedWithoutToken { repo },
            (_, "RepoNotFound") => Error::NotFound { repo, with_token },
            (401, _) if with_token => Error::TokenRefused { host: self.endpoint().host() },
            (401, _) => Error::NotFound { repo, with_token },
            (404, "RevisionNotFound") => Error::NoRevision { repo, revision: about.revision.clone() },
            (404, _) => match about.file {
                Some(file) => Error::NoFile { repo, file: file.clone() },
                None => Error::NotFound { repo, with_token },
            },
            (status, _) => Error::Status { host: self.endpoint().host(), status, what: about.to_string() },
        }
    }
}

/// Reads a body, and notes that something comes.
#[derive(Debug)]
pub(super) struct Heard<'a, R> {
    body: R,
    silence: &'a Silence,
}

impl<R: Read> Read for Heard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        if read > 0 {
            self.silence.heard();
        }
        Ok(read)
    }
}

/// Reads a body for as long as it brings so many bytes in each window. The time limit of one read does not see a server
/// that sends a byte now and then; another connection may do better.
#[derive(Debug)]
pub(super) struct Patient<R> {
    body: R,
    least: usize,
    window: Duration,
    begun: Instant,
    bytes: usize,
}

impl<R: Read> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        self.bytes += read;
        if self.begun.elapsed() >= self.window {
            // What came last is lost with the error: no more than this.
            if self.bytes < self.least && read > 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "next to nothing comes"));
            }
            (self.begun, self.bytes) = (Instant::now(), 0);
        }
        Ok(read)
    }
}

fn unreachable(host: String, error: reqwest::Error) -> Error {
    let proxy = error.url().filter(|_| error.is_connect()).and_then(Proxy::of);
    let cause = cause(error);
    match proxy {
        Some(Proxy { address, variable }) => Error::Proxy { host, proxy: address, variable, cause },
        None => Error::Unreachable { host, cause },
    }
}

/// The error of a client whose own thread could not be started.
fn no_thread(error: &reqwest::Error) -> Option<Error> {
    let cause = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    let is_thread = matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory);
    is_thread.then(|| Error::NoThread { cause: cause.to_string() })
}

/// The innermost cause: the outer ones say "error sending request" and hold the address, which may be signed.
fn cause(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_string();
    }
    innermost(&error.without_url())
}

/// What became of a body that ended with `cause`.
pub(super) fn failed(error: Error, cause: &io::Error) -> Failure {
    let answer = cause.get_ref().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    match cause.kind() == io::ErrorKind::TimedOut || answer.is_some_and(reqwest::Error::is_timeout) {
        true => Failure::Silent(error),
        false => Failure::Passing(error, None),
    }
}

/// The last of a chain of causes.
pub(super) fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(next) = error.source() {
        error = next;
    }
    error.to_string()
}
