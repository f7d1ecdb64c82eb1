//! Looks up hosts' names, each on its own thread, because the system's lookup has no time limit and cannot be ended.
//! The client's own resolver does the same, but panics if no thread can be started.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::system::threads;

/// The system's resolver.
#[derive(Debug)]
pub(super) struct Resolver;

/// The result of a lookup, and the task that waits for it.
#[derive(Default)]
struct Lookup {
    found: Option<io::Result<Vec<SocketAddr>>>,
    waiting: Option<Waker>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::new(Mutex::new(Lookup::default()));
        let shared = Arc::clone(&lookup);
        let look = move || {
            // The client fills in the port.
            let found = (name.as_str(), 0).to_socket_addrs().map(Iterator::collect);
            finish(&shared, found);
        };
        if let Err(error) = threads::builder("resolve", threads::STACK).and_then(|thread| thread.spawn(look))
        {
            let error = format!("no thread could be started to look its name up: {error}");
            finish(&lookup, Err(io::Error::other(error)));
        }
        Box::pin(poll_fn(move |context| {
            let mut lookup = lock(&lookup);
            match lookup.found.take() {
                Some(Ok(found)) => Poll::Ready(Ok(Box::new(found.into_iter()) as Addrs)),
                Some(Err(error)) => Poll::Ready(Err(error.into())),
                None => {
                    lookup.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
}

fn finish(lookup: &Mutex<Lookup>, found: io::Result<Vec<SocketAddr>>) {
    let mut lookup = lock(lookup);
    lookup.found = Some(found);
    if let Some(waker) = lookup.waiting.take() {
        waker.wake();
    }
}

fn lock(lookup: &Mutex<Lookup>) -> MutexGuard<'_, Lookup> {
    lookup.lock().unwrap_or_else(PoisonError::into_inner)
}
