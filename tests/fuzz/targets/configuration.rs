//! The configuration file: any text. What is taken obeys the rules, what is shown can be set again, and no secret is
//! ever shown.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::time::Duration;

use m2mint::config::{self, Listen, Loaded, Origin, Sources};

/// Stands in every file, as the admin key.
const SECRET: &str = "tell-no-one-0123456789";
/// Keys whose values are not shown, or are shown but not set.
const NOT_SHOWN: [&str; 2] = ["api_key", "master_key"];

thread_local! {
    /// A file without a name, which goes when the thread does.
    static FILE: File = tempfile::tempfile().unwrap();
}

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = text.replace(SECRET, "");
    // A line with a mistake in it, which a message could show.
    if let Err(problems) = FILE.with(|file| load(file, &format!("api_key = \"{SECRET}{text}"))) {
        assert!(!problems.to_string().contains(SECRET), "{problems}");
    }
    let loaded = FILE.with(|file| load(file, &format!("api_key = \"{SECRET}\"\n{text}")));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            for problem in &problems.0 {
                assert!(!problem.to_string().contains(SECRET), "{problem}");
            }
            return;
        }
    };
    let shown = format!("{loaded:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    assert_obeys_the_rules(&loaded);
    assert_can_be_set_again(&loaded);
}

fn load(mut file: &File, text: &str) -> Result<Loaded, config::Problems> {
    file.set_len(0).unwrap();
    file.rewind().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    config::load(&Sources { file: Some(path), ..Sources::default() })
}

fn assert_obeys_the_rules(loaded: &Loaded) {
    let config = &loaded.config;
    assert!(config.lifetime >= Duration::from_secs(1) && config.lifetime <= config.max_lifetime);
    assert!(config.max_lifetime <= Duration::from_secs(365 * 86_400));
    config.rotation.check(config.max_lifetime).expect("a rotation that keeps the rule");
    assert!(config.workers >= 1);
    assert!(config.base_path.is_empty() || config.base_path.starts_with('/'));
    assert!(!config.base_path.ends_with('/') && !config.base_path.contains("//"));
    let said = |key: &str| loaded.shown.iter().find(|shown| shown.key == key).unwrap().value.as_str();
    let loopback = matches!(config.listen, Listen::Tcp(address) if address.ip().is_loopback());
    let is_open = |listen: &Listen| matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback());
    let tls = config.tls.is_some();
    assert!(!is_open(&config.listen) || tls || config.plain_http, "plain HTTP for everybody");
    assert!(!config.admin_listen.as_ref().is_some_and(is_open) || tls, "an admin API that is open and plain");
    let secure = config.issuer.as_ref().map_or(tls, |issuer| issuer.starts_with("https://"));
    assert!(secure || loopback || said("insecure") == "true", "an open issuer without https");
    if let Some(issuer) = &config.issuer {
        assert!(!issuer.ends_with('/') && !issuer.contains(['?', '#', '@', '"', '\\', ' ']), "{issuer}");
    }
}

/// As environment variables, what `m2mint config show` prints says the same.
fn assert_can_be_set_again(loaded: &Loaded) {
    let mut environment = std::collections::HashMap::new();
    for shown in loaded.shown.iter().filter(|shown| shown.origin != Origin::Default) {
        if !NOT_SHOWN.contains(&shown.key) {
            let key = config::keys::Key::named(shown.key).unwrap();
            environment.insert(key.variable(), shown.value.clone());
        }
    }
    environment.insert("M2MINT_API_KEY".into(), SECRET.into());
    let again = config::load(&Sources { environment, ..Sources::default() });
    let again = again.unwrap_or_else(|problems| panic!("what is shown is refused: {problems}"));
    assert_eq!(again.config, loaded.config);
}
