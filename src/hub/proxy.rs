//! Finds the proxy of a request, for errors that name it: a dead proxy looks like an unreachable hub.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::system::environment::{self, ALL_PROXY, HTTP_PROXY, HTTPS_PROXY};

/// A proxy's address, with the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Host and port, without a user's name and password.
    pub address: String,
    /// The variable that is set; `None` if the system's settings name the proxy.
    pub variable: Option<String>,
}

impl Proxy {
    /// Returns the proxy for requests to this address, found as reqwest finds it.
    pub fn of(url: &Url) -> Option<Self> {
        let intercept = Matcher::from_system().intercept(&url.as_str().parse().ok()?)?;
        let uri = intercept.uri();
        let host = uri.host()?;
        let address = uri.port_u16().map_or(host.to_string(), |port| format!("{host}:{port}"));
        let names = [if url.scheme() == "https" { HTTPS_PROXY } else { HTTP_PROXY }, ALL_PROXY];
        let either = names.into_iter().flat_map(|name| [name.to_string(), name.to_ascii_lowercase()]);
        Some(Self { address, variable: either.into_iter().find(|name| environment::value(name).is_some()) })
    }
}
