//! When a request that failed is tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Error;

/// Attempts without a byte of progress, after which a request has failed.
const ATTEMPTS: u32 = 5;
/// The longest that is waited when a server says so; the hub counts requests in windows of five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(310);

/// Why one attempt failed, and whether another may do better.
#[derive(Debug)]
pub(super) enum Failure {
    /// The line or the server: try again, not before the given time if there is one.
    Passing(Error, Option<Duration>),
    /// The server does not give the range that it was asked for: all of the file may be had.
    NoRange(Error),
    /// The answer is no.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Counts attempts, and how long to wait between them.
#[derive(Debug)]
pub(super) struct Retries {
    failed: u32,
    first_pause: Duration,
}

impl Retries {
    /// None has failed yet.
    pub(super) fn new(first_pause: Duration) -> Self {
        Self { failed: 0, first_pause }
    }

    /// The error to tell and the pause before the next attempt, or the error to give up with.
    pub(super) fn again(&mut self, failure: Failure) -> Result<(Error, Duration), Error> {
        let (error, after) = match failure {
            Failure::Passing(error, after) => (error, after),
            Failure::NoRange(error) => (error, None),
            Failure::Final(error) => return Err(error),
        };
        self.failed += 1;
        if self.failed >= ATTEMPTS {
            return Err(error);
        }
        let doubled = self.first_pause * 2_u32.pow(self.failed - 1);
        Ok((error, after.unwrap_or(doubled)))
    }

    /// The last attempt was worth it.
    pub(super) fn progress(&mut self) {
        self.failed = 0;
    }
}

/// Statuses that say "later", not "no".
pub(super) fn is_passing(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 => true,
        // Not implemented; not this version of HTTP.
        501 | 505 => false,
        status => status >= 500,
    }
}

/// A failure that passes, after the pause that the server asks for if it asks for a bearable one.
pub(super) fn pause_asked(error: Error, headers: &HeaderMap) -> Failure {
    match headers.get(RETRY_AFTER).and_then(|v| retry_after(v.to_str().ok()?, Utc::now())) {
        Some(pause) if pause > LONGEST_PAUSE => Failure::Final(error),
        pause => Failure::Passing(error, pause),
    }
}

/// The pause that a `Retry-After` stands for: seconds, or a date.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?.with_timezone(&Utc);
    Some((until - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_date() {
        let now = DateTime::parse_from_rfc2822("Wed, 21 Oct 2015 07:28:00 GMT").unwrap().with_timezone(&Utc);
        let seconds = |value| retry_after(value, now).map(|d| d.as_secs());
        assert_eq!(seconds(" 7 "), Some(7));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:30 GMT"), Some(30));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:27:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-1"), None);
    }

    #[test]
    fn a_server_that_asks_for_an_hour_is_not_waited_for() {
        let error = || Error::TokenFormat;
        let asked =
            |value: &'static str| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
        assert!(matches!(pause_asked(error(), &asked("300")), Failure::Passing(_, Some(_))));
        assert!(matches!(pause_asked(error(), &asked("3600")), Failure::Final(_)));
        assert!(matches!(pause_asked(error(), &HeaderMap::new()), Failure::Passing(_, None)));
    }
}
