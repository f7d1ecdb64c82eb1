//! Sends a request to the hub: time limits, redirects, and the meaning of a status.
//!
//! We use plain HTTP and not the `hf-hub` crate (1.0.0), which sets no time limits, does not use a given HTTP client
//! for all of its requests, and streams the body of an error response into the file.

use std::io::{self, Read};
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use reqwest::blocking::{self, Response};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{StatusCode, Url, redirect};

use super::body::{Heard, Patient, failed, innermost};
use super::proxy::Proxy;
use super::resolver::Resolver;
use super::retry::{Failure, Retries, is_passing, pause_asked};
use super::silence::Silence;
use super::{Commit, DownloadReport, Endpoint, Error, FileName, RepoId, Revision, Token};
use crate::system::threads;

/// Maximum number of redirects. The hub needs one or two to reach its storage; a renamed repository adds one.
const MAX_REDIRECTS: usize = 10;

/// Settings of a client: the hub's address, the token and time limits.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The hub's address.
    pub endpoint: Endpoint,
    /// The access token, sent only to the endpoint's origin (scheme, host and port).
    pub token: Option<Token>,
    /// Time limit for a connection, name lookup included.
    pub connect_timeout: Duration,
    /// Time limit for the head of a response, and for each piece of its body.
    pub read_timeout: Duration,
    /// Pause before the second attempt, doubled before each later one.
    pub first_pause: Duration,
    /// Time limit for a request without received bytes, including all attempts and the pauses between them.
    pub patience: Duration,
    /// Time without received bytes after which the report names the host.
    pub notice: Duration,
    /// Maximum number of bytes of a file in one request.
    pub segment: u64,
}

impl ClientSettings {
    /// Returns settings without a token, with time limits that suit the hub.
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
            // The hub limits the number of requests; a hundred gigabytes take some fifteen hundred of these.
            segment: 64 << 20,
        }
    }

    /// Reads settings from the environment: `HF_ENDPOINT`, and `access_token` or else [`Token::from_environment`].
    ///
    /// # Errors
    /// [`Error::Endpoint`].
    pub fn from_environment(access_token: Option<Token>) -> Result<Self, Error> {
        let token = access_token.filter(|token| !token.is_empty()).or_else(Token::from_environment);
        Ok(Self { token, ..Self::new(Endpoint::from_environment()?) })
    }
}

/// The subject of a request, for its errors.
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
    settings: ClientSettings,
    authorization: Option<HeaderValue>,
    /// Never dropped: dropping would wait for the system's name lookup, which has no time limit if a resolver does not
    /// answer. The process is short-lived and has one client.
    http: ManuallyDrop<blocking::Client>,
    silence: Arc<Silence>,
}

impl Client {
    /// Creates a client, without sending anything.
    ///
    /// # Errors
    /// [`Error::TokenFormat`]; [`Error::Unreachable`] if TLS cannot be set up.
    pub fn new(settings: ClientSettings) -> Result<Self, Error> {
        let authorization = settings.token.as_ref().map(Token::header).transpose()?;
        // Sizes and ranges are those of the file, so responses must not be compressed.
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        // Building a client starts a thread.
        threads::room(threads::STACK).map_err(|e| Error::NoThread { cause: e.to_string() })?;
        let http = blocking::Client::builder()
            .user_agent(concat!("mist/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(settings.connect_timeout)
            // In the blocking client this limits each wait (for the head, for each read), not the whole request.
            .timeout(settings.read_timeout)
            .https_only(settings.endpoint.is_https())
            // We follow redirects ourselves, because reqwest sends the token to another host after two redirects: one
            // to that host, and one within it.
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Resolver))
            .build()
            .map_err(|e| no_thread(&e).unwrap_or_else(|| unreachable(settings.endpoint.host(), e)))?;
        let silence = Arc::new(Silence::new(settings.notice));
        Ok(Self { settings, authorization, http: ManuallyDrop::new(http), silence })
    }

    /// Returns the hub's address.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.settings.endpoint
    }

    /// Returns the address of a file's content.
    pub(super) fn resolve(&self, repo: &RepoId, commit: &Commit, file: &FileName) -> Url {
        self.endpoint().join(repo.parts().into_iter().chain(["resolve", commit.as_str(), file.as_str()]))
    }

    /// Returns whether the hub answers within `limit`, name lookup included.
    pub(super) fn probe(&self, limit: Duration, report: &mut dyn DownloadReport) -> Result<(), Error> {
        let host = self.endpoint().host();
        let asked = self.silence.watched(report, &|| {
            let _waiting = self.silence.begin();
            self.silence.asks(host.clone());
            self.http.head(self.endpoint().join([])).timeout(limit).send()
        });
        asked.map(drop).map_err(|e| unreachable(host, e))
    }

    /// Returns the time since the last byte, over all connections of this client.
    pub(super) fn silence(&self) -> &Silence {
        &self.silence
    }

    /// Returns the maximum number of bytes of a file in one request.
    pub(super) fn segment(&self) -> u64 {
        self.settings.segment
    }

    /// Requests `url` once: the whole file with status 200, or a range with 206, or with 200 if the server supports no
    /// ranges or its content does not match the validator.
    pub(super) fn attempt(
        &self,
        url: &Url,
        about: About<'_>,
        range: Option<(&Range<u64>, Option<&str>)>,
    ) -> Result<Response, Failure> {
        let mut response = self.send(url, range)?;
        let mut redirects = 0;
        while let Some(target) = self.redirect(&response)? {
            redirects += 1;
            if redirects > MAX_REDIRECTS {
                let (host, cause) =
                    (self.endpoint().host(), format!("it redirects more than {MAX_REDIRECTS} times"));
                return Err(Failure::Final(Error::Unreachable { host, cause }));
            }
            response = self.send(&target, range)?;
        }
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::PARTIAL_CONTENT if range.is_some() => Ok(response),
            status => Err(self.failure(status, &response, about)),
        }
    }

    /// Sends one request. The token only goes to the endpoint's origin, regardless of the source of the address.
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
        let response = request.send().map_err(|e| match (e.is_builder(), e.is_timeout()) {
            (true, _) => Failure::Final(unreachable(host, e)),
            (false, true) => Failure::Silent(unreachable(host, e)),
            (false, false) => Failure::Passing(unreachable(host, e), None),
        })?;
        self.silence.heard();
        Ok(response)
    }

    /// Returns the target if the response is a redirect. Does not read the body of a redirect, because it may be of any
    /// length.
    fn redirect(&self, response: &Response) -> Result<Option<Url>, Failure> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let host = Endpoint::of(response.url()).host();
        let bad = |cause: &str| Failure::Final(Error::Unreachable { host, cause: cause.to_string() });
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        match location.and_then(|l| response.url().join(l).ok()) {
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

    fn failure(&self, status: StatusCode, response: &Response, about: About<'_>) -> Failure {
        let elsewhere = response.url().origin() != self.endpoint().join([]).origin();
        if elsewhere || is_passing(status) || status == StatusCode::RANGE_NOT_SATISFIABLE {
            let host = Endpoint::of(response.url()).host();
            let error = Error::Status { host, status: status.as_u16(), what: about.to_string() };
            return match status {
                StatusCode::RANGE_NOT_SATISFIABLE => Failure::NoRange(error),
                // A file store refuses an expired signed address; the next attempt gets a new one.
                _ => pause_asked(error, response.headers()),
            };
        }
        Failure::Final(self.refusal(status, response.headers(), about))
    }

    /// Reads the head and the whole body of a small response of at most `limit` bytes.
    pub(super) fn get(
        &self,
        url: &Url,
        about: About<'_>,
        limit: u64,
        report: &mut dyn DownloadReport,
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut retries = self.retries();
        let attempt = || {
            let waiting = self.silence.begin();
            let response = self.attempt(url, about, None).and_then(|a| self.small_body(a, about, limit));
            (response, waiting.silent())
        };
        loop {
            let (failure, silent) = match self.silence.watched(report, &attempt) {
                (Ok(response), _) => return Ok(response),
                (Err(failure), silent) => (failure, silent),
            };
            let (error, pause) = retries.again(failure, silent)?;
            report.note(&format!("{error}; trying again in {pause:?}"));
            sleep(pause);
        }
    }

    fn small_body(
        &self,
        response: Response,
        about: About<'_>,
        limit: u64,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let read = self.heard(response.take(limit.saturating_add(1))).read_to_end(&mut body);
        read.map_err(|e| failed(self.broken(about, format!("was cut short: {}", innermost(&e))), &e))?;
        match body.len() as u64 > limit {
            true => Err(Failure::Final(self.broken(about, format!("is longer than {limit} bytes")))),
            false => Ok((headers, body)),
        }
    }

    /// Retries for one request.
    pub(super) fn retries(&self) -> Retries {
        let ClientSettings { first_pause, read_timeout, patience, .. } = self.settings;
        Retries::new(first_pause, read_timeout, patience)
    }

    /// Returns [`Error::Answer`].
    pub(super) fn broken(&self, about: About<'_>, why: impl Into<String>) -> Error {
        Error::Answer { host: self.endpoint().host(), what: about.to_string(), why: why.into() }
    }

    /// Wraps a body so that received bytes end the silence.
    fn heard<R: Read>(&self, body: R) -> Heard<'_, R> {
        Heard { body, silence: &self.silence }
    }

    /// Wraps a body so that it fails if almost no bytes arrive and another connection can continue it (`can_go_on`). A
    /// body that would have to start again may be slow.
    pub(super) fn patient<'a, R: Read + 'a>(&'a self, body: R, can_go_on: bool) -> Patient<Heard<'a, R>> {
        Patient::new(self.heard(body), self.settings.read_timeout, can_go_on)
    }

    /// Returns the error for a status other than success. The hub names the reason in `X-Error-Code`. Without a token
    /// it returns 401 for a repository that does not exist, so that private repositories stay hidden.
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

fn unreachable(host: String, error: reqwest::Error) -> Error {
    let proxy = error.url().filter(|_| error.is_connect()).and_then(Proxy::of);
    let cause = cause(error);
    match proxy {
        Some(Proxy { address, variable }) => Error::Proxy { host, proxy: address, variable, cause },
        None => Error::Unreachable { host, cause },
    }
}

/// Returns the error if the client's thread could not be started.
fn no_thread(error: &reqwest::Error) -> Option<Error> {
    let cause = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
    let is_thread = matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory);
    is_thread.then(|| Error::NoThread { cause: cause.to_string() })
}

/// Returns the innermost cause. The outer causes only report "error sending request" and contain the address, which may
/// be signed.
fn cause(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_string();
    }
    innermost(&error.without_url())
}
