//! Where a new secret goes instead of the screen: a file, a line of an environment file, or a systemd credential.
//!
//! The place is prepared before the secret exists in the database, and filled in for good after it: a place that cannot be
//! written leaves no secret that nobody knows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::output::{CliError, Result};
use crate::store::schema::folder_of;

/// Where a secret goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the secret goes, instead of the screen")]
pub struct Destination {
    /// A file, mode 0600, that holds the secret and nothing else
    #[arg(long, value_name = "PATH", group = "place")]
    to_file: Option<PathBuf>,
    /// A file of NAME=value lines, mode 0600; the others stay
    #[arg(long, value_name = "PATH", group = "place")]
    env_file: Option<PathBuf>,
    /// The NAME [default: CLIENT_SECRET, or ADMIN_KEY]
    #[arg(long, value_name = "NAME", requires = "env_file", value_parser = variable)]
    env_name: Option<String>,
    /// A credential that systemd-creds encrypts for this machine
    #[arg(long, value_name = "PATH", group = "place")]
    systemd_cred: Option<PathBuf>,
    /// Replace what is there already
    #[arg(long, requires = "place")]
    overwrite: bool,
}

/// A place that is ready; what was prepared goes away with it, unless [`Prepared::keep`] is called.
#[derive(Debug)]
pub struct Prepared {
    path: PathBuf,
    /// Holds the content until it takes the name `path`; the same where nothing was there before.
    written: PathBuf,
    is_kept: bool,
    told: String,
}

impl Destination {
    /// Writes the secret to where it is to go, if that is not the screen.
    ///
    /// # Errors
    /// When something is there already, or it cannot be written.
    pub fn prepare(&self, secret: &str, default_name: &str) -> Result<Option<Prepared>> {
        if let Some(path) = &self.to_file {
            return self.write(path, secret, format!("in {}", path.display())).map(Some);
        }
        if let Some(path) = &self.env_file {
            return self.add_line(path, self.env_name.as_deref().unwrap_or(default_name), secret).map(Some);
        }
        if let Some(path) = &self.systemd_cred {
            return self.encrypt(path, secret).map(Some);
        }
        super::output::holds_secret();
        Ok(None)
    }

    fn write(&self, path: &Path, content: &str, told: String) -> Result<Prepared> {
        if fs::symlink_metadata(path).is_ok() {
            demand_file(path)?;
            if !self.overwrite {
                return Err(CliError::Refused(format!(
                    "{} exists already; name a file that does not, or add --overwrite",
                    path.display()
                )));
            }
            return replace(path, content, told);
        }
        create(path, content).map_err(|error| unwritable(path, &error))?;
        Ok(Prepared { path: path.to_owned(), written: path.to_owned(), is_kept: false, told })
    }

    fn add_line(&self, path: &Path, name: &str, secret: &str) -> Result<Prepared> {
        let told = format!("{name} in {}", path.display());
        let line = Zeroizing::new(format!("{name}={secret}\n"));
        demand_file(path)?;
        let before = match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(before) => before,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create(path, &line).map_err(|error| unwritable(path, &error))?;
                return Ok(Prepared {
                    path: path.to_owned(),
                    written: path.to_owned(),
                    is_kept: false,
                    told,
                });
            }
            Err(error) => return Err(unwritable(path, &error)),
        };
        let mode = fs::metadata(path)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            let reason = format!("{path} can be read by others (mode {mode:04o}). Run: chmod 600 {path}");
            return Err(CliError::Refused(reason));
        }
        let sets = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line);
            line.split_once('=').is_some_and(|(before, _)| before.trim() == name)
        };
        if before.lines().any(sets) && !self.overwrite {
            return Err(CliError::Refused(format!(
                "{} sets {name} already; name another with --env-name, or add --overwrite",
                path.display()
            )));
        }
        let mut after = Zeroizing::new(String::with_capacity(before.len() + line.len() + 1));
        for line in before.lines().filter(|line| !sets(line)) {
            after.push_str(line);
            after.push('\n');
        }
        after.push_str(&line);
        // What a link points to is the file.
        replace(&fs::canonicalize(path)?, &after, told)
    }

    fn encrypt(&self, path: &Path, secret: &str) -> Result<Prepared> {
        if fs::symlink_metadata(path).is_ok() && !self.overwrite {
            return self.write(path, "", String::new());
        }
        let stem = if path.extension().is_some_and(|ending| ending == "cred") {
            path.file_stem()
        } else {
            path.file_name()
        };
        let name = stem.and_then(|name| name.to_str()).unwrap_or_default();
        if name.is_empty() {
            return Err(CliError::Usage(format!("--systemd-cred: {} names no file", path.display())));
        }
        let encrypted = systemd_creds(name, secret)?;
        let place = std::path::absolute(path)?;
        let told = format!(
            "encrypted in {0}\n           for the unit: LoadCredentialEncrypted={name}:{1}",
            path.display(),
            place.display()
        );
        self.write(path, &encrypted, told)
    }
}

impl Prepared {
    /// Keeps what was prepared, and answers where it is, in words.
    ///
    /// # Errors
    /// When it cannot take its name; then the secret is lost.
    pub fn keep(mut self) -> Result<String> {
        let moved = if self.written == self.path { Ok(()) } else { fs::rename(&self.written, &self.path) };
        moved.and_then(|()| folder_of(&self.path)?.sync_all()).map_err(|error| {
            CliError::Failed(format!(
                "{} could not be written: {error}. The secret is lost: remove it, and make another",
                self.path.display()
            ))
        })?;
        self.is_kept = true;
        Ok(std::mem::take(&mut self.told))
    }

    /// The file that holds the secret.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.is_kept {
            // Nothing better can be done about one that stays: it opens nothing.
            let _ = fs::remove_file(&self.written);
        }
    }
}

/// Writes a secret to a file of its own, mode 0600, where nothing is yet.
///
/// # Errors
/// When something is there already, or it cannot be written.
pub fn private_file(path: &Path, secret: &str) -> Result<Prepared> {
    let nowhere_else = Destination {
        to_file: Some(path.to_owned()),
        env_file: None,
        env_name: None,
        systemd_cred: None,
        overwrite: false,
    };
    nowhere_else.write(path, secret, format!("in {}", path.display()))
}

/// Writes beside a file what will replace it, for the same owner.
fn replace(path: &Path, content: &str, told: String) -> Result<Prepared> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let written = path.with_file_name(name);
    let prepared = Prepared { path: path.to_owned(), written: written.clone(), is_kept: false, told };
    let made = create(&written, content).and_then(|()| {
        let (old, new) = (fs::symlink_metadata(path)?, File::open(&written)?);
        let is = new.metadata()?;
        if (old.uid(), old.gid()) == (is.uid(), is.gid()) {
            return Ok(());
        }
        fchown(&new, Some(old.uid()), Some(old.gid()))?;
        new.sync_all()
    });
    made.map_err(|error| unwritable(path, &error))?;
    Ok(prepared)
}

/// Refuses what is there and is no file, nor a link to one: a device that is replaced is missing everywhere.
fn demand_file(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => Err(CliError::Refused(format!("{} is no file", path.display()))),
        // What cannot be looked at cannot be opened either, which says why.
        _ => Ok(()),
    }
}

/// Makes a file that nobody else can read. One that could not be finished is not left behind.
fn create(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content.as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("{} cannot be written: {error}. No secret was made", path.display()))
}

/// Has systemd encrypt a secret, which goes there by standard input: arguments can be read by everybody.
fn systemd_creds(name: &str, secret: &str) -> Result<String> {
    let failed = |reason: &str| {
        CliError::Failed(format!("systemd-creds could not encrypt the secret: {reason}. No secret was made"))
    };
    let child = Command::new("systemd-creds")
        .args(["encrypt", &format!("--name={name}"), "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => CliError::Failed(
            "there is no systemd-creds here (it comes with systemd 250 and later); use --to-file instead. No secret was made"
                .into(),
        ),
        _ => failed(&error.to_string()),
    })?;
    let sent = child.stdin.take().map(|mut input| input.write_all(secret.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.lines().last().unwrap_or("it gives no reason").trim()));
    }
    sent.transpose().map_err(|error| failed(&error.to_string()))?;
    let encrypted = String::from_utf8(output.stdout).map_err(|_| failed("its output is no text"))?;
    if encrypted.trim().is_empty() { Err(failed("it printed nothing")) } else { Ok(encrypted) }
}

/// The name of an environment variable.
fn variable(name: &str) -> std::result::Result<String, String> {
    let good = |(at, character): (usize, char)| {
        character == '_' || character.is_ascii_alphabetic() || at > 0 && character.is_ascii_digit()
    };
    if !name.is_empty() && name.chars().enumerate().all(good) {
        return Ok(name.to_owned());
    }
    Err("a variable has a name such as CLIENT_SECRET".into())
}
