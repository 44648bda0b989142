//! Tokens that passed before.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crypto;
use crate::verify::{Key, Verified};

type Entry = (Arc<Verified>, Arc<Key>);
/// SHA-256 of a token: the token itself is not kept.
type Digest = [u8; 32];

/// A bounded memory of tokens whose signature was good, with the key that made it. It knows nothing of time, of which
/// keys are published, nor of revocations: those are asked on every hit.
pub(super) struct Cache {
    generations: Mutex<Generations>,
}

/// What was used since the older generation was dropped is in the younger one. Both together are the capacity.
struct Generations {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
    room: usize,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        let room = capacity.div_ceil(2).max(1);
        Self { generations: Mutex::new(Generations { young: HashMap::new(), old: HashMap::new(), room }) }
    }

    pub(super) fn digest(token: &str) -> Digest {
        crypto::sha256(token.as_bytes())
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Entry> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((verified, key)) = generations.young.get(digest) {
            return Some((Arc::clone(verified), Arc::clone(key)));
        }
        let entry = generations.old.remove(digest)?;
        generations.put(*digest, (Arc::clone(&entry.0), Arc::clone(&entry.1)));
        Some(entry)
    }

    pub(super) fn put(&self, digest: Digest, verified: Arc<Verified>, key: Arc<Key>) {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).put(digest, (verified, key));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let generations = self.generations.lock().unwrap();
        generations.young.len() + generations.old.len()
    }
}

impl Generations {
    fn put(&mut self, digest: Digest, entry: Entry) {
        if self.young.len() >= self.room {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(digest, entry);
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache(..)")
    }
}
