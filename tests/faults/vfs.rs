//! A layer between SQLite and the disk, under every database of this process: it fails when it is told to, and writes down
//! what goes to the disk.
//!
//! It is SQLite's default VFS from [`install`] on, so the code under test opens its files as always. What happens in a
//! directory without a [`Bench`] passes through.
// SQLite's interface for this is a table of C functions.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Once};

use parking_lot::Mutex;
use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

/// What SQLite asks the disk to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
}

/// What the layer does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Fails with this code, and nothing is done.
    Fail(c_int),
    /// Says that it was done. Only for [`Operation::Sync`].
    Lie,
}

/// What went to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Created(String),
    Deleted(String),
    Wrote {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncated {
        file: String,
        length: usize,
    },
    Synced(String),
    /// The sync failed: what it was to write is lost for ever, or not.
    SyncFailed(String),
    SyncedDirectory,
}

/// Decides about one operation on the file of that name.
pub type Judge = Box<dyn FnMut(&str, Operation) -> Verdict + Send>;

#[derive(Default)]
struct State {
    judge: Option<Judge>,
    log: Vec<Event>,
    recording: bool,
}

/// A directory that is watched for as long as this lives.
pub struct Bench {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

static BENCHES: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<State>>>>> = LazyLock::new(Mutex::default);
/// Every file that was ever opened: a file of SQLite holds its place in here.
static FILES: LazyLock<Mutex<Vec<PathBuf>>> = LazyLock::new(Mutex::default);

/// Watches `directory`.
pub fn bench(directory: &Path) -> Bench {
    let directory = directory.canonicalize().unwrap();
    let state = Arc::<Mutex<State>>::default();
    BENCHES.lock().insert(directory.clone(), Arc::clone(&state));
    Bench { directory, state }
}

impl Bench {
    /// Lets `judge` decide from now on.
    pub fn judge(&self, judge: impl FnMut(&str, Operation) -> Verdict + Send + 'static) {
        self.state.lock().judge = Some(Box::new(judge));
    }

    /// Everything passes from now on.
    pub fn heal(&self) {
        self.state.lock().judge = None;
    }

    /// Writes down what goes to the disk from now on.
    pub fn record(&self) {
        let mut state = self.state.lock();
        state.recording = true;
        state.log.clear();
    }

    /// How much was written down.
    pub fn recorded(&self) -> usize {
        self.state.lock().log.len()
    }

    /// What was written down; nothing more is.
    pub fn stop(&self) -> Vec<Event> {
        let mut state = self.state.lock();
        state.recording = false;
        std::mem::take(&mut state.log)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        BENCHES.lock().remove(&self.directory);
    }
}

/// What SQLite holds of an open file. The real one lies behind it.
#[repr(C)]
struct File {
    base: sqlite3_file,
    index: usize,
    /// Whether the next sync syncs the directory too: SQLite does that with the first one of a new log or journal.
    new: bool,
}

fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` leaves room for the real file behind ours, and `File` is as aligned as a pointer.
    unsafe { file.cast::<u8>().add(size_of::<File>()).cast() }
}

fn path_of(file: *mut sqlite3_file) -> Option<PathBuf> {
    // SAFETY: SQLite passes what `open` has filled in.
    let index = unsafe { (*file.cast::<File>()).index };
    FILES.lock().get(index).cloned()
}

fn state_of(path: &Path) -> Option<(Arc<Mutex<State>>, String)> {
    let state = Arc::clone(BENCHES.lock().get(path.parent()?)?);
    Some((state, path.file_name()?.to_string_lossy().into_owned()))
}

/// Does an operation: asks the judge, calls the real one, and writes it down if it worked.
fn operate(
    path: Option<PathBuf>,
    operation: Operation,
    act: impl FnOnce() -> c_int,
    events: impl FnOnce(String) -> Vec<Event>,
) -> c_int {
    let Some((state, name)) = path.as_deref().and_then(state_of) else { return act() };
    let verdict = {
        let mut state = state.lock();
        state.judge.as_mut().map_or(Verdict::Pass, |judge| judge(&name, operation))
    };
    match verdict {
        Verdict::Fail(code) => {
            if operation == Operation::Sync {
                let mut state = state.lock();
                if state.recording {
                    state.log.push(Event::SyncFailed(name));
                }
            }
            return code;
        }
        Verdict::Lie => return ffi::SQLITE_OK,
        Verdict::Pass => {}
    }
    if operation == Operation::Read {
        return act();
    }
    // Under the lock: what is written down is in the order in which it was done.
    let mut state = state.lock();
    let code = act();
    if code == ffi::SQLITE_OK && state.recording {
        state.log.extend(events(name));
    }
    code
}

macro_rules! forward {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let real = real($file);
        // SAFETY: the real file was opened by the VFS beneath, which fills in all of these.
        unsafe { (*(*real).pMethods).$method.unwrap()(real $(, $argument)*) }
    }};
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    forward!(file, xClose)
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, length: c_int, at: i64) -> c_int {
    operate(path_of(file), Operation::Read, || forward!(file, xRead, to, length, at), |_| Vec::new())
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, length: c_int, at: i64) -> c_int {
    operate(
        path_of(file),
        Operation::Write,
        || forward!(file, xWrite, from, length, at),
        |file| {
            let length = usize::try_from(length).unwrap();
            // SAFETY: SQLite hands over that many bytes.
            let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) }.to_vec();
            vec![Event::Wrote { file, at: usize::try_from(at).unwrap(), bytes }]
        },
    )
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: i64) -> c_int {
    operate(
        path_of(file),
        Operation::Truncate,
        || forward!(file, xTruncate, length),
        |file| vec![Event::Truncated { file, length: usize::try_from(length).unwrap() }],
    )
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite passes what `open` has filled in, to one thread at a time.
    let new = unsafe { std::mem::take(&mut (*file.cast::<File>()).new) };
    operate(
        path_of(file),
        Operation::Sync,
        || forward!(file, xSync, flags),
        |file| {
            let directory = new.then_some(Event::SyncedDirectory);
            std::iter::once(Event::Synced(file)).chain(directory).collect()
        },
    )
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut i64) -> c_int {
    forward!(file, xFileSize, size)
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    forward!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    forward!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, held: *mut c_int) -> c_int {
    forward!(file, xCheckReservedLock, held)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, what: c_int, argument: *mut c_void) -> c_int {
    forward!(file, xFileControl, what, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    forward!(file, xSectorSize)
}

unsafe extern "C" fn characteristics(file: *mut sqlite3_file) -> c_int {
    forward!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    forward!(file, xShmMap, page, size, extend, to)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    forward!(file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    forward!(file, xShmBarrier);
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    forward!(file, xShmUnmap, delete)
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // No memory-mapped reading: it would pass by.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The VFS beneath, as it was before [`install`].
fn beneath(vfs: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    // SAFETY: `install` puts it there.
    unsafe { (*vfs).pAppData.cast() }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: a file that is not opened has no methods.
    unsafe { (*file).pMethods = std::ptr::null() };
    // SAFETY: a name is a C string, or null for a temporary file.
    let path = (!name.is_null()).then(|| PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().unwrap()));
    let existed = path.as_deref().is_some_and(Path::exists);
    let log = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
    let new = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & log != 0;
    let index = {
        let mut files = FILES.lock();
        files.push(path.clone().unwrap_or_default());
        files.len() - 1
    };
    let act = || {
        let (beneath, real) = (beneath(vfs), real(file));
        // SAFETY: SQLite gives `szOsFile` bytes, which are enough for both.
        unsafe {
            (*real).pMethods = std::ptr::null();
            let code = (*beneath).xOpen.unwrap()(beneath, name, real, flags, out_flags);
            let opened = !(*real).pMethods.is_null();
            let base = sqlite3_file { pMethods: if opened { &raw const METHODS } else { std::ptr::null() } };
            file.cast::<File>().write(File { base, index, new });
            code
        }
    };
    operate(path, Operation::Open, act, |file| if existed { Vec::new() } else { vec![Event::Created(file)] })
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite names the file that it deletes.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().unwrap());
    let beneath = beneath(vfs);
    operate(
        Some(path),
        Operation::Delete,
        // SAFETY: the VFS beneath has this method.
        || unsafe { (*beneath).xDelete.unwrap()(beneath, name, sync_directory) },
        |file| {
            let directory = (sync_directory != 0).then_some(Event::SyncedDirectory);
            std::iter::once(Event::Deleted(file)).chain(directory).collect()
        },
    )
}

/// Puts the layer under every database that is opened from now on.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the VFS beneath lives as long as the process, and so does the copy of it, which differs in how files are
        // opened and deleted only. The other functions of the VFS do not look at what they are called on.
        unsafe {
            ffi::sqlite3_initialize();
            let beneath = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut ours = Box::new(*beneath);
            ours.pNext = std::ptr::null_mut();
            ours.zName = c"faults".as_ptr();
            ours.szOsFile += c_int::try_from(size_of::<File>()).unwrap();
            ours.pAppData = beneath.cast();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            assert_eq!(ffi::sqlite3_vfs_register(Box::into_raw(ours), 1), ffi::SQLITE_OK);
        }
    });
}
