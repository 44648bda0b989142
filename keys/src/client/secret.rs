//! The secret of a client, and where it is read.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The secret of a client. It is not shown by `Debug`.
#[derive(Clone)]
pub struct Secret(Form);

#[derive(Clone)]
enum Form {
    Value(Zeroizing<String>),
    File(PathBuf),
}

impl Secret {
    /// A secret that never changes while the program runs.
    pub fn value(secret: impl Into<String>) -> Self {
        Self(Form::Value(Zeroizing::new(secret.into())))
    }

    /// A secret in a file, such as a systemd credential. It is read whenever a token is asked for: a new secret is used
    /// without a restart. White space around it is not part of it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Form::File(path.into()))
    }

    pub(super) async fn read(&self) -> Result<Zeroizing<String>, String> {
        match &self.0 {
            Form::Value(secret) => Ok(secret.clone()),
            Form::File(path) => {
                let read = {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || std::fs::read_to_string(path).map(Zeroizing::new))
                };
                let explain = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
                let text = read.await.map_err(|error| explain(&error))?.map_err(|error| explain(&error))?;
                let secret = text.trim();
                if secret.is_empty() {
                    Err(explain(&"it is empty"))
                } else {
                    Ok(Zeroizing::new(secret.to_owned()))
                }
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Value(_) => f.write_str("Secret(..)"),
            Form::File(path) => write!(f, "Secret({})", path.display()),
        }
    }
}
