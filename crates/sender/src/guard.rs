use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use hyper_util::client::legacy::connect::dns::Name;
use parking_lot::Mutex;
use url::{Host, Url};

use crate::is_forbidden;

/// Which targets are admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub(crate) allow_private: bool,
}

impl Guard {
    pub(crate) fn admits_scheme(self, url: &Url) -> bool {
        url.scheme() == "https" || (self.allow_private && url.scheme() == "http")
    }

    /// Judges a URL whose host is an address: no name is resolved for those. Names are judged by
    /// what they resolve to.
    pub(crate) fn admits_host(self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(ip)) => self.admits(ip.into()),
            Some(Host::Ipv6(ip)) => self.admits(ip.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }

    pub(crate) fn admits(self, ip: IpAddr) -> bool {
        self.allow_private || !is_forbidden(ip)
    }
}

/// Why a name led to no address.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the name resolves to forbidden addresses only")]
    Forbidden,
    #[error("the name does not resolve")]
    Failed(#[source] Arc<io::Error>),
}

type Lookup = BoxFuture<'static, Result<Arc<[SocketAddr]>, Arc<io::Error>>>;

/// Resolves names with the operating system's resolver and lets only admitted addresses through.
///
/// A name is looked up once at a time, however many requests wait for it: such a lookup occupies
/// a thread, and names whose servers are dead would otherwise occupy all of them.
#[derive(Clone, Debug)]
pub(crate) struct GuardedResolver {
    guard: Guard,
    under_way: Arc<Mutex<HashMap<String, Shared<Lookup>>>>,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            under_way: Arc::default(),
        }
    }

    /// Every address of the name, forbidden ones included.
    pub(crate) async fn lookup(&self, name: &str) -> Result<Arc<[SocketAddr]>, ResolveError> {
        self.shared_lookup(name).await.map_err(ResolveError::Failed)
    }

    fn shared_lookup(&self, name: &str) -> Shared<Lookup> {
        let mut under_way = self.under_way.lock();
        if let Some(lookup) = under_way.get(name) {
            return lookup.clone();
        }
        let owned = name.to_owned();
        let table = Arc::clone(&self.under_way);
        // A task of its own: a lookup cannot be called off, so its thread is busy until it ends
        // even if every request that waited for it has met its deadline.
        let task = tokio::spawn(async move {
            let found = tokio::net::lookup_host((owned.as_str(), 0)).await;
            table.lock().remove(&owned);
            found.map(Iterator::collect).map_err(Arc::new)
        });
        let lookup = task
            .map(|joined| joined.unwrap_or_else(|error| Err(Arc::new(io::Error::other(error)))))
            .boxed()
            .shared();
        under_way.insert(name.to_owned(), lookup.clone());
        lookup
    }
}

impl tower::Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.lookup(name.as_str()).await?;
            let admitted: Vec<_> = found
                .iter()
                .copied()
                .filter(|it| resolver.guard.admits(it.ip()))
                .collect();
            if admitted.is_empty() && !found.is_empty() {
                return Err(ResolveError::Forbidden);
            }
            Ok(admitted.into_iter())
        })
    }
}
