//! TLS with the programs that others use: which versions and hellos are answered, how certificates are replaced, who may
//! administer, and that nobody keeps others out.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::Signal;

use crate::support::process::{command, run_to_end};
use crate::support::tls::{Authority, Connection, FILES, TlsServer, replace};
use crate::support::{ADMIN_KEY, Process, call, get};

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Every cipher of a version, also those that this machine's policy keeps from its programs.
const ANY_CIPHER: [&str; 2] = ["-cipher", "ALL:@SECLEVEL=0"];

#[test]
fn versions_1_3_and_1_2_answer_and_older_ones_are_refused() {
    let server = TlsServer::with(&[]);
    for version in ["-tls1_3", "-tls1_2"] {
        let said = server.s_client(&[version], HELLO);
        assert!(said.contains("HTTP/1.1 200") && said.contains("Verify return code: 0"), "{version}: {said}");
    }
    for version in ["-tls1_1", "-tls1"] {
        let said = server.s_client(&[&[version], &ANY_CIPHER[..]].concat(), HELLO);
        assert!(!said.contains("HTTP/1.1") && said.contains("alert"), "{version}: {said}");
    }
    server.assert_serves();
}

#[test]
fn a_token_comes_over_http_2_and_over_http_1_1() {
    let server = TlsServer::with(&[]);
    let made = server.process.verb_json(&[
        "clients",
        "create",
        "--name",
        "Task Service",
        "--scope",
        "event.create",
        "--audience",
        "event",
        "--json",
    ]);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let user = format!("{}:{}", text("clientId"), text("clientSecret"));
    server.process.wait_until("the server knows the client", || {
        let form = "grant_type=client_credentials&scope=event.create";
        server.curl(&["-u", &user, "-d", form], "/auth/oauth/token").1.contains("access_token")
    });
    for (version, wanted) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let form = ["-u", &user, "-d", "grant_type=client_credentials", "-w", " %{http_version}", version];
        let (_, answer) = server.curl(&form, "/auth/oauth/token");
        assert!(answer.contains("\"access_token\"") && answer.ends_with(&format!(" {wanted}")), "{answer}");
    }
    let issuer = server.curl(&[], "/.well-known/openid-configuration").1;
    assert!(issuer.contains(&format!("\"issuer\":\"{}/auth\"", server.process.url)), "{issuer}");
}

#[test]
fn a_hello_that_is_none_ends_cleanly_and_the_server_serves_on() {
    let server = TlsServer::with(&[("M2MINT_LIMITS__HEAD_TIME", "1s")]);
    let record = |length: u16, body: &[u8]| [&[22, 3, 1], &length.to_be_bytes()[..], body].concat();
    // SSLv3: version 3.0 in the record and in the hello, one cipher suite, no extensions.
    let ssl3_hello = [&[1, 0, 0, 41, 3, 0][..], &[7; 32], &[0, 0, 2, 0, 10, 1, 0]].concat();
    let ssl3 = [&[22, 3, 0, 0, 45][..], &ssl3_hello].concat();
    let ssl2 = [&[0x80, 46, 1, 3, 1, 0, 21, 0, 0, 0, 16][..], &[9; 37]].concat();
    let bytes: Vec<u8> =
        (0..4096_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let longer = record(17_000, &vec![1; 17_000]);
    let fragments: Vec<u8> = (0..64).flat_map(|_| record(1, &[1])).collect();
    let huge_hello = record(4, &[1, 0xff, 0xff, 0xff]);
    for (what, hello) in [
        ("nothing", Vec::new()),
        ("plain HTTP", HELLO.as_bytes().to_vec()),
        ("random bytes", bytes),
        ("SSLv3", ssl3),
        ("SSLv2", ssl2),
        ("a truncated record", record(512, &[1, 0, 1, 252, 3, 3])),
        ("an empty record", record(0, &[])),
        ("a record above 16 KiB", longer),
        ("a hello in pieces that never ends", fragments),
        ("a hello of 16 MiB", huge_hello),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 40]),
        ("data before the handshake", vec![23, 3, 3, 0, 5, 1, 2, 3, 4, 5]),
    ] {
        for half_closed in [false, true] {
            let mut stream = server.plain();
            let _ = stream.write_all(&hello);
            if half_closed {
                let _ = stream.shutdown(Shutdown::Write);
            }
            assert!(!rest(&mut stream, what).starts_with(b"HTTP"), "{what}");
        }
        server.assert_serves();
    }
    assert!(!server.process.log.lock().contains("panic"), "{}", server.process.log.lock());
}

/// Reads until the server ends the connection.
fn rest(stream: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}: {error}"),
    }
    answer
}

#[test]
fn weak_ciphers_unknown_protocols_and_renegotiation_are_refused() {
    let server = TlsServer::with(&[]);
    for weak in [
        "AES128-SHA:@SECLEVEL=0",
        "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0",
        "NULL:@SECLEVEL=0",
        "aNULL:@SECLEVEL=0",
    ] {
        let said = server.s_client(&["-tls1_2", "-cipher", weak], HELLO);
        assert!(!said.contains("HTTP/1.1") && said.contains("alert"), "{weak}: {said}");
    }
    let said = server.s_client(&["-alpn", "spdy/3,gopher"], HELLO);
    assert!(!said.contains("HTTP/1.1") && said.contains("no application protocol"), "{said}");
    // A name that the certificate does not have is the client's to judge.
    let said = server.s_client(&["-servername", "elsewhere.example"], HELLO);
    assert!(said.contains("HTTP/1.1 200"), "{said}");
    let (output, _) = server.curl(
        &[
            "--resolve",
            &format!("elsewhere.example:{}:127.0.0.1", server.address().rsplit(':').next().unwrap()),
        ],
        &format!("https://elsewhere.example:{}/hello", server.address().rsplit(':').next().unwrap()),
    );
    assert_eq!(output.status.code(), Some(60), "curl takes no certificate with another name");
    let said = server.s_client_commands(&["-tls1_2"], "R\n");
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    server.assert_serves();
}

#[test]
fn a_certificate_is_replaced_while_a_connection_goes_on() {
    let server = TlsServer::with(&[]);
    let mut kept = server.connect().unwrap();
    let mut pair = server.pair.clone();
    assert_eq!(kept.certificate(), pair.der);
    for by_signal in [true, false, true] {
        pair = server.authority.pair();
        pair.write(server.process.directory.path());
        if by_signal {
            server.process.signal(Signal::HUP);
        }
        server.process.wait_until("the new certificate is in use", || server.certificate() == pair.der);
        assert!(kept.ask("/hello").starts_with("HTTP/1.1 200"), "the old connection goes on");
    }
}

#[test]
fn a_handshake_under_way_is_finished_with_the_certificate_of_before() {
    let server = TlsServer::with(&[]);
    let mut half = server.plain();
    half.write_all(&[22, 3, 1]).unwrap();
    server.authority.pair().write(server.process.directory.path());
    server.process.signal(Signal::HUP);
    server.process.wait_until("the new certificate is in use", || server.certificate() != server.pair.der);
    // The rest of a record that is no hello: the answer is an alert, and so the connection was still listened to.
    half.write_all(&[0, 4, 2, 0, 0, 0]).unwrap();
    assert_eq!(rest(&mut half, "half a hello").first(), Some(&21));
}

#[test]
fn a_bad_new_certificate_keeps_the_one_of_before_and_says_so_once() {
    let server = TlsServer::with(&[]);
    let directory = server.process.directory.path();
    let log = || server.process.log.lock().clone();
    let complaints = || log().matches("the certificate of before stays in use").count();
    replace(directory, "tls.key", &server.authority.pair().private_key);
    server.process.wait_until("the pair is refused", || complaints() == 1);
    assert!(
        log().contains("tls.private_key: tls.key does not belong to the certificate in tls.crt"),
        "{}",
        log()
    );
    assert_eq!(server.certificate(), server.pair.der);
    replace(directory, "tls.crt", "no certificate");
    server.process.wait_until("the next change is refused", || complaints() == 2);
    server.process.signal(Signal::HUP);
    server.process.wait_until("so is the file when a signal asks", || complaints() == 3);
    fs::remove_file(directory.join("tls.crt")).unwrap();
    server.process.wait_until("a missing file is no reason to end", || complaints() == 4);
    assert_eq!(server.certificate(), server.pair.der);
    let pair = server.authority.pair();
    pair.write(directory);
    server.process.wait_until("a good pair is taken", || server.certificate() == pair.der);
    assert_eq!(complaints(), 4, "{}", log());
    assert!(!log().contains("PRIVATE KEY"), "{}", log());
}

#[test]
fn a_private_key_that_others_could_read_is_taken_once_they_cannot() {
    let server = TlsServer::with(&[]);
    let directory = server.process.directory.path();
    let private_key = directory.join("tls.key");
    let pair = server.authority.pair();
    // The key is written into the file that is there, as an installer does that knows nothing of modes.
    fs::set_permissions(&private_key, Permissions::from_mode(0o644)).unwrap();
    replace(directory, "tls.crt", &pair.certificate);
    fs::write(&private_key, &pair.private_key).unwrap();
    server
        .process
        .wait_until("it is refused", || server.process.log.lock().contains("can be read by others"));
    assert_eq!(server.certificate(), server.pair.der);
    fs::set_permissions(&private_key, Permissions::from_mode(0o600)).unwrap();
    server.process.wait_until("it is taken", || server.certificate() == pair.der);
}

#[test]
fn a_pair_that_cannot_be_used_stops_the_start_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let authority = Authority::new("servers");
    let (pair, other) = (authority.pair(), authority.pair());
    let encrypted = pair.private_key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let write = |certificate: &str, private_key: &str| {
        replace(path, "tls.crt", certificate);
        replace(path, "tls.key", private_key);
    };
    let assert_refused = |what: &str, reason: &str| {
        let serve = run_to_end(command(path).envs(FILES).args(["--listen", "127.0.0.1:0"]));
        let said = String::from_utf8_lossy(&serve.stderr).into_owned();
        assert_eq!(serve.status.code(), Some(1), "{what}: {said}");
        assert!(said.starts_with("m2mint: tls.") && said.contains(reason), "{what}: {said}");
        assert_eq!(said.lines().count(), 1, "{what}: {said}");
        let check = run_to_end(command(path).envs(FILES).args(["config", "check"]));
        assert_eq!(check.status.code(), Some(1), "{what}");
        assert!(String::from_utf8_lossy(&check.stderr).contains(reason), "{what}: {check:?}");
        assert!(!path.join("m2mint.db").exists(), "{what}: nothing was begun");
    };
    assert_refused("no files", "tls.crt cannot be read");
    write(&pair.certificate, &other.private_key);
    assert_refused("no pair", "tls.key does not belong to the certificate in tls.crt");
    write("", &pair.private_key);
    assert_refused("an empty chain", "tls.crt holds no certificate");
    write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &pair.private_key);
    assert_refused("no X.509", "tls.crt holds a certificate that cannot be used");
    write(&pair.certificate, "");
    assert_refused("an empty key", "tls.key holds no private key");
    write(&pair.certificate, &encrypted);
    assert_refused("an encrypted key", "tls.key holds no private key in PEM that is not encrypted");
    write(&pair.certificate, &pair.private_key);
    fs::set_permissions(path.join("tls.key"), Permissions::from_mode(0o640)).unwrap();
    assert_refused(
        "a key that others read",
        "tls.key can be read by others (mode 0640). Run: chmod 600 tls.key",
    );
}

#[test]
fn one_half_of_a_pair_is_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    for (given, missing) in [(FILES[0], "tls.private_key"), (FILES[1], "tls.certificate")] {
        let output = run_to_end(command(directory.path()).envs([given]).args(["config", "check"]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.starts_with(&format!("m2mint: {missing} ")), "{said}");
    }
}

#[test]
fn an_expired_certificate_and_one_that_ends_soon_are_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("servers");
    let check = || {
        let output = run_to_end(command(directory.path()).envs(FILES).args(["config", "check"]));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    authority.pair().write(directory.path());
    assert_eq!(check(), "");
    authority.pair_until(2021).write(directory.path());
    assert_eq!(
        check(),
        "m2mint: the certificate in tls.crt expired at 2021-01-01T00:00:00Z: clients refuse it\n"
    );
    let directory = std::sync::Arc::new(directory);
    let server = Process::again(std::sync::Arc::clone(&directory), &FILES);
    server.wait_until("the log has it", || server.log.lock().contains("expired at 2021-01-01T00:00:00Z"));
}

#[test]
fn systemds_credentials_are_taken_where_nothing_else_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Authority::new("servers").pair();
    replace(directory.path(), "tls_certificate", &pair.certificate);
    let key = replace(directory.path(), "tls_private_key", &pair.private_key);
    // systemd gives read access by other means than this.
    fs::set_permissions(key, Permissions::from_mode(0o440)).unwrap();
    let show = |more: &[(&str, &str)]| {
        let mut show = command(directory.path());
        show.env("CREDENTIALS_DIRECTORY", directory.path()).envs(more.iter().copied());
        let check = run_to_end(show.args(["config", "check"]));
        assert!(check.status.success(), "{check:?}");
        let mut show = command(directory.path());
        show.env("CREDENTIALS_DIRECTORY", directory.path()).envs(more.iter().copied());
        let shown = run_to_end(show.args(["config", "show"])).stdout;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        shown.lines().filter(|line| line.starts_with("tls.")).collect::<Vec<_>>().join("\n")
    };
    let shown = show(&[]);
    assert!(shown.contains("/tls_certificate") && shown.contains("/tls_private_key"), "{shown}");
    let off = show(&[("M2MINT_TLS__CERTIFICATE", "none")]);
    assert!(!off.contains("tls_private_key"), "{off}");
}

#[test]
fn whoever_holds_all_tls_connections_keeps_nobody_out() {
    let server = TlsServer::with(&[("M2MINT_LIMITS__CONNECTIONS", "32"), ("M2MINT_LIMITS__HEAD_TIME", "1h")]);
    let silent: Vec<_> = (0..200).map(|_| server.plain()).collect();
    for _ in 0..20 {
        server.assert_serves();
    }
    let mut half_hello: Vec<_> = (0..200).map(|_| server.plain()).collect();
    for stream in &mut half_hello {
        // One that has been ended already takes nothing any more.
        let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    }
    for _ in 0..20 {
        server.assert_serves();
    }
    let welcomed: Vec<_> = (0..100).filter_map(|_| server.connect().ok()).collect();
    assert!(!welcomed.is_empty());
    for _ in 0..20 {
        server.assert_serves();
    }
    drop((silent, half_hello, welcomed));
}

#[test]
fn a_handshake_that_does_not_come_ends() {
    let server = TlsServer::with(&[("M2MINT_LIMITS__HEAD_TIME", "1s")]);
    let mut silent = server.plain();
    let mut half = server.plain();
    half.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    for stream in [&mut silent, &mut half] {
        assert_eq!(rest(stream, "no handshake"), b"");
    }
}

#[test]
fn a_slow_body_comes_to_an_end_in_tls_too() {
    let server = TlsServer::with(&[("M2MINT_LIMITS__REQUEST_TIME", "1s")]);
    let said = server.s_client(
        &[],
        "POST /auth/oauth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    );
    assert!(said.contains("HTTP/1.1 408") && said.contains("took too long to come"), "{said}");
}

#[test]
fn administrators_show_a_certificate_of_their_ca() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let path = directory.path().to_owned();
    let (servers, admins, strangers) =
        (Authority::new("servers"), Authority::new("admins"), Authority::new("others"));
    servers.pair().write(&path);
    fs::write(path.join("ca.pem"), servers.pem()).unwrap();
    replace(&path, "admins.pem", &admins.pem());
    for (name, pair) in [
        ("right", admins.pair()),
        ("wrong", strangers.pair()),
        ("expired", admins.pair_until(2021)),
        ("server", servers.pair()),
    ] {
        replace(&path, &format!("{name}.crt"), &pair.certificate);
        replace(&path, &format!("{name}.key"), &pair.private_key);
    }
    let more = [("M2MINT_ADMIN__LISTEN", "127.0.0.1:0"), ("M2MINT_ADMIN__CLIENT_CA", "admins.pem")];
    let process = Process::again(std::sync::Arc::clone(&directory), &[&FILES, &more[..]].concat());
    let admin = admin_url(&process);
    let server = TlsServer { process, pair: servers.pair(), authority: servers };
    let list = format!("{admin}/recipe/oauth/clients/list");
    let key = format!("api-key: {ADMIN_KEY}");
    let ask = |who: &[&str]| server.curl(&[&["-H", &key], who].concat(), &list).1.contains("\"OK\"");
    let certificate =
        |name: &str| ["--cert".to_owned(), format!("{name}.crt"), "--key".to_owned(), format!("{name}.key")];
    let with = |name: &str| ask(&certificate(name).each_ref().map(String::as_str));
    assert!(with("right"), "{}", server.process.log.lock());
    assert!(!ask(&[]), "without a certificate");
    for wrong in ["wrong", "expired", "server"] {
        assert!(!with(wrong), "{wrong}");
    }
    for version in ["--tls-max", "--tlsv1.3"] {
        let arguments = if version == "--tls-max" { vec!["--tls-max", "1.2"] } else { vec![version] };
        assert!(!ask(&arguments), "{version}");
    }
    // The certificate alone is no key.
    let right = certificate("right");
    let (_, answer) = server.curl(&right.each_ref().map(String::as_str), &list);
    assert_eq!(answer, "Invalid API key");
    // The public API asks nobody for a certificate.
    server.assert_serves();
    // Another CA counts as soon as it is there.
    replace(&path, "admins.pem", &strangers.pem());
    server.process.wait_until("the CA is replaced", || with("wrong") && !with("right"));
}

/// Where the greeting says that the admin API is.
#[track_caller]
fn admin_url(process: &Process) -> String {
    let line = process.greeting.lines().find_map(|line| line.trim().strip_prefix("admin API"));
    line.unwrap_or_else(|| panic!("{}", process.greeting)).trim().to_owned()
}

#[test]
fn an_admin_listener_has_the_admin_api_for_itself() {
    let server = Process::with(&[("M2MINT_ADMIN__LISTEN", "127.0.0.1:0")]);
    let admin = admin_url(&server);
    assert_ne!(admin, server.url);
    let status = |url: &str, method: &str, path: &str| {
        let headers = [("api-key", ADMIN_KEY), ("content-type", "application/json")];
        call(method, &format!("{url}{path}"), &headers, b"{}").status
    };
    for (method, path) in [
        ("GET", "/recipe/oauth/clients/list"),
        ("POST", "/recipe/oauth/clients"),
        ("POST", "/recipe/oauth/token"),
        ("GET", "/recipe/jwt/jwks"),
        ("GET", "/admin/v1/clients"),
        ("POST", "/admin/v1/keys/rotate"),
        ("GET", "/apiversion"),
        ("GET", "/%72ecipe/oauth/clients/list"),
        ("GET", "//recipe/oauth/clients/list"),
        ("GET", "/auth/../recipe/oauth/clients/list"),
    ] {
        assert_eq!(status(&server.url, method, path), 404, "{method} {path} at the public API");
        if !path.contains(['%', '.']) && !path.starts_with("//") {
            assert_ne!(status(&admin, method, path), 404, "{method} {path} at the admin API");
        }
    }
    for (method, path) in [
        ("POST", "/auth/oauth/token"),
        ("POST", "/auth/oauth/introspect"),
        ("POST", "/auth/oauth/revoke"),
        ("GET", "/auth/verify"),
        ("GET", "/.well-known/openid-configuration"),
    ] {
        assert_eq!(status(&admin, method, path), 404, "{method} {path} at the admin API");
        assert_ne!(status(&server.url, method, path), 404, "{method} {path} at the public API");
    }
    for path in [
        "/hello",
        "/health/live",
        "/health/ready",
        "/version",
        "/auth/jwt/jwks.json",
        "/.well-known/jwks.json",
    ] {
        assert_eq!(
            (get(&format!("{admin}{path}")).status, get(&server.endpoint(path)).status),
            (200, 200),
            "{path}"
        );
    }
    let nothing = get(&server.endpoint("/nothing"));
    assert_eq!(get(&server.endpoint("/recipe/oauth/clients/list")).body, nothing.body);
}

#[test]
fn an_admin_listener_can_be_a_unix_socket() {
    let server = Process::with(&[("M2MINT_ADMIN__LISTEN", "unix:admin.sock")]);
    let socket = server.path("admin.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let ask = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "-H", &format!("api-key: {ADMIN_KEY}"), "--unix-socket"])
            .arg(&socket);
        String::from_utf8(curl.arg(format!("http://localhost{path}")).output().unwrap().stdout).unwrap()
    };
    assert!(ask("/recipe/oauth/clients/list").contains("\"OK\""));
    assert_eq!(get(&server.endpoint("/recipe/oauth/clients/list")).status, 404);
    server.stop();
    assert!(!socket.exists());
}

#[test]
fn off_loopback_nothing_that_is_secret_goes_over_plain_http() {
    let directory = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str]| {
        let mut serve = command(directory.path());
        serve.args(["--listen", "0.0.0.0:0", "--issuer", "https://auth.example.com/auth"]).args(arguments);
        let output = run_to_end(&mut serve);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = start(&[]);
    assert!(
        said.starts_with("m2mint: listen = 0.0.0.0:0 (from --listen): secrets and tokens would cross"),
        "{said}"
    );
    let said = start(&["--set", "insecure=true", "--set", "admin.listen=0.0.0.0:0"]);
    assert!(
        said.starts_with("m2mint: admin.listen = 0.0.0.0:0 (from --set): the admin key would cross"),
        "{said}"
    );
    // A proxy on this machine does not need a listener that everybody reaches.
    for proxy in ["loopback", "127.0.0.1", "127.0.0.0/8", "::1"] {
        let said = start(&["--set", &format!("trusted_proxies={proxy}")]);
        assert!(said.contains("secrets and tokens would cross"), "{proxy}: {said}");
    }
    // Behind a proxy that is named, the public API is served, and the admin API is not.
    let more = [
        ("M2MINT_LISTEN", "0.0.0.0:0"),
        ("M2MINT_ISSUER", "https://auth.example.com/auth"),
        ("M2MINT_TRUSTED_PROXIES", "192.0.2.7"),
    ];
    let server = Process::with(&more);
    let url = server.url.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(get(&format!("{url}/auth/jwt/jwks.json")).status, 200);
    assert_eq!(get(&format!("{url}/recipe/oauth/clients/list")).status, 404);
    server.wait_until("the log says so", || server.log.lock().contains("the admin API is not served"));
    // With TLS it is.
    let server = TlsServer::with(&[more[0], more[1]]);
    let url = server.process.url.replace("0.0.0.0", "127.0.0.1");
    let (_, answer) =
        server.curl(&["-H", &format!("api-key: {ADMIN_KEY}")], &format!("{url}/recipe/oauth/clients/list"));
    assert!(answer.contains("\"OK\""), "{answer}");
}

#[test]
fn a_server_that_stops_finishes_what_is_under_way_in_tls_too() {
    let server = TlsServer::with(&[]);
    let mut kept: Vec<Connection> = (0..8).map(|_| server.connect().unwrap()).collect();
    assert!(kept.iter_mut().all(|one| one.ask("/hello").starts_with("HTTP/1.1 200")));
    let took = server.process.stop();
    assert!(took.as_secs() < 5, "{took:?}");
    assert!(kept.iter_mut().all(|one| one.ask("/hello").is_empty()), "the connections have ended");
}
