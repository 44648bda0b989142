//! The configuration, the system's clock, systemd.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Finding, Found, Patient};
use crate::config::{Config, Listen, Origin};
use crate::limits::source::TrustedProxy;

/// Where a unit of the service may be, the one that counts first.
const UNITS: [&str; 3] = [
    "/etc/systemd/system/m2mint.service",
    "/lib/systemd/system/m2mint.service",
    "/usr/lib/systemd/system/m2mint.service",
];

/// The unit that is installed.
pub fn unit() -> Option<PathBuf> {
    UNITS.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// What is odd about the configuration. What is wrong with it was said before anything was looked at.
pub fn configuration(patient: &Patient) -> Found {
    let mut found: Vec<_> = patient
        .loaded
        .warnings
        .iter()
        .map(|warning| Finding::warning(warning, "m2mint config show"))
        .collect();
    if found.is_empty() {
        let files = patient.loaded.shown.iter().find_map(|shown| match &shown.origin {
            Origin::File(path) => Some(format!("good, with {}", path.display())),
            _ => None,
        });
        found.push(Finding::good(files.unwrap_or_else(|| "good, without a file".into())));
    }
    Ok(found)
}

/// Whether somebody elsewhere gets to a listener.
fn is_elsewhere(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => !address.ip().is_loopback(),
        Listen::Systemd => true,
        Listen::Unix(_) => false,
    }
}

/// Settings that let more people in than anybody should want.
pub fn exposure(patient: &Patient) -> Found {
    let config: &Config = patient.config();
    let mut found = Vec::new();
    let everybody =
        |proxy: &TrustedProxy| matches!(proxy, TrustedProxy::Network(network) if network.is_everybody());
    if config.trusted_proxies.iter().any(everybody) {
        found.push(Finding::failure(
            "trusted_proxies names every address: whoever connects says with X-Forwarded-For where a request comes from, past \
             limits of guesses and networks of clients",
            "name the network of your proxies: trusted_proxies = [\"10.0.0.0/24\"]",
        ));
    }
    let admin = config.admin_listen.as_ref().unwrap_or(&config.listen);
    if config.metrics_public && is_elsewhere(admin) {
        found.push(Finding::warning(
            "metrics.public is true, and other machines get to the admin API: they read which clients there are and how much they do",
            "m2mint admin-keys add metrics --role read, and metrics.public = false",
        ));
    }
    if config.plain_http && is_elsewhere(&config.listen) && config.tls.is_none() {
        found.push(Finding::warning(
            "insecure is true: secrets and tokens cross the network in the clear",
            "set tls.certificate and tls.private_key, then insecure = false",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good("nobody is trusted or told more than needs be"));
    }
    Ok(found)
}

/// Whether something keeps the clock right, as far as the system tells: the kernel's own answer, which systemd passes on.
pub fn clock_is_kept() -> Option<bool> {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let output = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// What the unit hands to the service.
pub fn credentials(_: &Patient) -> Found {
    let Some(unit) = unit() else { return Ok(vec![Finding::skipped("no unit m2mint.service is installed")]) };
    let text = fs::read_to_string(&unit).map_err(|error| format!("{}: {error}", unit.display()))?;
    Ok(judge_credentials(&unit, &text))
}

fn judge_credentials(unit: &Path, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut good = 0;
    for line in text.lines().map(str::trim) {
        let (given, is_encrypted) = match line.split_once('=') {
            Some(("LoadCredential", given)) => (given, false),
            Some(("LoadCredentialEncrypted", given)) => (given, true),
            _ => continue,
        };
        let Some((name, path)) = given.split_once(':') else { continue };
        match fs::metadata(path) {
            Err(error) => found.push(Finding::failure(
                format!("the credential {name} of {} cannot be had: {path}: {error}", unit.display()),
                if is_encrypted || name == "master_key" {
                    format!("put {path} back; `m2mint init` makes it where there was none")
                } else {
                    format!("put {path} back, or take the line out: systemctl edit m2mint")
                },
            )),
            Ok(meta) if !is_encrypted && meta.mode() & 0o077 != 0 => found.push(Finding::failure(
                format!("{path} can be read by others (mode {:04o})", meta.mode() & 0o7777),
                format!("chmod 600 {path}"),
            )),
            Ok(_) => good += 1,
        }
    }
    if found.is_empty() {
        found.push(Finding::good(match good {
            0 => format!("{} hands over no credential", unit.display()),
            _ => format!("{good} credentials of {} are there, for nobody else", unit.display()),
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Level;
    use super::*;

    #[test]
    fn credentials_are_there_and_for_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, mode) in [("private", 0o600), ("public", 0o644)] {
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let judged = |line: &str, name: &str| {
            let text = format!("[Service]\n{line}{}\n", path(name).display());
            judge_credentials(Path::new("m2mint.service"), &text)
                .into_iter()
                .map(|found| found.level)
                .collect::<Vec<_>>()
        };
        assert_eq!(judged("LoadCredential=master_key:", "private"), [Level::Good]);
        assert_eq!(judged("LoadCredential=master_key:", "public"), [Level::Failure]);
        assert_eq!(judged("LoadCredentialEncrypted=master_key:", "public"), [Level::Good], "it is sealed");
        assert_eq!(judged("LoadCredential=api_key:", "missing"), [Level::Failure]);
    }
}
