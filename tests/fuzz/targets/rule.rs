//! Rules of forward authentication, and the requests that they are about. The first line is a rule, the second a method,
//! a host and a target, with spaces between them.

use m2mint::model::rule::{Ambiguous, Request, Rule, Rules};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (rule, request) = text.split_once('\n').unwrap_or((text, text));
    let rule = Rule::parse(rule).ok();
    if let Some(rule) = &rule {
        let printed = rule.to_string();
        assert_eq!(Rule::parse(&printed).as_ref(), Ok(rule), "{printed:?}");
    }

    let [method, host, target] = request.splitn(3, ' ').collect::<Vec<_>>()[..] else { return };
    let Ok(read) = Request::new(method, host, target) else { return };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    assert_is_plain(path);
    // The same request in other words.
    let encoded: String =
        path.split('/').skip(1).map(|segment| format!("/{}", all_encoded(segment))).collect();
    let shouted = host.to_ascii_uppercase();
    for (host, target) in
        [(host, encoded.as_str()), (&*shouted, path), (host, &*format!("{path}?a=/../b&{query}"))]
    {
        assert_eq!(Request::new(method, host, target).as_ref(), Ok(&read), "{host} {target}");
    }
    // The path encoded once more, or with a way out of it, is another request, or none.
    for other in [format!("{path}/.."), format!("{path}/%2e%2e"), format!("/{path}"), format!("{path}%2f")] {
        assert_eq!(Request::new(method, host, &other), Err(Ambiguous), "{other}");
    }

    let Some(rule) = rule else { return };
    let printed = rule.to_string();
    let expected = fits(&printed, method, host, &decoded(path));
    assert_eq!(Rules(vec![rule]).demand(&read).is_some(), expected, "{printed} for {method} {host} {path}");
}

/// No reader can see anything else in this path than what it says.
fn assert_is_plain(path: &str) {
    let decoded = decoded(path);
    assert!(decoded.starts_with('/') && !decoded.contains(['\\', '%', ';', '#', '?']), "{path:?}");
    assert!(!decoded.contains(char::is_control) && !decoded.contains("//"), "{path:?}");
    assert_eq!(decoded.matches('/').count(), path.matches('/').count(), "{path:?}");
    assert!(!decoded.split('/').any(|segment| segment == "." || segment == ".."), "{path:?}");
}

fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8().unwrap().into_owned()
}

fn all_encoded(segment: &str) -> String {
    decoded(segment).bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Whether a rule, as it is written, is about this request.
fn fits(rule: &str, method: &str, host: &str, path: &str) -> bool {
    let mut words = rule.split(' ');
    let (methods, target) = (words.next().unwrap(), words.next().unwrap());
    let (wanted_host, pattern) = target.split_once('/').unwrap();
    let port = host.rfind(':').filter(|at| host[at + 1..].bytes().all(|byte| byte.is_ascii_digit()));
    let name = &host[..port.unwrap_or(host.len())];
    let name = name.strip_suffix('.').unwrap_or(name);
    (methods == "*" || methods.split(',').any(|one| one == method))
        && (wanted_host == "*" || wanted_host.eq_ignore_ascii_case(name))
        && path_fits(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').skip(1).collect::<Vec<_>>())
}

fn path_fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        (["**"], _) | ([], []) => true,
        (["*", pattern @ ..], [segment, path @ ..]) => !segment.is_empty() && path_fits(pattern, path),
        ([text, pattern @ ..], [segment, path @ ..]) => text == segment && path_fits(pattern, path),
        _ => false,
    }
}
