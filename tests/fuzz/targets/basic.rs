//! HTTP Basic: any header; and any id and secret, written as RFC 6749 §2.3.1 wants them, come back as they were.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::byte_serialize;
use m2mint::http::request::Authorization;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Authorization::Basic(id, secret) = Authorization::parse(text) {
        assert!(
            text.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic")),
            "{text:?}"
        );
        assert_comes_back(&id, &secret);
    }
    let (id, secret) = text.split_once('\n').unwrap_or((text, ""));
    assert_comes_back(id, secret);
}

fn assert_comes_back(id: &str, secret: &str) {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    match Authorization::parse(&format!("Basic {credentials}")) {
        Authorization::Basic(read_id, read_secret) => {
            assert_eq!((read_id.as_str(), read_secret.as_str()), (id, secret));
        }
        _ => panic!("not read: {id:?} {secret:?}"),
    }
    assert!(matches!(Authorization::parse(&format!("Bearer {credentials}")), Authorization::Unusable));
}
