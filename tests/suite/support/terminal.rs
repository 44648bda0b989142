//! A terminal, and somebody who sits at it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Runs a command at a terminal of so many columns, where somebody has typed `typed`, and answers what the screen shows.
#[track_caller]
pub fn run(mut command: Command, columns: u16, typed: &str) -> (ExitStatus, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let name = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let theirs = || OpenOptions::new().read(true).write(true).open(name).unwrap();
    let first = theirs();
    tcsetwinsize(&first, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut ours = File::from(ours);
    ours.write_all(typed.as_bytes()).unwrap();
    command.stdin(theirs()).stdout(theirs()).stderr(first);
    let mut child = command.spawn().unwrap();
    // Whoever else holds the terminal open keeps it from ending.
    drop(command);
    let mut screen = Vec::new();
    // Ends with an error when the last one has left the terminal.
    let _ = ours.read_to_end(&mut screen);
    let screen = String::from_utf8(screen).unwrap().replace("\r\n", "\n");
    (child.wait().unwrap(), screen)
}
