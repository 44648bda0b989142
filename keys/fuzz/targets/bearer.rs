//! Any text in the place of an Authorization header.

use m2mint_keys::bearer;

pub fn check(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    if let Ok(Some(token)) = bearer::token(header) {
        assert!(header.contains(token) && !token.is_empty() && !token.contains([' ', ',', '"', '\r', '\n']));
        assert_eq!(bearer::token(&format!("Bearer {token}")), Ok(Some(token)));
    }
}
