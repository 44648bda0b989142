//! Which files there will be, and what is in them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Answers;
use crate::cli::output::Result;
use crate::config::keys::Key;

/// The unit, as it is shipped.
const UNIT: &str = include_str!("../../../deploy/m2mint.service");
/// Where the program is in it.
const SHIPPED_PROGRAM: &str = "/usr/local/bin/m2mint";

/// A file to make, unless it is there.
pub struct File {
    pub path: PathBuf,
    pub about: &'static str,
    pub content: Part,
    /// For its folder, where that has to be made.
    pub folder_mode: u32,
}

/// What is in it.
pub enum Part {
    Text(String),
    MasterKey,
    AdminKey,
    Database,
}

/// All files, the configuration first.
pub struct Layout {
    pub parts: Vec<File>,
    pub config: PathBuf,
    /// As the configuration names it.
    database: PathBuf,
    /// Where the service has it, of which systemd makes a credential.
    pub master_key: Option<PathBuf>,
    pub api_key: Option<PathBuf>,
    pub systemd: bool,
    pub root: Option<PathBuf>,
}

/// The path, below another root.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

impl Layout {
    /// What is wanted.
    ///
    /// # Errors
    /// When the folder that this runs in, or the program itself, cannot be found.
    pub fn of(answers: &Answers) -> Result<Self> {
        if answers.systemd { Self::service(answers) } else { Self::folder(answers) }
    }

    fn folder(answers: &Answers) -> Result<Self> {
        let folder = std::path::absolute(if answers.folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &answers.folder
        })?;
        let named = answers.keys.iter().find(|(key, _)| key == "database").map(|(_, value)| value);
        let database = folder.join(named.map_or("m2mint.db", String::as_str));
        let mut layout = Self {
            parts: Vec::new(),
            config: folder.join("m2mint.toml"),
            master_key: None,
            api_key: None,
            systemd: false,
            root: None,
            database: database.clone(),
        };
        let mut key = database.as_os_str().to_owned();
        key.push(".key");
        let text = layout.text(answers);
        layout.add(layout.config.clone(), "configuration", Part::Text(text), 0o755);
        layout.add(database, "database", Part::Database, 0o700);
        if !layout.sets(answers, "master_key_file") {
            layout.add(
                key.into(),
                "master key: keep a copy elsewhere, apart from the database's",
                Part::Database,
                0o700,
            );
        }
        Ok(layout)
    }

    fn service(answers: &Answers) -> Result<Self> {
        let place = |path: &str| match &answers.root {
            Some(root) => below(root, Path::new(path)),
            None => PathBuf::from(path),
        };
        let named = answers.keys.iter().find(|(key, _)| key == "database").map(|(_, value)| value);
        let database = PathBuf::from(named.map_or("/var/lib/m2mint/m2mint.db", String::as_str));
        let mut layout = Self {
            parts: Vec::new(),
            config: place("/etc/m2mint/m2mint.toml"),
            master_key: Some(place("/etc/m2mint/master_key")),
            api_key: Some(place("/etc/m2mint/api_key")),
            systemd: true,
            root: answers.root.clone(),
            database: database.clone(),
        };
        // On another machine it is where the unit says.
        let unit = match &answers.root {
            Some(_) => UNIT.to_owned(),
            None => UNIT.replace(SHIPPED_PROGRAM, &std::env::current_exe()?.display().to_string()),
        };
        let text = layout.text(answers);
        layout.add(layout.config.clone(), "configuration", Part::Text(text), 0o755);
        layout.add(
            place("/etc/m2mint/master_key"),
            "master key: keep a copy elsewhere, apart from the database's",
            Part::MasterKey,
            0o755,
        );
        layout.add(place("/etc/m2mint/api_key"), "admin key", Part::AdminKey, 0o755);
        let packaged = place("/lib/systemd/system/m2mint.service");
        let unit_path =
            if packaged.exists() { packaged } else { place("/etc/systemd/system/m2mint.service") };
        layout.add(unit_path, "unit of systemd", Part::Text(unit), 0o755);
        layout.add(
            match &answers.root {
                Some(root) => below(root, &database),
                None => database,
            },
            "database",
            Part::Database,
            0o700,
        );
        Ok(layout)
    }

    fn add(&mut self, path: PathBuf, about: &'static str, content: Part, folder_mode: u32) {
        self.parts.push(File { path, about, content, folder_mode });
    }

    fn sets(&self, answers: &Answers, name: &str) -> bool {
        answers.keys.iter().any(|(key, _)| key == name)
    }

    /// The keys that stand in the file.
    pub fn keys(&self, answers: &Answers) -> Vec<(String, String)> {
        let mut keys: Vec<_> = answers.keys.iter().filter(|(key, _)| key != "database").cloned().collect();
        keys.push(("database".into(), self.database.display().to_string()));
        keys
    }

    /// The configuration file: what was said, and what most people set.
    fn text(&self, answers: &Answers) -> String {
        let mut text = String::from(
            "# Configuration of m2mint. `m2mint config show` tells what is in force, `m2mint config check` what is wrong with it.\n\
             # Everybody may read this file: keep secrets out of it.\n",
        );
        let keys = self.keys(answers);
        let hints = ["issuer", "listen"].into_iter().filter(|name| !self.sets(answers, name));
        for name in hints {
            if let Some(key) = Key::named(name) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\n# {}\n# {} = \"{}\"\n", key.about, name, example(key));
            }
        }
        for (name, value) in &keys {
            let about = Key::named(name).map_or("", |key| key.about);
            let _ = write!(text, "\n# {about}\n{name} = {}\n", quoted(value));
        }
        text
    }

    /// How to go on.
    pub fn next(&self) -> String {
        if self.systemd {
            if self.root.is_some() {
                return "Start it on that machine:\n\n  systemctl enable --now m2mint && m2mint doctor"
                    .into();
            }
            return "Start it:\n\n  systemctl daemon-reload && systemctl enable --now m2mint && m2mint doctor".into();
        }
        let here = std::env::current_dir().is_ok_and(|here| Some(&*here) == self.config.parent());
        let config = if here { String::new() } else { format!(" --config {}", self.config.display()) };
        format!("Start it:\n\n  m2mint serve{config}\n\nand in a second terminal:\n\n  m2mint doctor{config}")
    }
}

fn example(key: &Key) -> &'static str {
    if key.name == "issuer" { "https://auth.example.com/auth" } else { key.default }
}

/// A TOML string.
fn quoted(value: &str) -> String {
    // JSON's escapes are TOML's too, for every text.
    serde_json::Value::from(value).to_string()
}
