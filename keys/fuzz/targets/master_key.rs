//! Any text in the place of a master key: what is read is 32 bytes, and is written in one way.

use m2mint_keys::seal::MasterKey;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(key) = MasterKey::parse(text) else { return };
    let written = key.to_text();
    assert_eq!(written.len(), 43);
    assert_eq!(*MasterKey::parse(&written).unwrap().to_text(), *written);
    assert!(MasterKey::parse(&format!("{text}A")).is_err(), "33 bytes, or half a byte");
    assert!(key.passes(&key.make_check().unwrap()));
}
