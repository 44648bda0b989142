//! Certificates, and TLS as a client speaks it: in this process, and with the programs that others use.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2mint::tls::provider;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Process;

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its private key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub private_key: String,
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// A certificate for `localhost`.
    pub fn pair(&self) -> Pair {
        self.pair_until(2099)
    }

    /// A certificate that is good until a year begins.
    pub fn pair_until(&self, year: i32) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let private_key = pem("PRIVATE KEY", &key.serialize_der());
        Pair { certificate: pem("CERTIFICATE", &der), private_key, der }
    }
}

impl Pair {
    /// Writes both, in place of what was there.
    pub fn write(&self, directory: &Path) {
        replace(directory, "tls.crt", &self.certificate);
        replace(directory, "tls.key", &self.private_key);
    }
}

/// Writes a file that nobody else can read, in place of what was there, in one step.
pub fn replace(directory: &Path, name: &str, content: &str) -> PathBuf {
    let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(&new, &path).unwrap();
    path
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<_> =
        encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A server that speaks TLS, and who signed its certificate.
pub struct TlsServer {
    pub process: Process,
    pub authority: Authority,
    pub pair: Pair,
}

/// The variables that name the files which [`Pair::write`] makes.
pub const FILES: [(&str, &str); 2] =
    [("M2MINT_TLS__CERTIFICATE", "tls.crt"), ("M2MINT_TLS__PRIVATE_KEY", "tls.key")];

impl TlsServer {
    #[track_caller]
    pub fn with(environment: &[(&str, &str)]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let authority = Authority::new("servers");
        let pair = authority.pair();
        pair.write(directory.path());
        fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        let process = Process::again(directory, &[&FILES, environment].concat());
        Self { process, authority, pair }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.process.url.strip_prefix("https://").unwrap().to_owned()
    }

    /// A connection before TLS.
    pub fn plain(&self) -> TcpStream {
        plain(&self.address())
    }

    /// A connection with TLS.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(&self.address(), &self.authority)
    }

    /// The certificate that a new connection gets.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.connect().unwrap().certificate()
    }

    /// curl, with a path or a whole URL. It trusts the authority.
    pub fn curl(&self, arguments: &[&str], path: &str) -> (Output, String) {
        let url = if path.starts_with('/') { self.process.endpoint(path) } else { path.to_owned() };
        let mut curl = Command::new("curl");
        curl.current_dir(self.process.directory.path()).args([
            "-sS",
            "--max-time",
            "20",
            "--cacert",
            "ca.pem",
        ]);
        let output = curl.args(arguments).arg(url).stdin(Stdio::null()).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        (output, answer)
    }

    /// `openssl s_client`, which sends `input` and reads until the server ends the connection. Answers everything that it
    /// says.
    pub fn s_client(&self, arguments: &[&str], input: &str) -> String {
        self.openssl(&[&["-ign_eof"], arguments].concat(), input)
    }

    /// The same, of `input` that is commands to the program: `R` renegotiates.
    pub fn s_client_commands(&self, arguments: &[&str], input: &str) -> String {
        self.openssl(arguments, input)
    }

    fn openssl(&self, arguments: &[&str], input: &str) -> String {
        let mut openssl = Command::new("timeout");
        openssl.current_dir(self.process.directory.path());
        openssl.args(["20", "openssl", "s_client", "-connect", &self.address(), "-CAfile", "ca.pem"]);
        openssl.arg("-verify_return_error").args(arguments);
        let mut child =
            openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // One that was refused does not read.
        let _ = stdin.write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        assert_ne!(output.status.code(), Some(124), "{arguments:?}: the connection did not end");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    #[track_caller]
    pub fn assert_serves(&self) {
        let answer = self.connect().unwrap().ask("/hello");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// What a client that trusts `authority` begins with.
pub fn client_config(authority: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
    config.unwrap().with_root_certificates(roots).with_no_client_auth()
}

/// A connection with TLS that is kept.
pub struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    pub fn open(address: &str, authority: &Authority) -> io::Result<Self> {
        let config = client_config(authority);
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(client, plain(address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    /// Asks, and answers what comes, or nothing when the connection has ended.
    pub fn ask(&mut self, path: &str) -> String {
        let mut answer = [0; 16 * 1024];
        let asked =
            write!(self.0, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").and_then(|()| self.0.flush());
        let length = asked.and_then(|()| self.0.read(&mut answer)).unwrap_or(0);
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }
}

pub fn plain(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}
