//! The hub: which files of a repository make a checkpoint, and how they come to this machine whole.
//!
//! Knows the hub's HTTP interface, access tokens, and folders of downloaded files. Never knows a terminal
//! (it tells a [`Report`] what happens), what a tensor is, or what a checkpoint's files mean.
//!
//! A download goes through these files from top to bottom:
//!
//! | file | one idea |
//! |---|---|
//! | `names` | what was typed or came over the wire, checked before it touches a path or an address |
//! | `token` | the access token: where it is found, and that it is never shown |
//! | `client` | one request: time limits, status, redirects |
//! | `retry` | when a request that failed is tried again |
//! | `proxy` | whose fault it is where requests go through a proxy |
//! | `silence` | how long nothing has come, and who is told |
//! | `resolver` | the addresses of a host |
//! | `listing` | a revision is a commit, a commit is a list of files with sizes and hashes |
//! | `plan` | which of these files to fetch: rules without a network |
//! | `hash` | what a file's content must have |
//! | `folder` | the target folder: claimed by one process, what is in it, its free space |
//! | `manifest` | what a folder holds and where it came from |
//! | `engine` | files in pieces over several connections, resumed, hashed, renamed |
//! | `cache` | what the hub's own clients keep, which is only read |
//! | `home` | where they keep it |
//! | `download` | the above in order |
//! | `starter` | the model that `mist chat` starts with, from the hub or from a wheel |
//! | `fuzzing` | what the fuzz targets reach |
//! | `catalogue` | the repositories that `mist download` lists; hints use it, nothing else does |

mod cache;
pub mod catalogue;
mod client;
mod download;
mod engine;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod home;
mod listing;
mod manifest;
mod names;
mod plan;
mod proxy;
mod report;
mod resolver;
mod retry;
mod silence;
mod size;
pub mod starter;
mod token;
mod wheel;

pub use cache::{HubCache, Snapshot};
pub use client::{Client, Settings};
pub use download::{Outcome, Request, carry_out, on_disk, plan};
pub use error::Error;
pub use hash::{BlobId, Hash};
pub use listing::Entry;
pub use manifest::Manifest;
pub use names::{Commit, Digest, Endpoint, FileName, RepoId, Revision};
pub use plan::{Plan, PlannedFile};
pub use report::{Report, Silent};
pub use size::Size;
pub use token::Token;
