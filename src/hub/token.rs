//! The access token of a hub account: finds it, and keeps it out of every message.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderValue;

use super::Error;
use super::home::home;
use crate::system::environment::{self, HF_TOKEN};
use crate::system::files;

/// Maximum size of a token file in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// An access token, whose value leaves this type only as a header that is marked sensitive.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Finds the token of the hub's own clients: `HF_TOKEN`, else the file `token` in `HF_HOME` (`~/.cache/huggingface`). A
    /// file that cannot be read is ignored.
    pub fn from_environment() -> Option<Self> {
        environment::value(HF_TOKEN).or_else(in_file).and_then(|t| Self::non_empty(&t))
    }

    /// Returns whether the value is empty, as with `--access-token "$UNSET"`.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of the header `Authorization`.
    ///
    /// # Errors
    /// [`Error::TokenFormat`] if it has a character that no token and no header has.
    pub(super) fn header(&self) -> Result<HeaderValue, Error> {
        if !self.0.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::TokenFormat);
        }
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", self.0)).map_err(|_| Error::TokenFormat)?;
        header.set_sensitive(true);
        Ok(header)
    }

    fn non_empty(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_string()))
    }
}

fn in_file() -> Option<String> {
    String::from_utf8(files::read(&home()?.join("token"), MAX_FILE_BYTES).ok()?).ok()
}

/// Parsing never fails, because clap quotes a value that does not parse, and a token must not be quoted.
impl FromStr for Token {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_string()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_token_and_its_header() {
        let token: Token = "hf_secret".parse().unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert!(!format!("{:?}", token.header().unwrap()).contains("secret"));
    }

    #[test]
    fn a_token_with_a_line_break_inside_is_refused_without_quoting_it() {
        let token: Token = "hf_secret\r\nHost: evil".parse().unwrap();
        let error = token.header().unwrap_err();
        assert!(matches!(error, Error::TokenFormat));
        assert!(!error.to_string().contains("secret"));
    }
}
