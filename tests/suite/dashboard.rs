//! The dashboard: who gets in, what a session may do, and what browsers are told.

use serde_json::json;

use crate::audit::entries;
use crate::support::http::{Answer, form, post_form};
use crate::support::{ADMIN_KEY, Process, Server, call};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const PAGES: [&str; 11] = [
    "/admin/",
    "/admin/clients",
    "/admin/clients/new",
    "/admin/keys",
    "/admin/keys/rotate",
    "/admin/services",
    "/admin/services/new",
    "/admin/inspect",
    "/admin/audit",
    "/admin/admin-keys",
    "/admin/settings",
];

/// Somebody with a browser.
struct Browser {
    url: String,
    cookie: String,
}

impl Browser {
    /// Signs in, and fails where that does not work.
    #[track_caller]
    fn sign_in(url: &str, key: &str) -> Self {
        let answer = sign_in(url, key, &[]);
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { url: url.to_owned(), cookie }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        call("GET", &format!("{}{path}", self.url), &[("cookie", &self.cookie)], b"")
    }

    #[track_caller]
    fn post_raw(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let headers = [&[("cookie", &*self.cookie), FORM], headers].concat();
        call("POST", &format!("{}{path}", self.url), &headers, form(fields).as_bytes())
    }

    /// Sends a form, with the token of this session.
    #[track_caller]
    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf();
        self.post_raw(path, &[&[("csrf", &*csrf)], fields].concat(), &[])
    }

    /// What the forms of this session carry.
    #[track_caller]
    fn csrf(&self) -> String {
        let page = self.get("/admin/settings").body;
        let (_, after) = page.split_once(r#"name="csrf" value=""#).unwrap_or_else(|| panic!("{page}"));
        after.split('"').next().unwrap().to_owned()
    }

    /// Which state the form of a page was made for.
    #[track_caller]
    fn seen(&self, path: &str) -> String {
        let page = self.get(path).body;
        let (_, after) = page.split_once(r#"name="seen" value=""#).unwrap_or_else(|| panic!("{page}"));
        after.split('"').next().unwrap().replace("&quot;", "\"")
    }

    /// Registers a service.
    #[track_caller]
    fn register(&self, audience: &str, actions: &str) {
        let answer = self.post("/admin/services/new", &[("audience", audience), ("actions", actions)]);
        let page = format!("/admin/service?audience={audience}");
        assert_eq!((answer.status, answer.header("location")), (303, Some(&*page)), "{answer:?}");
    }

    #[track_caller]
    fn is_in(&self) -> bool {
        self.get("/admin/").status == 200
    }
}

#[track_caller]
fn sign_in(url: &str, key: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = [&[FORM], headers].concat();
    call(
        "POST",
        &format!("{url}/admin/sign-in"),
        &headers,
        form(&[("key", key), ("back", "/admin/keys")]).as_bytes(),
    )
}

fn acts(server: &Server) -> Vec<(String, String)> {
    let text = |entry: &serde_json::Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    entries(&server.database()).iter().map(|entry| (text(entry, "action"), text(entry, "actor"))).collect()
}

/// The audiences of the registered services.
fn services(server: &Server) -> Vec<String> {
    let list = server.admin("GET", "/admin/v1/services", &serde_json::Value::Null).json();
    let services = list["services"].as_array().unwrap_or_else(|| panic!("{list}"));
    services.iter().map(|one| one["audience"].as_str().unwrap().to_owned()).collect()
}

fn service(server: &Server, audience: &str) -> serde_json::Value {
    server.admin("GET", &format!("/admin/v1/services/{audience}"), &serde_json::Value::Null).json()
}

/// Somebody else changes a service.
#[track_caller]
fn amend(server: &Server, audience: &str, change: &serde_json::Value) {
    let headers = [("api-key", ADMIN_KEY), ("content-type", "application/json"), ("if-match", "*")];
    let url = server.endpoint(&format!("/admin/v1/services/{audience}"));
    let answer = call("PATCH", &url, &headers, change.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn every_page_takes_a_session_and_leads_to_where_one_begins() {
    let server = Server::start();
    for page in PAGES {
        for cookie in ["", "m2mint_session=", "m2mint_session=AAAA", "__Host-m2mint=AAAA"] {
            let answer = call("GET", &server.endpoint(page), &[("cookie", cookie)], b"");
            assert_eq!(answer.status, 303, "{page}");
            assert!(
                answer.header("location").unwrap().starts_with("/admin/sign-in?back=%2Fadmin"),
                "{answer:?}"
            );
        }
    }
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    for page in PAGES {
        assert_eq!(browser.get(page).status, 200, "{page}");
    }
    assert_eq!(browser.get("/admin/nothing").status, 404);
    assert_eq!(browser.get("/admin").header("location"), Some("/admin/"));
    assert_eq!(call("PUT", &server.endpoint("/admin/keys"), &[], b"").status, 405);
}

#[test]
fn signing_in_takes_an_admin_key_and_stands_in_the_audit_log() {
    let server = Server::start();
    for wrong in ["", "wrong", &ADMIN_KEY[1..]] {
        let answer = sign_in(&server.url, wrong, &[]);
        assert!(answer.status == 401 && answer.header("set-cookie").is_none(), "{answer:?}");
        assert!(answer.body.contains("not accepted") && !answer.body.contains(ADMIN_KEY), "{answer:?}");
    }
    let answer = sign_in(&server.url, ADMIN_KEY, &[]);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/keys")));
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    assert_eq!(browser.post("/admin/sign-out", &[]).status, 303);
    assert!(!browser.is_in());
    server.pass(61);
    let acts = acts(&server);
    let count =
        |action: &str, actor: &str| acts.iter().filter(|one| **one == (action.into(), actor.into())).count();
    assert_eq!(count("session.begin", "api_key 1"), 2);
    assert_eq!(count("session.end", "api_key 1"), 1);
    assert_eq!(count("authentication.refuse", "unknown"), 3);
}

#[test]
fn guesses_at_the_key_of_the_dashboard_are_counted_with_those_at_the_api() {
    let server = Server::start();
    let wrong = |n: usize| sign_in(&server.url, &format!("wrong {n}"), &[]).status;
    let first = (0..200).find(|n| wrong(*n) == 429).expect("never refused");
    assert!(first >= 10, "{first}");
    let api = call("GET", &server.endpoint("/recipe/oauth/clients/list"), &[("api-key", "wrong")], b"");
    assert_eq!(api.status, 429, "{api:?}");
    let answer = sign_in(&server.url, "wrong", &[]);
    assert!(answer.header("retry-after").is_some() && answer.body.contains("Too many"), "{answer:?}");
}

#[test]
fn a_session_is_a_cookie_that_no_script_reads_and_no_other_site_sends() {
    let server = Server::start();
    let here = server.url.strip_prefix("http://").unwrap();
    let plain = sign_in(&server.url, ADMIN_KEY, &[("origin", &server.url)]);
    let plain = plain.header("set-cookie").unwrap().to_owned();
    for part in ["m2mint_session=", "; Path=/admin/;", "; HttpOnly", "; SameSite=Strict"] {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    // The browser came over TLS, to a proxy.
    let secure = sign_in(&server.url, ADMIN_KEY, &[("origin", &format!("https://{here}"))]);
    let secure = secure.header("set-cookie").unwrap().to_owned();
    for part in ["__Host-m2mint=", "; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(secure.contains(part), "{part}: {secure}");
    }
    assert!(!secure.contains("Domain"));
    let id = |cookie: &str| cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    assert_eq!(id(&plain).len(), 43);
    let is_in = |name: &str, id: &str| {
        call("GET", &server.endpoint("/admin/"), &[("cookie", &format!("{name}={id}"))], b"").status == 200
    };
    assert!(is_in("m2mint_session", &id(&plain)) && is_in("__Host-m2mint", &id(&secure)));
    assert!(!is_in("__Host-m2mint", &id(&plain)) && !is_in("m2mint_session", &id(&secure)));
}

#[test]
fn a_session_ends_when_nobody_uses_it() {
    let server = Server::with(&[("admin.session_idle", "10m")]);
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    server.clock.pass(9 * 60_000);
    assert!(browser.is_in());
    // A page that keeps itself fresh is no use.
    server.clock.pass(9 * 60_000);
    let live = [("cookie", &*browser.cookie), ("x-live", "1")];
    assert_eq!(call("GET", &server.endpoint("/admin/"), &live, b"").status, 200);
    server.clock.pass(60_000);
    assert!(!browser.is_in());
}

#[test]
fn a_session_ends_with_its_admin_key() {
    let server = Process::start();
    let key = server.verb_json(&["admin-keys", "add", "ops", "--role", "clients", "--json"]);
    let key = key["key"].as_str().unwrap_or_else(|| panic!("{key}")).to_owned();
    server.wait_until("the key counts", || sign_in(&server.url, &key, &[]).status == 303);
    let browser = Browser::sign_in(&server.url, &key);
    assert!(browser.is_in());
    server.verb(&["admin-keys", "remove", "ops", "--yes"]);
    server.wait_until("the session is over", || !browser.is_in());
}

#[test]
fn a_form_without_the_token_of_its_session_changes_nothing() {
    let server = Server::start();
    let client = server.task_service();
    let (browser, other) =
        (Browser::sign_in(&server.url, ADMIN_KEY), Browser::sign_in(&server.url, ADMIN_KEY));
    let (own, foreign) = (browser.csrf(), other.csrf());
    assert_ne!(own, foreign);
    let before = server.kids();
    browser.register("event", "event.view");
    let seen = browser.seen("/admin/service/remove?audience=event");
    let fields: [(&str, Vec<(&str, &str)>); 12] = [
        ("/admin/keys/rotate", vec![]),
        ("/admin/keys/revoke", vec![("kid", &before[0]), ("typed", &before[0])]),
        ("/admin/client/remove", vec![("id", &client.id), ("typed", &client.id)]),
        ("/admin/client/enabled", vec![("id", &client.id), ("enabled", "false")]),
        ("/admin/client/secrets/add", vec![("id", &client.id)]),
        ("/admin/clients/new", vec![("name", "made")]),
        ("/admin/services/new", vec![("audience", "made")]),
        ("/admin/service/edit", vec![("audience", "event"), ("seen", &seen), ("description", "made")]),
        ("/admin/service/actions/add", vec![("audience", "event"), ("seen", &seen), ("name", "made")]),
        (
            "/admin/service/actions/rename",
            vec![
                ("audience", "event"),
                ("seen", &seen),
                ("action", "event.view"),
                ("to", "made"),
                ("alias_for", "90d"),
            ],
        ),
        (
            "/admin/service/actions/remove",
            vec![("audience", "event"), ("seen", &seen), ("action", "event.view")],
        ),
        ("/admin/service/remove", vec![("audience", "event"), ("seen", &seen), ("typed", "event")]),
    ];
    for (path, fields) in &fields {
        for csrf in ["", &own[1..], &foreign] {
            let fields = [&[("csrf", csrf)], fields.as_slice()].concat();
            let answer = browser.post_raw(path, &fields, &[]);
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
        }
        let right = [&[("csrf", &*own)], fields.as_slice()].concat();
        let evil = browser.post_raw(path, &right, &[("origin", "https://evil.example")]);
        assert_eq!(evil.status, 403, "{path}: {evil:?}");
        let json = call(
            "POST",
            &server.endpoint(path),
            &[("cookie", &browser.cookie), ("content-type", "text/plain")],
            form(&right).as_bytes(),
        );
        assert_eq!(json.status, 400, "{path}: {json:?}");
    }
    assert_eq!(server.kids(), before);
    assert_eq!(services(&server), ["event"]);
    assert_eq!(browser.seen("/admin/service/remove?audience=event"), seen);
    server.token(&client);
    server.pass(61);
    assert!(acts(&server).iter().any(|(action, _)| action == "authentication.refuse"));
    assert_eq!(browser.post("/admin/keys/rotate", &[]).status, 303, "with it, it works");
    assert_ne!(server.kids(), before);
}

#[test]
fn a_key_that_may_only_read_is_offered_nothing_else_and_refused_all_the_same() {
    let server = Process::start();
    let client = server.client();
    let key = server.verb_json(&["admin-keys", "add", "watcher", "--role", "read", "--json"]);
    let key = key["key"].as_str().unwrap().to_owned();
    server.wait_until("the key counts", || sign_in(&server.url, &key, &[]).status == 303);
    let browser = Browser::sign_in(&server.url, &key);
    let holder = Browser::sign_in(&server.url, ADMIN_KEY);
    holder.register("event", "event.view\nevent.create");
    let seen = holder.seen("/admin/service/remove?audience=event");
    let client_page = format!("/admin/client?id={}", client.id);
    assert_eq!(browser.get("/admin/admin-keys").status, 403);
    assert!(!browser.get("/admin/").body.contains("/admin/admin-keys"));
    let others = [
        &*client_page,
        "/admin/service?audience=event",
        "/admin/service/edit?audience=event",
        "/admin/service/actions/rename?audience=event&action=event.view",
        "/admin/service/actions/remove?audience=event&action=event.view",
        "/admin/service/remove?audience=event",
    ];
    for page in PAGES.iter().copied().chain(others) {
        let page = browser.get(page).body;
        assert!(page.contains("<main"), "{page}");
        for form in page.split("<form ").skip(1) {
            let action = form.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
            let harmless = [
                "/admin/sign-out",
                "/admin/theme",
                "/admin/clients",
                "/admin/audit",
                "/admin/audit/verify",
                "/admin/inspect",
            ];
            let is_offered = form.split("</form>").next().unwrap().contains("type=\"submit\"");
            assert!(harmless.contains(&action) || !is_offered, "{action}");
        }
    }
    let kid = server.active_kid("EdDSA");
    for (path, fields) in [
        ("/admin/keys/rotate", vec![]),
        ("/admin/keys/revoke", vec![("kid", &*kid), ("typed", &*kid)]),
        ("/admin/clients/new", vec![("name", "made")]),
        ("/admin/client/edit", vec![("id", &*client.id)]),
        ("/admin/client/enabled", vec![("id", &*client.id), ("enabled", "false")]),
        ("/admin/client/secrets/add", vec![("id", &*client.id)]),
        ("/admin/client/secrets/rotate", vec![("id", &*client.id), ("grace", "7d")]),
        ("/admin/client/secrets/remove", vec![("id", &*client.id), ("secret", "1")]),
        ("/admin/client/revoke-tokens", vec![("id", &*client.id)]),
        ("/admin/client/remove", vec![("id", &*client.id), ("typed", &*client.id)]),
        ("/admin/services/new", vec![("audience", "made")]),
        ("/admin/service/edit", vec![("audience", "event"), ("seen", &*seen), ("description", "made")]),
        ("/admin/service/actions/add", vec![("audience", "event"), ("seen", &*seen), ("name", "made")]),
        (
            "/admin/service/actions/rename",
            vec![
                ("audience", "event"),
                ("seen", &*seen),
                ("action", "event.view"),
                ("to", "made"),
                ("alias_for", "90d"),
            ],
        ),
        (
            "/admin/service/actions/remove",
            vec![("audience", "event"), ("seen", &*seen), ("action", "event.view")],
        ),
        ("/admin/service/remove", vec![("audience", "event"), ("seen", &*seen), ("typed", "event")]),
    ] {
        let answer = browser.post(path, &fields);
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
    assert_eq!(server.active_kid("EdDSA"), kid);
    let listed = browser.get("/admin/services").body;
    assert!(listed.contains("/admin/service?audience=event") && !listed.contains("made"), "{listed}");
    assert_eq!(holder.seen("/admin/service/remove?audience=event"), seen);
    server.token(&client);
}

#[test]
fn a_link_that_stands_elsewhere_leads_here_and_a_form_or_a_frame_does_not() {
    let server = Server::start();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let from = |method: &str, path: &str, site: &str, mode: &str, dest: &str| {
        let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest), FORM];
        call(method, &server.endpoint(path), &headers, b"")
    };
    let answer = from("GET", "/admin/keys?x=1", "cross-site", "navigate", "document");
    assert_eq!((answer.status, answer.header("refresh")), (200, Some("0; url=/admin/keys")));
    assert!(!answer.body.contains("csrf"), "{answer:?}");
    for (method, path, mode, dest) in [
        ("GET", "/admin/keys", "navigate", "iframe"),
        ("GET", "/admin/keys", "no-cors", "image"),
        ("GET", "/admin/keys", "cors", "empty"),
        ("POST", "/admin/sign-in", "navigate", "document"),
        ("POST", "/admin/theme", "navigate", "document"),
    ] {
        assert_eq!(from(method, path, "cross-site", mode, dest).status, 403, "{method} {path} {dest}");
    }
    let evil = [("cookie", &*browser.cookie), ("host", "evil.example")];
    assert_eq!(call("GET", &server.endpoint("/admin/"), &evil, b"").status, 421);
}

#[test]
fn every_answer_keeps_scripts_frames_and_caches_of_others_out() {
    let server = Server::start();
    let client = server.client(&json!({
        "clientName": "<script>alert(1)</script>\"'&",
        "scope": "a<marquee>",
        "audience": ["<img/src=x>"],
    }));
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let client_page = format!("/admin/client?id={}", client.id);
    let edit = format!("/admin/client/edit?id={}", client.id);
    let others = [
        &*client_page,
        &*edit,
        "/admin/sign-in",
        "/admin/nothing",
        "/admin/client?id=%3Cmarquee%3E",
        "/admin/clients?q=%3Cmarquee%3E%22",
    ];
    for page in PAGES.iter().copied().chain(others) {
        let answer = browser.get(page);
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{page}"));
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{page}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{page}");
        }
        for inline in
            ["<script>", " style=", "<style", " onclick", "javascript:", "http://www", "<marquee", "<img"]
        {
            assert!(!answer.body.contains(inline), "{inline} in {page}: {}", answer.body);
        }
    }
    assert!(browser.get("/admin/clients").body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn what_pages_fetch_is_kept_for_good_and_named_after_what_is_in_it() {
    let server = Server::start();
    let page = call("GET", &server.endpoint("/admin/sign-in"), &[], b"").body;
    let names: Vec<_> = page.split('"').filter(|text| text.starts_with("/admin/assets/")).collect();
    assert_eq!(names.len(), 3, "{page}");
    let mut weight = page.len();
    for name in names {
        let answer = call("GET", &server.endpoint(name), &[], b"");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        weight += answer.body.len();
        assert_eq!(call("GET", &server.endpoint(&format!("{name}x")), &[], b"").status, 404);
    }
    assert!(weight < 150 * 1024, "{weight}");
}

#[test]
fn a_secret_is_shown_once_to_the_session_that_made_it() {
    let server = Server::start();
    let (browser, other) =
        (Browser::sign_in(&server.url, ADMIN_KEY), Browser::sign_in(&server.url, ADMIN_KEY));
    let fields =
        [("id", "task"), ("name", "Task"), ("audience", "event file"), ("scope", "event.create\r\nfile.*")];
    let answer = browser.post("/admin/clients/new", &fields);
    assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/client?id=task")));
    let secret = |browser: &Browser, page: &str| {
        let body = browser.get(page).body;
        body.split(['>', '<']).find(|text| text.starts_with("m2s_")).map(str::to_owned)
    };
    assert_eq!(secret(&other, "/admin/client?id=task"), None);
    assert_eq!(secret(&browser, "/admin/clients"), None, "another page");
    let shown = secret(&browser, "/admin/client?id=task").unwrap();
    assert_eq!(secret(&browser, "/admin/client?id=task"), None, "again");
    server.token(&crate::support::Client { id: "task".into(), secret: shown.clone() });
    // A rotation leaves the first one for a while.
    let answer = browser.post("/admin/client/secrets/rotate", &[("id", "task"), ("grace", "1h")]);
    assert_eq!(answer.status, 303, "{answer:?}");
    let new = secret(&browser, "/admin/client?id=task").unwrap();
    for secret in [&shown, &new] {
        server.token(&crate::support::Client { id: "task".into(), secret: secret.clone() });
    }
    for (grace, status) in [("soon", 422), ("", 422), ("0s", 422)] {
        assert_eq!(
            browser.post("/admin/client/secrets/rotate", &[("id", "task"), ("grace", grace)]).status,
            status
        );
    }
    assert_eq!(browser.post("/admin/client/secrets/remove", &[("id", "task"), ("secret", "1")]).status, 303);
    assert_eq!(browser.post("/admin/client/secrets/remove", &[("id", "task"), ("secret", "1")]).status, 404);
    let log = std::fs::read(server.database()).unwrap();
    assert!(memchr::memmem::find(&log, new.as_bytes()).is_none());
}

#[test]
fn a_client_is_changed_by_what_is_filled_in_and_not_over_somebody_elses_change() {
    let server = Server::start();
    let client = server.task_service();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let page = browser.get(&format!("/admin/client/edit?id={}", client.id)).body;
    let seen = page.split(r#"name="seen" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = |name: &'static str, more: [(&'static str, &'static str); 2]| {
        let mut fields = vec![
            ("id", client.id.clone()),
            ("seen", seen.clone()),
            ("name", name.to_owned()),
            ("audience", "event\r\nfile".to_owned()),
            ("scope", "event.view event.create".to_owned()),
        ];
        fields.extend(more.map(|(name, value)| (name, value.to_owned())));
        fields
    };
    let post = |fields: &[(&str, String)]| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/admin/client/edit", &fields)
    };
    for wrong in [
        ("lifetime", "long"),
        ("lifetime", "90d"),
        ("networks", "nowhere"),
        ("tokens", "-1"),
        ("not_after", "soon"),
        ("audience_scopes", "mail = x"),
    ] {
        let answer = post(&fields("New", [wrong, ("", "")]));
        assert!(answer.status == 422 && answer.body.contains("role=\"alert\""), "{wrong:?}: {answer:?}");
    }
    server.clock.pass(1000);
    let answer = post(&fields("New", [("lifetime", "15m"), ("tokens", "60")]));
    assert_eq!(answer.status, 303, "{answer:?}");
    let path = format!("/recipe/oauth/clients?clientId={}", client.id);
    let now = server.admin("GET", &path, &serde_json::Value::Null).json();
    assert_eq!(now["clientName"], "New");
    assert_eq!(now["scope"], "event.view event.create");
    assert_eq!(now["clientCredentialsGrantAccessTokenLifespan"], "15m");
    assert_eq!(now["tokensPerMinute"], 60);
    let late = post(&fields("Later", [("", ""), ("", "")]));
    assert!(late.status == 422 && late.body.contains("Somebody else"), "{late:?}");
}

#[test]
fn what_cannot_be_taken_back_takes_the_name_to_be_typed() {
    let server = Server::start();
    let client = server.task_service();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    for typed in ["", "x", &client.id[1..]] {
        let answer = browser.post("/admin/client/remove", &[("id", &client.id), ("typed", typed)]);
        assert_eq!(answer.status, 422, "{answer:?}");
    }
    server.token(&client);
    let kid = server.kids()[0].clone();
    for typed in ["", &kid[..5], &kid[1..]] {
        let answer = browser.post("/admin/keys/revoke", &[("kid", &kid), ("typed", typed)]);
        assert!(answer.body.contains("Nothing was changed"), "{answer:?}");
    }
    assert_eq!(server.kids()[0], kid);
    assert_eq!(browser.post("/admin/keys/revoke", &[("kid", &kid), ("typed", &kid[..6])]).status, 303);
    assert!(!server.kids().contains(&kid));
    assert_eq!(
        browser.post("/admin/client/remove", &[("id", &client.id), ("typed", &client.id)]).status,
        303
    );
    assert_eq!(browser.get(&format!("/admin/client?id={}", client.id)).status, 404);
}

#[test]
fn a_rotation_that_comes_too_early_is_shown_as_queued() {
    let server = Server::start();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let preview = browser.get("/admin/keys/rotate").body;
    assert!(preview.contains("at once"), "{preview}");
    assert_eq!(browser.post("/admin/keys/rotate", &[]).status, 303);
    assert!(browser.get("/admin/keys").body.contains("Rotated: "));
    let preview = browser.get("/admin/keys/rotate").body;
    assert!(preview.contains("The rotation is queued") && preview.contains("1d 1h"), "{preview}");
    let before = server.kids();
    assert_eq!(browser.post("/admin/keys/rotate", &[]).status, 303);
    let page = browser.get("/admin/keys").body;
    assert!(page.contains("Queued: ") && page.contains("queued-name"), "{page}");
    assert_eq!(server.kids(), before);
    assert!(page.contains("The timeline as a table"));
}

#[test]
fn the_audit_log_is_shown_by_pages_filtered_and_verified() {
    let server = Server::start();
    for _ in 0..60 {
        server.task_service();
    }
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let first = browser.get("/admin/audit?kind=client.").body;
    let rows = |page: &str| page.matches("client.create").count();
    assert_eq!(rows(&first), 50);
    let older = first.split('"').find(|text| text.contains("before=")).unwrap().replace("&amp;", "&");
    assert_eq!(rows(&browser.get(&older).body), 10);
    assert_eq!(rows(&browser.get("/admin/audit?refused=on").body), 0);
    let verified = browser.post("/admin/audit/verify", &[]);
    assert!(verified.body.contains("The log is whole"), "{verified:?}");
}

#[test]
fn the_dashboard_is_where_the_admin_api_is_and_nowhere_else() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("m2mint.toml"), "[admin]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let server = Process::again(directory, &[]);
    assert_eq!(call("GET", &server.endpoint("/admin/sign-in"), &[], b"").status, 404);
    let admin =
        server.greeting.lines().find_map(|line| line.trim().strip_prefix("admin API")).unwrap().trim();
    assert_eq!(call("GET", &format!("{admin}/admin/sign-in"), &[], b"").status, 200);
}

#[test]
fn a_token_that_is_looked_at_is_explained_and_kept_nowhere() {
    let server = Process::start();
    let client = server.client();
    let token = server.token(&client);
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let ask = |token: &str, audience: &str, scope: &str| {
        browser.post("/admin/inspect", &[("token", token), ("audience", audience), ("scope", scope)]).body
    };
    let good = ask(&format!("Bearer {token}"), "event", "event.create");
    for said in ["Accepted", "at event", "Good, by the active key", &client.id, "the service that it is for"]
    {
        assert!(good.contains(said), "{said}: {good}");
    }
    for (token, audience, scope, said) in [
        (&*token, "file", "", "Refused"),
        (&*token, "event", "event.delete", "event.delete"),
        (&token[..token.len() - 3], "event", "", "Believe nothing"),
        ("<script>.x.y", "", "", "Nothing in it can be read"),
    ] {
        let page = ask(token, audience, scope);
        assert!(
            page.contains(said) && page.contains("Refused") && !page.contains("<script>."),
            "{said}: {page}"
        );
    }
    server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": client.id}));
    assert!(ask(&token, "event", "").contains("revoked"));
    let signature = token.rsplit('.').next().unwrap();
    assert!(!good.contains(signature));
    assert!(!server.log.lock().contains(signature));
    for name in ["m2mint.db", "m2mint.db-wal"] {
        let bytes = std::fs::read(server.path(name)).unwrap_or_default();
        assert!(memchr::memmem::find(&bytes, signature.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn services_are_shown_with_what_they_understand_and_who_is_granted_something_else() {
    let server = Process::start();
    server.client();
    server.verb(&["services", "add", "event", "--action", "event.view=Look at events"]);
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    server.wait_until("it is shown", || browser.get("/admin/services").body.contains("Look at events"));
    let page = browser.get("/admin/services").body;
    assert!(page.contains("not understood") && page.contains("event.create"), "{page}");
}

#[test]
fn a_service_is_registered_as_the_admin_api_does_it_and_what_is_wrong_loses_nothing() {
    let server = Server::start();
    let old = json!({"clientId": "old", "scope": "event.edit event.view", "audience": ["event"]});
    server.client(&old);
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let register = |audience: &str, description: &str, actions: &str| {
        let fields = [("audience", audience), ("description", description), ("actions", actions)];
        browser.post("/admin/services/new", &fields)
    };
    let long = "x".repeat(501);
    for (audience, description, actions) in [
        ("", "Calendar <b>", "event.view"),
        ("two words", "Calendar <b>", "event.view"),
        ("event", "Calendar <b>", "event.view\r\nevent view"),
        ("event", "Calendar <b>", "event.*"),
        ("event", "Calendar <b>", "event.view\r\nevent.view = Again"),
        ("event", "Calendar <b>", "openid"),
        ("event", &*long, "event.view"),
    ] {
        let answer = register(audience, description, actions);
        assert!(answer.status == 422 && answer.body.contains("role=\"alert\""), "{actions}: {answer:?}");
        for kept in [audience, &description.replace('<', "&lt;").replace('>', "&gt;"), actions] {
            assert!(answer.body.contains(kept), "{kept} is lost: {}", answer.body);
        }
    }
    assert!(services(&server).is_empty());
    let answer = register("event", "Calendar", "event.view\r\n\r\n event.update = Changes it = at once");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/service?audience=event")));
    let actions = json!([
        {"name": "event.update", "description": "Changes it = at once"},
        {"name": "event.view", "description": ""},
    ]);
    let now = service(&server, "event");
    assert_eq!((&now["description"], &now["actions"]), (&json!("Calendar"), &actions));
    let page = browser.get("/admin/service?audience=event").body;
    for said in ["Registered.", "Changes it = at once", "not understood", "did you mean event.update?"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let again = register("event", "", "");
    assert!(again.status == 422 && again.body.contains("is registered already"), "{again:?}");
    let (action, by) = ("service.create".to_owned(), "api_key 1".to_owned());
    assert_eq!(acts(&server).iter().filter(|act| **act == (action.clone(), by.clone())).count(), 1);
    assert_eq!(browser.get("/admin/service?audience=evnt").status, 404);
}

#[test]
fn a_service_is_removed_when_its_audience_is_typed_and_it_is_what_was_shown() {
    let server = Server::start();
    let client = server.task_service();
    server.client(&json!({"clientName": "Other", "audience": ["events", "my-event", "event.x"]}));
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    browser.register("event", "event.view\nevent.create");
    let page = browser.get("/admin/service/remove?audience=event").body;
    for said in ["1 client names it", &client.id, "2 actions", "Type the audience"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let seen = browser.seen("/admin/service/remove?audience=event");
    let remove = |seen: &str, typed: &str| {
        browser.post("/admin/service/remove", &[("audience", "event"), ("seen", seen), ("typed", typed)])
    };
    for typed in ["", "even", "Event"] {
        let answer = remove(&seen, typed);
        assert!(answer.status == 422 && answer.body.contains("Nothing was removed"), "{answer:?}");
    }
    amend(&server, "event", &json!({"description": "Calendar"}));
    for seen in [&*seen, ""] {
        let late = remove(seen, "event");
        assert!(late.status == 422 && late.body.contains("Somebody else"), "{late:?}");
    }
    assert_eq!(services(&server), ["event"]);
    let answer = remove(&browser.seen("/admin/service/remove?audience=event"), "event");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/admin/services")));
    assert!(services(&server).is_empty());
    assert!(browser.get("/admin/services").body.contains("Removed: event."));
    server.token(&client);
    assert_eq!(remove(&seen, "event").status, 404);
    assert!(acts(&server).contains(&("service.remove".into(), "api_key 1".into())));
}

#[test]
fn a_service_is_described_and_gets_and_loses_actions_and_not_over_somebody_elses_change() {
    let server = Server::start();
    let client = server.task_service();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    browser.register("event", "event.view\nevent.create");
    let shown = "/admin/service?audience=event";
    let send = |path: &str, seen: &str, fields: &[(&str, &str)]| {
        browser.post(path, &[&[("audience", "event"), ("seen", seen)], fields].concat())
    };
    let (edit, add, remove) =
        ("/admin/service/edit", "/admin/service/actions/add", "/admin/service/actions/remove");
    let done = |answer: &Answer| (answer.status, answer.header("location") == Some(shown)) == (303, true);

    let first = browser.seen(shown);
    let answer = send(edit, &first, &[("description", "Calendar")]);
    assert!(done(&answer), "{answer:?}");
    let answer = send(add, &browser.seen(shown), &[("name", "event.update"), ("what", "Changes an event")]);
    assert!(done(&answer), "{answer:?}");
    let page = browser.get("/admin/service/actions/remove?audience=event&action=event.view").body;
    for said in ["1 client may ask for it", "Task Service", "What is granted stays"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let answer = send(remove, &browser.seen(shown), &[("action", "event.view")]);
    assert!(done(&answer), "{answer:?}");
    let actions = json!([
        {"name": "event.create", "description": ""},
        {"name": "event.update", "description": "Changes an event"},
    ]);
    let now = service(&server, "event");
    assert_eq!((&now["description"], &now["actions"]), (&json!("Calendar"), &actions));
    server.token(&client);

    let (long, seen) = ("x".repeat(501), browser.seen(shown));
    for (path, fields, kept) in [
        (edit, vec![("description", &*long)], &*long),
        (add, vec![("name", "event.update"), ("what", "Once more")], "Once more"),
        (add, vec![("name", "event update"), ("what", "Once more")], "event update"),
        (add, vec![("name", "event.*")], "event.*"),
        (add, vec![("name", "openid")], "openid"),
    ] {
        let answer = send(path, &seen, &fields);
        assert!(answer.status == 422 && answer.body.contains("role=\"alert\""), "{fields:?}: {answer:?}");
        assert!(answer.body.contains(&format!("value=\"{kept}\"")), "{kept} is lost: {}", answer.body);
    }
    for path in [remove, "/admin/service/actions/rename"] {
        let fields = [("action", "event.view"), ("to", "event.show"), ("alias_for", "1d")];
        assert_eq!(send(path, &seen, &fields).status, 404, "{path}");
        assert_eq!(browser.get(&format!("{path}?audience=event&action=event.view")).status, 404);
        assert_eq!(browser.get(&format!("{path}?audience=evnt&action=event.update")).status, 404);
    }

    amend(&server, "event", &json!({"description": "Somebody's"}));
    for (path, fields) in [
        (edit, vec![("description", "Mine")]),
        (add, vec![("name", "event.share"), ("what", "Mine")]),
        (remove, vec![("action", "event.update")]),
        (
            "/admin/service/actions/rename",
            vec![("action", "event.update"), ("to", "event.mine"), ("alias_for", "1d")],
        ),
    ] {
        for seen in [&*seen, &*first, ""] {
            let late = send(path, seen, &fields);
            assert!(late.status == 422 && late.body.contains("Somebody else"), "{path}: {late:?}");
        }
    }
    let late = send(edit, &seen, &[("description", "Mine")]).body;
    assert!(late.contains("Somebody's") && late.contains("value=\"Mine\""), "both can be seen: {late}");
    let now = service(&server, "event");
    assert_eq!((&now["description"], &now["actions"]), (&json!("Somebody's"), &actions));
    let by = ("service.update".to_owned(), "api_key 1".to_owned());
    assert_eq!(acts(&server).iter().filter(|act| **act == by).count(), 4);
}

#[test]
fn an_action_is_renamed_and_its_former_name_works_for_a_while() {
    let server = Server::start();
    let client = server.task_service();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    browser.register("event", "event.view\nevent.update = Changes an event");
    let shown = "/admin/service?audience=event";
    let page = "/admin/service/actions/rename?audience=event&action=event.update";
    let preview = browser.get(page).body;
    for said in ["1 client is granted it by name", "Task Service", "value=\"90d\"", "tokens carry both"] {
        assert!(preview.contains(said), "{said}: {preview}");
    }
    let rename = |to: &str, alias_for: &str| {
        let seen = browser.seen(page);
        let fields = [("to", to), ("alias_for", alias_for)];
        let about = [("audience", "event"), ("action", "event.update"), ("seen", &*seen)];
        browser.post("/admin/service/actions/rename", &[&about[..], &fields].concat())
    };
    for (to, alias_for) in [
        ("event.change", "soon"),
        ("event.change", ""),
        ("event.change", "0s"),
        ("event.view", "1d"),
        ("event.*", "1d"),
        ("", "1d"),
    ] {
        let answer = rename(to, alias_for);
        assert!(answer.status == 422 && answer.body.contains("role=\"alert\""), "{to}: {answer:?}");
        for kept in [to, alias_for] {
            assert!(answer.body.contains(&format!("value=\"{kept}\"")), "{kept} is lost: {}", answer.body);
        }
    }
    let scopes = |scope: &str| {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &*client.id),
            ("client_secret", &*client.secret),
            ("audience", "event"),
            ("scope", scope),
        ];
        let answer = post_form(&server.token_url(), &fields);
        (answer.status == 200).then(|| answer.json()["scope"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(scopes("event.change"), None);
    let answer = rename("event.change", "2h");
    assert_eq!((answer.status, answer.header("location")), (303, Some(shown)), "{answer:?}");
    let now = service(&server, "event");
    assert_eq!(now["actions"][0], json!({"name": "event.change", "description": "Changes an event"}));
    assert_eq!(now["aliases"][0]["name"], "event.update");
    let page = browser.get(shown).body;
    assert!(
        page.contains("Renamed: event.update is called event.change") && page.contains("in 2h"),
        "{page}"
    );
    assert_eq!(scopes("event.update").as_deref(), Some("event.update event.change"));
    assert_eq!(scopes("event.change").as_deref(), Some("event.change event.update"));
    server.clock.pass(2 * 60 * 60_000);
    assert_eq!(scopes("event.update"), None);
    assert_eq!(scopes("event.change").as_deref(), Some("event.change"));
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    assert!(browser.get(shown).body.contains("called event.update until "));

    let preview = browser.get("/admin/service/actions/remove?audience=event&action=event.change").body;
    assert!(preview.contains("1 client may ask for it"), "by its former name: {preview}");
    // The client has the action by its former name alone: the page says so before that is taken away.
    let page = "/admin/service/actions/remove?audience=event&action=event.update";
    let preview = browser.get(page).body;
    assert!(preview.contains("1 client has the action by this name alone"), "{preview}");
    let seen = browser.seen(page);
    let fields = [("audience", "event"), ("seen", &*seen), ("action", "event.update")];
    assert_eq!(browser.post("/admin/service/actions/remove", &fields).status, 303);
    assert_eq!(service(&server, "event")["aliases"], json!([]));
    assert_eq!(scopes("event.change"), None);
    assert_eq!(scopes("event.update").as_deref(), Some("event.update"));
}

#[test]
fn whoever_chooses_how_pages_look_stays_where_they_are() {
    let server = Server::start();
    let client = server.task_service();
    let browser = Browser::sign_in(&server.url, ADMIN_KEY);
    let back = |page: &str| {
        let (_, after) = page.split_once(r#"name="back" value=""#).unwrap_or_else(|| panic!("{page}"));
        let back = after.split('"').next().unwrap().replace("&amp;", "&");
        let answer = browser.post("/admin/theme", &[("theme", "dark"), ("back", &back)]);
        answer.header("location").unwrap().to_owned()
    };
    let shown = format!("/admin/client?id={}&x=1", client.id);
    assert_eq!(back(&browser.get(&shown).body), shown);
    // What a form answered cannot be asked for again.
    let refused = browser.post("/admin/client/edit", &[("id", &client.id), ("lifetime", "long")]);
    assert_eq!((refused.status, &*back(&refused.body)), (422, "/admin/clients"));
}
