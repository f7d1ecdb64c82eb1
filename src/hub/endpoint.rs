//! The address of a hub.

use std::str::FromStr;

use reqwest::Url;

use super::Error;
use crate::system::environment::{self, HF_ENDPOINT};

/// The base address of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads `HF_ENDPOINT`; the default is `https://huggingface.co`.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the variable holds no usable address.
    pub fn from_environment() -> Result<Self, Error> {
        environment::value(HF_ENDPOINT).as_deref().unwrap_or("https://huggingface.co").parse()
    }

    /// Returns the endpoint of an address.
    pub(super) fn of(url: &Url) -> Self {
        Self(url.clone())
    }

    /// Returns whether requests and redirects must stay on TLS.
    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns the host, for messages.
    pub(super) fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        }
    }

    /// Returns the address with `segments` below the endpoint. Each segment is escaped, slashes included.
    pub(super) fn join<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // An http address always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(typed: &str) -> Result<Self, Error> {
        let good = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
        };
        // The value is not quoted, since it may contain a password.
        Url::parse(typed).ok().filter(good).map(Self).ok_or(Error::Endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_with_a_password_is_refused_and_not_quoted() {
        let error = "https://me:secret@hub.test".parse::<Endpoint>().unwrap_err();
        assert!(!error.to_string().contains("secret"));
        assert!("ftp://hub.test".parse::<Endpoint>().is_err());
    }
}
