use std::sync::Arc;

use model::{
    ApiKey, Endpoint, EndpointId, KeyAlgorithm, KeyHash, KeyId, RegisteredEventType, SigningKey,
    Source, SourceId, Tenant, TenantId, is_catalogued,
};

use super::shards::Shards;

/// The directory at one moment: what the hot paths look things up in.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    tenants: Shards<TenantId, Arc<TenantView>>,
    endpoints: Shards<EndpointId, Arc<Endpoint>>,
    sources: Shards<SourceId, Arc<Source>>,
    keys: Shards<KeyHash, Arc<ApiKey>>,
}

/// A tenant with what belongs to it.
#[derive(Clone, Debug)]
pub struct TenantView {
    pub tenant: Tenant,
    /// Sorted by id, so by age.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Sorted by id, so by age.
    pub sources: Vec<Arc<Source>>,
    /// At most one of each algorithm. Replaced as a whole: another pointer means other keys.
    pub signing_keys: Arc<[SigningKey]>,
    /// Sorted by name.
    pub event_types: Vec<RegisteredEventType>,
}

impl Snapshot {
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        self.endpoints.get(&id)
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.endpoints.values()
    }

    pub fn source(&self, id: SourceId) -> Option<&Arc<Source>> {
        self.sources.get(&id)
    }

    pub fn tenant(&self, id: &TenantId) -> Option<&TenantView> {
        self.tenants.get(id).map(|tenant| &**tenant)
    }

    /// Every tenant, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantView> {
        self.tenants.values().map(|tenant| &**tenant)
    }

    /// Every key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<ApiKey>> {
        self.keys.values()
    }

    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<ApiKey>> {
        self.keys.get(hash)
    }

    /// Whether the type is in the catalogue or registered by the tenant.
    pub fn knows_event_type(&self, tenant: &TenantId, name: &str) -> bool {
        is_catalogued(name)
            || self
                .tenant(tenant)
                .is_some_and(|view| view.find_event_type(name).is_ok())
    }

    pub(super) fn put_tenant(&mut self, tenant: Tenant) {
        let id = tenant.id.clone();
        let view = match self.tenants.get(&id) {
            Some(view) => TenantView {
                tenant,
                ..TenantView::clone(view)
            },
            None => TenantView {
                tenant,
                endpoints: Vec::new(),
                sources: Vec::new(),
                signing_keys: Arc::default(),
                event_types: Vec::new(),
            },
        };
        self.tenants.insert(id, Arc::new(view));
    }

    pub(super) fn put_endpoint(&mut self, endpoint: Arc<Endpoint>) {
        self.change_tenant(&endpoint.tenant, |view| {
            match view.find_endpoint(endpoint.id) {
                Ok(at) => view.endpoints[at] = Arc::clone(&endpoint),
                Err(at) => view.endpoints.insert(at, Arc::clone(&endpoint)),
            }
        });
        self.endpoints.insert(endpoint.id, endpoint);
    }

    pub(super) fn remove_endpoint(&mut self, id: EndpointId) {
        if let Some(endpoint) = self.endpoints.remove(&id) {
            self.change_tenant(&endpoint.tenant, |view| {
                if let Ok(at) = view.find_endpoint(id) {
                    view.endpoints.remove(at);
                }
            });
        }
    }

    pub(super) fn put_source(&mut self, source: Arc<Source>) {
        self.change_tenant(&source.tenant, |view| match view.find_source(source.id) {
            Ok(at) => view.sources[at] = Arc::clone(&source),
            Err(at) => view.sources.insert(at, Arc::clone(&source)),
        });
        self.sources.insert(source.id, source);
    }

    pub(super) fn remove_source(&mut self, id: SourceId) {
        if let Some(source) = self.sources.remove(&id) {
            self.change_tenant(&source.tenant, |view| {
                if let Ok(at) = view.find_source(id) {
                    view.sources.remove(at);
                }
            });
        }
    }

    pub(super) fn put_signing_key(&mut self, key: SigningKey) {
        self.change_tenant(&key.tenant.clone(), |view| {
            if view.signing_key(key.algorithm).is_none() {
                let known = view.signing_keys.iter().cloned();
                view.signing_keys = known.chain([key]).collect();
            }
        });
    }

    pub(super) fn put_key(&mut self, key: ApiKey) {
        self.keys.insert(key.hash, Arc::new(key));
    }

    pub(super) fn remove_key(&mut self, id: KeyId) {
        let hash = self
            .keys
            .values()
            .find(|key| key.id == id)
            .map(|key| key.hash);
        if let Some(hash) = hash {
            self.keys.remove(&hash);
        }
    }

    pub(super) fn put_event_type(&mut self, event_type: RegisteredEventType) {
        self.change_tenant(&event_type.tenant.clone(), |view| {
            match view.find_event_type(event_type.name.as_str()) {
                Ok(at) => view.event_types[at] = event_type,
                Err(at) => view.event_types.insert(at, event_type),
            }
        });
    }

    fn change_tenant(&mut self, id: &TenantId, change: impl FnOnce(&mut TenantView)) {
        if let Some(view) = self.tenants.get(id) {
            let mut view = TenantView::clone(view);
            change(&mut view);
            self.tenants.insert(id.clone(), Arc::new(view));
        }
    }
}

impl TenantView {
    pub fn signing_key(&self, algorithm: KeyAlgorithm) -> Option<&SigningKey> {
        self.signing_keys
            .iter()
            .find(|key| key.algorithm == algorithm)
    }

    fn find_endpoint(&self, id: EndpointId) -> Result<usize, usize> {
        self.endpoints
            .binary_search_by_key(&id, |endpoint| endpoint.id)
    }

    fn find_source(&self, id: SourceId) -> Result<usize, usize> {
        self.sources.binary_search_by_key(&id, |source| source.id)
    }

    fn find_event_type(&self, name: &str) -> Result<usize, usize> {
        self.event_types
            .binary_search_by(|known| known.name.as_str().cmp(name))
    }
}
