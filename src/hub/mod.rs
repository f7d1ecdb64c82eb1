//! The hub: chooses the files of a repository that make a checkpoint, and downloads them completely.
//!
//! Knows about the hub's HTTP interface, access tokens, and folders of downloaded files, but not about terminals
//! (progress goes to a [`DownloadReport`]), tensors, or the meaning of a checkpoint's files.
//!
//! A download goes through these files from top to bottom:
//!
//! | file | one idea |
//! |---|---|
//! | `names` | names from users and servers, checked before they become part of a path or an address |
//! | `typed` | names as a person types them, with errors |
//! | `endpoint` | the address of a hub |
//! | `token` | the access token, which is never shown |
//! | `client` | one request: time limits, status, redirects |
//! | `body` | the body of a response while it arrives |
//! | `retry` | when a failed request is tried again |
//! | `proxy` | the proxy of requests, for errors that it causes |
//! | `silence` | measures and reports the time without received bytes |
//! | `resolver` | the addresses of a host |
//! | `listing` | resolves a revision to a commit, and lists its files with sizes and hashes |
//! | `entry` | a file of a listing |
//! | `choice` | which of these files to fetch: rules without a network |
//! | `plan` | the files to fetch, and how much of them is missing |
//! | `hash` | the hashes of a listing, and computing them |
//! | `folder` | the target folder: claimed by one process, its files, its free space |
//! | `manifest` | the files of a folder and their provenance |
//! | `engine` | files in pieces over several connections, resumed, hashed, renamed |
//! | `cache` | the cache of the hub's own clients, which is only read |
//! | `home` | the home folder of the hub's own clients |
//! | `download` | runs a download, using the modules above |
//! | `starter` | the model that `mist chat` starts with, from the hub or from a wheel |
//! | `report` | the receiver of a download's progress |
//! | `json` | a plan and the catalogue for programs |
//! | `size` | formats numbers of bytes |
//! | `error`, `hint` | errors and their hints |
//! | `fuzzing` | functions for the fuzz targets |
//! | `catalogue` | the repositories that `mist download` lists; hints use it too |

mod body;
mod cache;
pub mod catalogue;
mod choice;
mod client;
mod download;
mod endpoint;
mod engine;
mod entry;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod hint;
mod home;
mod json;
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
mod typed;
mod wheel;

pub use cache::{HubCache, Snapshot};
pub use client::{Client, ClientSettings};
pub use download::{Outcome, Request, carry_out, on_disk, plan};
pub use endpoint::Endpoint;
pub use entry::Entry;
pub use error::Error;
pub use hash::{BlobId, Hash};
pub use json::{catalogue_as_json, plan_as_json};
pub use manifest::{Damage, Damaged, Manifest};
pub use names::{Commit, Digest, FileName, RepoId, Revision};
pub use plan::{DownloadPlan, PlannedFile};
pub use report::{DownloadReport, SilentDownload};
pub use size::Size;
pub use token::Token;
