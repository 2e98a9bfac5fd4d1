use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

/// Parts of a map: a change copies one of them.
const SHARDS: usize = 64;

/// A fixed hasher, so that a key stays in its shard from one copy to the next.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A map that is cheap to copy and change: copies share all shards but the one that changed.
#[derive(Clone, Debug)]
pub(super) struct Shards<K, V> {
    shards: Vec<Arc<HashMap<K, V, Hasher>>>,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Shards<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.shards[index(key)].get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        Arc::make_mut(&mut self.shards[index(&key)]).insert(key, value)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        Arc::make_mut(&mut self.shards[index(key)]).remove(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}

fn index<K: Hash>(key: &K) -> usize {
    let hash = Hasher::default().hash_one(key);
    usize::try_from(hash % SHARDS as u64).expect("a remainder below the number of shards")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes_and_shares_what_did_not_change() {
        let mut first = Shards::default();
        for key in 0..1_000_u32 {
            first.insert(key, key);
        }
        let mut second = first.clone();
        second.insert(7, 70);
        second.remove(&8);
        assert_eq!((first.get(&7), first.get(&8)), (Some(&7), Some(&8)));
        assert_eq!((second.get(&7), second.get(&8)), (Some(&70), None));
        assert_eq!(second.values().count(), 999);
        let shared = first
            .shards
            .iter()
            .zip(&second.shards)
            .filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(shared.count() >= SHARDS - 2);
    }
}
