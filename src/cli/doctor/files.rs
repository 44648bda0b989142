//! Who may read and write what, and how much room there is.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Finding, Found, Patient};
use crate::config::{MasterKeySource, Origin};
use crate::witness::Witness;

/// Others may not read it.
const READ: u32 = 0o077;
/// Others may not change it.
const WRITE: u32 = 0o022;
/// Set on folders in which only the owner of a file may remove it.
const STICKY: u32 = 0o1000;

const MIB: u64 = 1024 * 1024;
/// With less than this, nothing can be written soon.
const LEAST_SPACE: u64 = 32 * MIB;
/// With less than this, somebody should look.
const ENOUGH_SPACE: u64 = 256 * MIB;
/// SQLite keeps its log at about 4 MiB by itself.
const LARGE_LOG: u64 = 64 * MIB;

/// The path with something behind its name.
fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn folder(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// A file, and the bits that its mode must not have.
fn judge(path: &Path, forbidden: u32) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.mode() & 0o7777;
    if mode & forbidden == 0 {
        return None;
    }
    let shown = path.display();
    let (who, fix) = if mode & forbidden & 0o055 != 0 {
        ("can be read by others", format!("chmod 600 {shown}"))
    } else {
        ("can be changed by others", format!("chmod go-w {shown}"))
    };
    Some(Finding::failure(format!("{shown} {who} (mode {mode:04o})"), fix))
}

/// Files that hold secrets, or by which somebody could change what m2mint does.
pub fn permissions(patient: &Patient) -> Found {
    let config = patient.config();
    let database = &config.database;
    let mut found: Vec<Finding> = Vec::new();
    let mut looked = 0;
    let mut look = |path: &Path, forbidden| {
        looked += usize::from(path.exists());
        found.extend(judge(path, forbidden));
    };
    for path in [database.clone(), with(database, "-wal"), with(database, "-shm")] {
        look(&path, READ);
    }
    if let MasterKeySource::File(path) | MasterKeySource::Beside(path) = &config.master_key {
        look(path, READ);
    }
    for path in Witness::of(&config.master_key, database).places() {
        look(path, WRITE);
    }
    let mut files: Vec<&PathBuf> = Vec::new();
    for shown in &patient.loaded.shown {
        let Origin::File(path) = &shown.origin else { continue };
        if shown.key == "api_key" {
            // A group may be let in on purpose, so that the service can read it.
            look(path, 0o007 | WRITE);
        } else if !files.contains(&path) {
            files.push(path);
        }
    }
    for path in files {
        look(path, WRITE);
    }
    let folder = folder(database);
    let is_shared = |meta: &Metadata| meta.mode() & 0o002 != 0 && meta.mode() & STICKY == 0;
    if fs::metadata(&folder).is_ok_and(|meta| is_shared(&meta)) {
        found.push(Finding::failure(
            format!(
                "whoever is on this machine can replace the database: {} is writable by all",
                folder.display()
            ),
            format!("chmod o-w {}", folder.display()),
        ));
    }
    let owner = |path: &Path| fs::metadata(path).map(|meta| meta.uid()).ok();
    for beside in [with(database, "-wal"), with(database, "-shm")] {
        if let (Some(is), Some(of)) = (owner(&beside), owner(database))
            && is != of
        {
            found.push(Finding::failure(
                format!("{} belongs to another user than the database", beside.display()),
                format!("chown --reference={} {}", database.display(), beside.display()),
            ));
        }
    }
    let admin_key = with(database, ".admin_key");
    if admin_key.exists() {
        let shown = admin_key.display();
        found.push(Finding::warning(
            format!("the admin key of the first start still lies in {shown}"),
            format!("keep it in a safe place, then: rm {shown}"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(format!("{looked} files are what they should be to others")));
    }
    Ok(found)
}

/// Room on the disk of the database.
pub fn space(patient: &Patient) -> Found {
    let database = &patient.config().database;
    let folder = folder(database);
    let disk = rustix::fs::statvfs(&folder)
        .map_err(|error| format!("the disk of {} cannot be looked at: {error}", folder.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let size = fs::metadata(database).map_or(0, |meta| meta.len());
    let said = format!("{} MiB free where the database is, which has {} MiB", free / MIB, size.div_ceil(MIB));
    let fix = format!("df -h {}", folder.display());
    Ok(vec![if free < LEAST_SPACE {
        Finding::failure(said, fix)
    } else if free < ENOUGH_SPACE.max(2 * size) {
        Finding::warning(format!("{said}: a backup beside it may not fit"), fix)
    } else {
        Finding::good(said)
    }])
}

/// How long SQLite's log has become.
pub fn log(patient: &Patient) -> Found {
    let path = with(&patient.config().database, "-wal");
    let size = fs::metadata(&path).map_or(0, |meta| meta.len());
    let said = format!("{} MiB", size.div_ceil(MIB));
    Ok(vec![if size > LARGE_LOG {
        Finding::warning(
            format!(
                "{} has {said}: some program reads the database for long, and keeps it from being folded in",
                path.display()
            ),
            format!("fuser -v {}", path.display()),
        )
    } else {
        Finding::good(said)
    }])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_judged_by_what_others_may_do_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let judged = |mode, forbidden| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            judge(&path, forbidden).map(|finding| finding.fix.unwrap().split(' ').nth(1).unwrap().to_owned())
        };
        assert_eq!(judged(0o600, READ), None);
        assert_eq!(judged(0o640, READ).as_deref(), Some("600"));
        assert_eq!(judged(0o622, READ).as_deref(), Some("go-w"));
        assert_eq!(judged(0o644, WRITE), None);
        assert_eq!(judged(0o664, WRITE).as_deref(), Some("go-w"));
        assert_eq!(judged(0o640, 0o007 | WRITE), None);
        assert!(judge(&directory.path().join("none"), READ).is_none());
    }
}
