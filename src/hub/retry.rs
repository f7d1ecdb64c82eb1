//! Decides when a failed request is tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Error;

/// Number of attempts without progress after which a request fails.
const ATTEMPTS: u32 = 5;
/// Maximum pause that a server may request. The hub counts requests in windows of five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(310);

/// The reason why an attempt failed, and whether another may succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection or the server failed: try again, after the given pause if any.
    Passing(Error, Option<Duration>),
    /// Almost no bytes arrived within the time limit of an attempt: try again.
    Silent(Error),
    /// The server does not send the requested range; the whole file may work.
    NoRange(Error),
    /// The failure is final.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Counts attempts, the pauses between them, and the time without received bytes.
#[derive(Debug)]
pub(super) struct Retries {
    failed: u32,
    first_pause: Duration,
    /// Time without a byte, pauses included.
    silent: Duration,
    /// Limit for the silence of one attempt.
    attempt: Duration,
    /// Limit for the silence of all attempts.
    patience: Duration,
}

impl Retries {
    /// Starts without a failed attempt. The first pause is `first_pause`; an attempt ends after a silence of `attempt`, and
    /// the request fails before a silence of `patience`.
    pub(super) fn new(first_pause: Duration, attempt: Duration, patience: Duration) -> Self {
        Self { failed: 0, first_pause, silent: Duration::ZERO, attempt, patience }
    }

    /// Returns the error to report and the pause before the next attempt, or the error to give up with. The attempt had been
    /// silent for `silent` when it failed.
    ///
    /// Example with attempts of 28 s and a patience of 60 s: the first is silent for 28 s, and after half a second there is
    /// time for a second one, which ends at 56.5 s. There is no time for a third.
    pub(super) fn again(&mut self, failure: Failure, silent: Duration) -> Result<(Error, Duration), Error> {
        let (error, after) = match failure {
            Failure::Passing(error, after) => (error, after),
            Failure::NoRange(error) | Failure::Silent(error) => (error, None),
            Failure::Final(error) => return Err(error),
        };
        self.failed += 1;
        let pause = after.unwrap_or_else(|| self.first_pause * 2_u32.pow(self.failed - 1));
        match error {
            // A server that answers with such a status is not silent.
            Error::Status { .. } => self.silent = Duration::ZERO,
            _ => self.silent += silent + pause,
        }
        if self.failed >= ATTEMPTS || self.silent + self.attempt > self.patience.max(self.attempt) {
            return Err(error);
        }
        Ok((error, pause))
    }

    /// Resets the counts after an attempt that made progress.
    pub(super) fn progress(&mut self) {
        (self.failed, self.silent) = (0, Duration::ZERO);
    }
}

/// Returns whether a request that got this status may succeed later.
pub(super) fn is_passing(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 425 | 429 => true,
        // Not implemented; not this version of HTTP.
        501 | 505 => false,
        status => status >= 500,
    }
}

/// Returns a temporary failure, with the pause that the server requests if that is within the limit.
pub(super) fn pause_asked(error: Error, headers: &HeaderMap) -> Failure {
    match headers.get(RETRY_AFTER).and_then(|v| retry_after(v.to_str().ok()?, Utc::now())) {
        Some(pause) if pause > LONGEST_PAUSE => Failure::Final(error),
        pause => Failure::Passing(error, pause),
    }
}

/// Parses a `Retry-After`, which has seconds or a date.
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

    /// Returns the time in seconds after which a request fails if each attempt is silent for `silent` seconds, and the
    /// number of attempts.
    fn gives_up(silent: u64) -> (f64, u32) {
        let seconds = Duration::from_secs;
        let mut retries = Retries::new(Duration::from_millis(500), seconds(28), seconds(60));
        let mut passed = Duration::ZERO;
        for attempt in 1.. {
            passed += seconds(silent);
            match retries.again(Failure::Silent(Error::TokenFormat), seconds(silent)) {
                Ok((_, pause)) => passed += pause,
                Err(_) => return (passed.as_secs_f64(), attempt),
            }
        }
        unreachable!()
    }

    #[test]
    fn a_silent_hub_is_given_up_within_a_minute_pauses_included() {
        assert_eq!(gives_up(28), (56.5, 2));
        // A connection that cannot be established.
        assert_eq!(gives_up(10), (31.5, 3));
        assert_eq!(gives_up(0), (7.5, 5));
        assert!((0..=28).all(|silent| gives_up(silent).0 < 60.0));
    }

    #[test]
    fn a_hub_that_brings_something_is_not_given_up() {
        let second = Duration::from_secs(1);
        let mut retries = Retries::new(second, 28 * second, 60 * second);
        for _ in 0..100 {
            retries.progress();
            assert!(retries.again(Failure::Silent(Error::TokenFormat), 28 * second).is_ok());
        }
        // If the hub requests pauses, the request fails only after a number of refusals.
        let busy = || Error::Status { host: "hub".into(), status: 429, what: "x".into() };
        let mut retries = Retries::new(second, 28 * second, 60 * second);
        for _ in 1..ATTEMPTS {
            assert!(retries.again(Failure::Passing(busy(), Some(300 * second)), 27 * second).is_ok());
        }
        assert!(retries.again(Failure::Passing(busy(), None), second).is_err());
    }

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
