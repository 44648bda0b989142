//! What systemd is told: ready, reloading, stopping, alive, and a line of status.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the server answers requests.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Says that the configuration is being read again.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// Says that the server is ending.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
}

/// Shows a line in `systemctl status`.
pub fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// Says that the server is alive.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be said; `None` when nobody asks.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    // Twice as often as demanded, as sd_watchdog_enabled(3) recommends.
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Whether `output` ends in the journal, where a secret must not go.
#[must_use]
pub fn is_journal(output: &impl AsFd) -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    let output = output.as_fd().try_clone_to_owned().and_then(|output| File::from(output).metadata());
    // The variable is inherited further than the stream: only device and inode tell.
    output.is_ok_and(|output| journal == format!("{}:{}", output.dev(), output.ino()))
}

fn notify(states: &[NotifyState]) {
    // Without systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
