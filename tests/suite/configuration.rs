//! Configuration as users meet it: file, environment, flags, `config show`, `config check`.

use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::support::process::command;

fn run(directory: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(directory).envs(environment.iter().copied()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn with_file(content: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("m2mint.toml"), content).unwrap();
    directory
}

#[test]
fn flags_win_over_environment_over_file_over_defaults_and_show_says_which() {
    let directory =
        with_file("listen = \"127.0.0.1:1001\"\ntoken.lifetime = \"10m\"\n[rotation]\nevery = \"40d\"\n");
    let environment = [("M2MINT_LISTEN", "127.0.0.1:1002"), ("M2MINT_ROTATION__EVERY", "50d")];
    let output = run(directory.path(), &environment, &["--listen", "127.0.0.1:1003", "config", "show"]);
    let shown = text(&output.stdout);
    let line = |key: &str| {
        shown
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("listen"), "listen 127.0.0.1:1003 --listen");
    assert_eq!(line("rotation.every"), "rotation.every 50d M2MINT_ROTATION__EVERY");
    assert_eq!(line("token.lifetime"), "token.lifetime 10m m2mint.toml");
    assert_eq!(line("rotation.propagation"), "rotation.propagation 25h default");
    assert_eq!(
        shown.lines().count(),
        m2mint::config::keys::KEYS.len(),
        "the header, and every key that is in force: {shown}"
    );
}

#[test]
fn secrets_are_masked() {
    let directory = with_file("api_key = [\"first-secret-admin-key\", \"second-secret-admin-key\"]\n");
    let environment = [("M2MINT_MASTER_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let output = run(directory.path(), &environment, arguments);
        let shown = text(&output.stdout);
        assert!(output.status.success());
        assert!(shown.contains("(set, 2 keys)") && shown.contains("(set)"), "{shown}");
        assert!(!shown.contains("secret-admin") && !shown.contains("AAAA"), "{shown}");
    }
}

#[test]
fn check_reports_every_problem_at_once() {
    let directory = with_file(
        "listen = 3567\nlisten_adress = \"x\"\napi_key = \"short-secret\"\nbase_path = \"auth\"\nissuer = \"https://x.example/\"\n\
         workers = 0\ntls.certificate = \"none.crt\"\ntls.private_key = \"none.key\"\nlog = \"m2mint=loud\"\n[token]\nlifetime = \"30h\"\nlifetme = \"1h\"\n[rotation]\npropagation = \"0s\"\nevery = \"soon\"\n",
    );
    let output = run(
        directory.path(),
        &[("M2MINT_TOKEN__DEFAULT_SCOPE", "some"), ("M2MINT_LISTN", "x")],
        &["config", "check"],
    );
    assert_eq!(output.status.code(), Some(1));
    let problems = text(&output.stderr);
    for expected in [
        "listen = 3567 (from m2mint.toml)",
        "listen_adress (from m2mint.toml): there is no such key",
        "token.lifetme (from m2mint.toml): there is no such key; did you mean token.lifetime?",
        "api_key (from m2mint.toml): key 1 must have",
        "base_path = auth (from m2mint.toml)",
        "issuer = https://x.example/ (from m2mint.toml)",
        "workers = 0 (from m2mint.toml)",
        "tls.certificate (from m2mint.toml): none.crt cannot be read",
        "log = m2mint=loud (from m2mint.toml)",
        "token.lifetime = 30h (from m2mint.toml): it is longer than token.max_lifetime = 24h",
        "rotation.propagation = 0s (from m2mint.toml)",
        "rotation.every = soon (from m2mint.toml)",
        "token.default_scope = some (from M2MINT_TOKEN__DEFAULT_SCOPE)",
        "M2MINT_LISTN (from M2MINT_LISTN): there is no such key; did you mean M2MINT_LISTEN?",
    ] {
        assert!(problems.contains(expected), "{expected}\n---\n{problems}");
    }
    assert!(!problems.contains("short-secret"), "{problems}");
    let good = tempfile::tempdir().unwrap();
    assert!(run(good.path(), &[], &["config", "check"]).status.success());
}

#[test]
fn a_file_that_is_no_toml_is_refused_without_showing_its_lines() {
    let directory = with_file("listen = \"127.0.0.1:1\"\napi_key = \"very-secret-admin-key\n");
    let output = run(directory.path(), &[], &["config", "check"]);
    let problems = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(problems.contains("line 2"), "{problems}");
    assert!(!problems.contains("very-secret"), "{problems}");
}

#[test]
fn a_named_file_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &[], &["--config", "nowhere.toml", "config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nowhere.toml"));
}

#[test]
fn secrets_are_not_taken_from_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    for key in ["api_key", "master_key"] {
        let output =
            run(directory.path(), &[], &["--set", &format!("{key}=0123456789abcdef"), "config", "check"]);
        assert_eq!(output.status.code(), Some(1), "{key}");
        assert!(text(&output.stderr).contains("command line"), "{key}");
        assert!(!text(&output.stderr).contains("0123456789abcdef"), "{key}");
    }
}

#[test]
fn an_issuer_without_https_needs_a_loopback_address_or_consent() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        run(directory.path(), &[], &[arguments, &["config", "check"]].concat()).status.success()
    };
    let proxy = ["--set", "trusted_proxies=192.0.2.7"];
    let behind = |arguments: &[&str]| check(&[&proxy, arguments].concat());
    assert!(check(&["--listen", "127.0.0.1:1"]));
    assert!(check(&["--listen", "[::1]:1"]));
    assert!(!behind(&["--listen", "192.0.2.1:1"]));
    assert!(!behind(&["--listen", "0.0.0.0:1"]));
    assert!(!behind(&["--listen", "0.0.0.0:1", "--issuer", "http://auth.example.com"]));
    assert!(behind(&["--listen", "0.0.0.0:1", "--issuer", "https://auth.example.com"]));
    assert!(check(&["--listen", "192.0.2.1:1", "--set", "insecure=true"]));
    assert!(!check(&["--listen", "unix:/run/m2mint.sock"]));
    assert!(check(&["--listen", "unix:/run/m2mint.sock", "--issuer", "https://auth.example.com"]));
}

#[test]
fn plain_http_off_loopback_needs_a_proxy_or_consent() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        let listen = ["--listen", "0.0.0.0:1", "--issuer", "https://auth.example.com"];
        let output = run(directory.path(), &[], &[&listen, arguments, &["config", "check"]].concat());
        (output.status.success(), text(&output.stderr))
    };
    for refused in ["loopback; unix", "none", "loopback"] {
        let (good, problems) = check(&["--set", &format!("trusted_proxies={refused}")]);
        assert!(!good && problems.starts_with("m2mint: listen = 0.0.0.0:1 (from --listen): "), "{problems}");
        for way_out in ["tls.certificate", "trusted_proxies", "insecure = true"] {
            assert!(problems.contains(way_out), "{problems}");
        }
    }
    assert!(check(&["--set", "trusted_proxies=192.0.2.7; loopback"]).0);
    assert!(check(&["--set", "insecure=true"]).0);
}

#[test]
fn the_admin_api_off_loopback_needs_tls_whoever_consents() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str]| {
        let output = run(directory.path(), &[], &[arguments, &["config", "check"]].concat());
        (output.status.success(), text(&output.stderr))
    };
    for good in ["127.0.0.1:2", "[::1]:2", "unix:/run/m2mint-admin.sock", "none"] {
        let (is_good, problems) = check(&["--set", &format!("admin.listen={good}")]);
        assert!(is_good, "{problems}");
    }
    for consent in ["insecure=true", "trusted_proxies=192.0.2.7"] {
        let (good, problems) = check(&["--set", "admin.listen=0.0.0.0:2", "--set", consent]);
        assert!(!good && problems.contains("admin.listen = 0.0.0.0:2 (from --set): "), "{problems}");
    }
    let (good, problems) = check(&["--set", "admin.listen=systemd"]);
    assert!(!good && problems.contains("FileDescriptorName"), "{problems}");
    let (good, problems) = check(&["--set", "admin.client_ca=ca.pem"]);
    assert!(!good && problems.contains("tls.certificate"), "{problems}");
}

#[test]
fn usage_errors_exit_with_2() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["--no-such-flag"][..], &["no-such-verb"], &["clients"], &["keys", "revoke"]] {
        assert_eq!(run(directory.path(), &[], arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_was_done_is_kept_for_a_day_at_least() {
    let directory = tempfile::tempdir().unwrap();
    let check = |keep: &str| run(directory.path(), &[], &["config", "check", "--set", keep]).status.success();
    assert!(check("audit.keep=1d") && !check("audit.keep=23h"));
}

#[test]
fn an_audience_that_nothing_is_said_about_is_a_problem() {
    let directory = with_file("[audiences.billing]\n");
    let output = run(directory.path(), &[], &["config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("audiences.billing (from m2mint.toml): nothing is said"));
}

#[test]
fn a_list_is_emptied_by_the_word_that_stands_for_an_empty_one() {
    let directory = with_file("[forward_auth]\nrules = [\"GET a/b -> event\"]\n");
    let shown = |environment: &[(&str, &str)]| {
        let output = run(directory.path(), environment, &["config", "show"]);
        text(&output.stdout).lines().find(|line| line.starts_with("forward_auth.rules")).unwrap().to_owned()
    };
    assert!(shown(&[]).contains("GET a/b -> event"));
    assert!(shown(&[("M2MINT_FORWARD_AUTH__RULES", "none")]).contains("none"));
}

#[test]
fn traces_are_refused_where_the_program_was_built_without_them() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = "traces.endpoint=http://127.0.0.1:4318";
    let output = command(directory.path()).args(["config", "check", "--set", endpoint]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if m2mint::traces::BUILT_IN {
        assert!(output.status.success(), "{said}");
    } else {
        assert!(!output.status.success() && said.contains("built without traces"), "{said}");
        assert!(said.contains("--features opentelemetry"), "{said}");
    }
    let none = ["config", "check", "--set", "traces.endpoint=none", "--set", "traces.sample_ratio=1"];
    assert!(command(directory.path()).args(none).output().unwrap().status.success());
}
