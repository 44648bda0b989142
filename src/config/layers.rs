//! Where values come from: flags before environment before file before defaults.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map, Value, ValueKind};

use crate::config::keys::{KEYS, Key, nearest};
use crate::config::{Problem, Problems};

/// Files that are looked for when none is named.
const PLACES: [&str; 2] = ["m2mint.toml", "/etc/m2mint/m2mint.toml"];
/// Variables of ours that are no configuration keys.
const OTHER_VARIABLES: [&str; 3] = ["M2MINT_CONFIG", "M2MINT_BIN", "M2MINT_CLIENT_SECRET"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The command line.
    Flag(String),
    /// A file of systemd's credentials.
    Credential(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "{name}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Credential(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Everything that a configuration can be made of.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    /// The file that was named; otherwise the usual places are looked at.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub environment: HashMap<String, String>,
    /// Values from the command line: flag as written, key, value.
    pub flags: Vec<(String, String, String)>,
    /// Where to look for a file that was not named.
    pub places: Vec<PathBuf>,
}

impl Sources {
    /// The sources of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String, String)>) -> Self {
        // What is not Unicode cannot be a value of ours.
        let environment: HashMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = file.or_else(|| environment.get("M2MINT_CONFIG").map(PathBuf::from));
        Self { file, environment, flags, places: PLACES.iter().map(PathBuf::from).collect() }
    }

    /// A directory that systemd names in the environment; the first one where it names several.
    #[must_use]
    pub fn directory(&self, variable: &str) -> Option<PathBuf> {
        let value = self.environment.get(variable)?;
        value.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from)
    }
}

/// A value that somebody gave, as text or as a list of texts.
#[derive(Debug, Clone)]
pub struct Given {
    /// Lists have several.
    pub texts: Vec<String>,
    /// Who gave it.
    pub origin: Origin,
}

/// The values that were given, by key; where several layers give one, the highest wins.
pub type Layers = HashMap<&'static str, Given>;

/// Reads all layers.
///
/// # Errors
/// Nothing stops it: problems are collected, warnings too.
pub fn read(sources: &Sources, problems: &mut Problems, warnings: &mut Vec<String>) -> Layers {
    let mut layers = Layers::new();
    if let Some(path) = file(sources) {
        read_file(&path, sources.file.is_some(), &mut layers, problems);
    }
    read_environment(sources, &mut layers, problems, warnings);
    for (flag, name, value) in &sources.flags {
        let origin = Origin::Flag(flag.clone());
        match Key::named(name) {
            Some(key) if key.secret => {
                problems.add(name, None, &origin, "a secret on the command line is seen by every user of the machine; set it in the environment or a file");
            }
            Some(key) => {
                layers.insert(key.name, Given { texts: vec![value.clone()], origin });
            }
            None => problems.unknown(name, &origin),
        }
    }
    layers
}

fn file(sources: &Sources) -> Option<PathBuf> {
    sources.file.clone().or_else(|| sources.places.iter().find(|place| place.is_file()).cloned())
}

fn read_file(path: &Path, named: bool, layers: &mut Layers, problems: &mut Problems) {
    let origin = Origin::File(path.to_owned());
    if named && !path.is_file() {
        return problems.add("config", Some(path.display().to_string()), &origin, "there is no such file");
    }
    let source = File::from(path).format(FileFormat::Toml);
    let read = config::Config::builder().add_source(source).build();
    let read = read.and_then(config::Config::try_deserialize::<Map<String, Value>>);
    match read {
        Ok(table) => flatten("", table, &origin, layers, problems),
        Err(error) => {
            problems.add("config", Some(path.display().to_string()), &origin, &without_source(&error))
        }
    }
}

/// The message without the line of the file that it is about: that line may hold a secret.
fn without_source(error: &config::ConfigError) -> String {
    let text = match error {
        config::ConfigError::FileParse { cause, .. } => cause.to_string(),
        error => error.to_string(),
    };
    let lines: Vec<_> = text.lines().filter(|line| !line.contains('|') && !line.trim().is_empty()).collect();
    lines.join(": ")
}

fn flatten(
    prefix: &str,
    table: Map<String, Value>,
    origin: &Origin,
    layers: &mut Layers,
    problems: &mut Problems,
) {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, value) in entries {
        let name = format!("{prefix}{name}");
        let is_group = KEYS.iter().any(|key| key.name.starts_with(&format!("{name}.")));
        match (Key::named(&name), value.kind) {
            (None, ValueKind::Table(inner)) if is_group => {
                flatten(&format!("{name}."), inner, origin, layers, problems)
            }
            (None, _) if is_group => {
                problems.add(&name, None, origin, "this is a table of keys, not a value")
            }
            (None, _) => problems.unknown(&name, origin),
            (Some(key), ValueKind::Table(audiences)) if key.name == "audiences" => {
                read_audiences(audiences, origin, layers, problems);
            }
            (Some(key), kind) => match texts(kind) {
                Some(texts) => {
                    layers.insert(key.name, Given { texts, origin: origin.clone() });
                }
                None => problems.add(&name, None, origin, "a single value is expected here"),
            },
        }
    }
}

/// `[audiences.billing]` with `alg = "ES256"`, as the one text that a variable would hold.
fn read_audiences(
    audiences: Map<String, Value>,
    origin: &Origin,
    layers: &mut Layers,
    problems: &mut Problems,
) {
    let mut given = Vec::new();
    let mut audiences: Vec<_> = audiences.into_iter().collect();
    audiences.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (audience, value) in audiences {
        let name = format!("audiences.{audience}");
        let Ok(settings) = value.into_table() else {
            problems.add(&name, None, origin, "a table is expected here, with alg = \"ES256\" in it");
            continue;
        };
        if settings.is_empty() {
            problems.add(&name, None, origin, "nothing is said about it: write alg = \"ES256\" under it");
        }
        for (setting, value) in settings {
            match (setting.as_str(), value.into_string()) {
                ("alg", Ok(alg)) => given.push(format!("{audience} {alg}")),
                ("alg", Err(_)) => problems.add(&name, None, origin, "alg is a text"),
                (other, _) => {
                    let reason = "there is no such key; an audience has alg";
                    problems.add(&format!("{name}.{other}"), None, origin, reason);
                }
            }
        }
    }
    layers.insert("audiences", Given { texts: given, origin: origin.clone() });
}

fn texts(kind: ValueKind) -> Option<Vec<String>> {
    match kind {
        ValueKind::Nil | ValueKind::Table(_) => None,
        ValueKind::Array(values) => values.into_iter().map(|value| value.into_string().ok()).collect(),
        single => Value::new(None, single).into_string().ok().map(|text| vec![text]),
    }
}

fn read_environment(
    sources: &Sources,
    layers: &mut Layers,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) {
    let variables: HashMap<String, &Key> = KEYS.iter().map(|key| (key.variable(), key)).collect();
    let mut ours: Vec<_> =
        sources.environment.iter().filter(|(name, _)| name.starts_with("M2MINT_")).collect();
    ours.sort();
    for (name, value) in ours {
        let origin = Origin::Environment(name.clone());
        if let Some(key) = variables.get(name) {
            layers.insert(key.name, Given { texts: vec![value.clone()], origin });
        } else if !OTHER_VARIABLES.contains(&name.as_str()) {
            match nearest(name, variables.keys().map(String::as_str)) {
                Some(meant) => {
                    problems.add(name, None, &origin, &format!("there is no such key; did you mean {meant}?"))
                }
                // Two underscores divide levels: this was meant for us.
                None if name.contains("__") => problems.add(name, None, &origin, "there is no such key"),
                None => {
                    warnings.push(format!("the environment variable {name} is not known and was ignored"))
                }
            }
        }
    }
}

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, key: &str, value: Option<String>, origin: &Origin, reason: &str) {
        self.0.push(Problem { key: key.into(), value, origin: origin.clone(), reason: reason.into() });
    }

    fn unknown(&mut self, name: &str, origin: &Origin) {
        let meant = nearest(name, KEYS.iter().map(|key| key.name));
        let reason = meant.map_or("there is no such key".into(), |meant| {
            format!("there is no such key; did you mean {meant}?")
        });
        self.add(name, None, origin, &reason);
    }
}
