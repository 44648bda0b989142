//! A sealed key, changed by any bytes: what was sealed opens, and nothing else does.

use std::sync::LazyLock;

use m2mint_keys::jwk::Kid;
use m2mint_keys::seal::MasterKey;
use m2mint_keys::signing_key::{Seed, SigningKey};

struct Row {
    master: MasterKey,
    kid: Kid,
    sealed: Vec<u8>,
}

static ROW: LazyLock<Row> = LazyLock::new(|| {
    let master = MasterKey::generate().unwrap();
    let seed = Seed::from_bytes(&[7; 32]).unwrap();
    let kid = SigningKey::from_seed(&seed).unwrap().kid().clone();
    let sealed = master.seal(&kid, &seed).unwrap();
    Row { master, kid, sealed }
});

pub fn check(data: &[u8]) {
    let Row { master, kid, sealed } = &*ROW;
    // The bytes as they are; laid over what was sealed; and in the place of its end.
    let mut laid_over = sealed.clone();
    laid_over.iter_mut().zip(data).for_each(|(byte, change)| *byte ^= change);
    let longer = [sealed, data].concat();
    let kept = usize::from(data.first().copied().unwrap_or(u8::MAX)).min(sealed.len());
    let cut = [&sealed[..kept], data.get(1..).unwrap_or_default()].concat();
    for bytes in [data, &laid_over, &longer, &cut] {
        match master.open(kid, bytes) {
            Ok(seed) => {
                assert_eq!(bytes, sealed, "what was changed opens");
                assert_eq!(SigningKey::from_seed(&seed).unwrap().kid(), kid);
            }
            Err(_) => assert_ne!(bytes, sealed, "what was sealed does not open"),
        }
        assert!(!master.passes(bytes), "a key is taken for the check of the master key");
    }
}
