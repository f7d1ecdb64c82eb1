//! One request to the hub: time limits, redirects, what a status means, and when to try again.
//!
//! Plain HTTP and not the `hf-hub` crate (1.0.0), which sets no time limits, does not use a given HTTP client
//! for all of its requests, and streams the body of an error answer into the file.

use std::io::Read;
use std::mem::ManuallyDrop;
use std::thread::sleep;
use std::time::Duration;

use reqwest::blocking::{self, Response};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};

use super::{Endpoint, Error, FileName, RepoId, Report, Revision, Token};

/// Attempts without a byte of progress, after which a request has failed.
const ATTEMPTS: u32 = 5;
/// The longest that a server's `Retry-After` is honoured.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
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
}

impl Settings {
    /// No token, and time limits that suit the hub.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            token: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            first_pause: Duration::from_millis(500),
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

/// Why one attempt failed, and whether another may do better.
#[derive(Debug)]
pub(super) enum Failure {
    /// The line or the server: try again, not before the given time if there is one.
    Passing(Error, Option<Duration>),
    /// The answer is no.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// A connection to the hub.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    authorization: Option<HeaderValue>,
    /// Never dropped: that would wait for the system's name lookup, which has no time limit of its own
    /// where a resolver does not answer. The process is short-lived and has one of these.
    http: ManuallyDrop<blocking::Client>,
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
        let http = blocking::Client::builder()
            .user_agent(concat!("mist/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(settings.connect_timeout)
            // In the blocking client this bounds each wait (for the head, for each read), not the whole.
            .timeout(settings.read_timeout)
            .https_only(settings.endpoint.is_https())
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            // An address of a private repository is nobody else's business.
            .referer(false)
            .build()
            .map_err(|e| Error::Unreachable { host: settings.endpoint.host(), cause: cause(e) })?;
        Ok(Self { settings, authorization, http: ManuallyDrop::new(http) })
    }

    /// The hub's address.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// Whether the hub answers at all, within `limit`, name lookup included.
    pub(super) fn probe(&self, limit: Duration) -> Result<(), Error> {
        let request = self.http.head(self.endpoint().join([])).timeout(limit);
        request.send().map(drop).map_err(|e| self.unreachable(e))
    }

    /// One attempt to get `url`, from byte `from` on. The answer is 200 or, for `from > 0`, perhaps 206.
    pub(super) fn attempt(&self, url: &Url, about: About<'_>, from: u64) -> Result<Response, Failure> {
        let mut request = self.http.get(url.clone());
        if let Some(value) = &self.authorization {
            // reqwest drops this header from a redirect that leaves the origin; a test holds it to that.
            request = request.header(AUTHORIZATION, value.clone());
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let answer = request.send().map_err(|e| match e.is_redirect() || e.is_builder() {
            true => Failure::Final(self.unreachable(e)),
            false => Failure::Passing(self.unreachable(e), None),
        })?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::PARTIAL_CONTENT if from > 0 => Ok(answer),
            status if is_passing(status) => Err(Failure::Passing(
                self.refusal(status, answer.headers(), about),
                retry_after(answer.headers()),
            )),
            status => Err(Failure::Final(self.refusal(status, answer.headers(), about))),
        }
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
        loop {
            let failure = match self.attempt(url, about, 0).and_then(|a| self.small_body(a, about, limit)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            retries.again(failure, report)?;
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
        let read = answer.take(limit.saturating_add(1)).read_to_end(&mut body);
        read.map_err(|e| {
            Failure::Passing(self.broken(about, format!("was cut short: {}", innermost(&e))), None)
        })?;
        match body.len() as u64 > limit {
            true => Err(Failure::Final(self.broken(about, format!("is longer than {limit} bytes")))),
            false => Ok((headers, body)),
        }
    }

    /// Patience for one request.
    pub(super) fn retries(&self) -> Retries {
        Retries { failed: 0, first_pause: self.settings.first_pause }
    }

    /// [`Error::Answer`].
    pub(super) fn broken(&self, about: About<'_>, why: impl Into<String>) -> Error {
        Error::Answer { host: self.endpoint().host(), what: about.to_string(), why: why.into() }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        Error::Unreachable { host: self.endpoint().host(), cause: cause(error) }
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

/// Counts attempts and waits between them.
#[derive(Debug)]
pub(super) struct Retries {
    failed: u32,
    first_pause: Duration,
}

impl Retries {
    /// Waits before the next attempt, or gives up with the failure's error.
    pub(super) fn again(&mut self, failure: Failure, report: &mut dyn Report) -> Result<(), Error> {
        let (error, after) = match failure {
            Failure::Passing(error, after) => (error, after),
            Failure::Final(error) => return Err(error),
        };
        self.failed += 1;
        if self.failed >= ATTEMPTS {
            return Err(error);
        }
        let doubled = self.first_pause * 2_u32.pow(self.failed - 1);
        let pause = after.unwrap_or(doubled).min(LONGEST_PAUSE);
        report.note(&format!("{error}; trying again in {pause:?}"));
        sleep(pause);
        Ok(())
    }

    /// The last attempt was worth it.
    pub(super) fn progress(&mut self) {
        self.failed = 0;
    }
}

/// Statuses that say "later", not "no".
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost cause: the outer ones say "error sending request" and hold the address, which may be signed.
fn cause(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_string();
    }
    innermost(&error.without_url())
}

/// The last of a chain of causes.
pub(super) fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(next) = error.source() {
        error = next;
    }
    error.to_string()
}
