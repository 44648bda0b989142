//! `m2mint init`: everything that a first start needs, by flags or by questions.
//!
//! | module | holds |
//! |---|---|
//! | `layout` | which files there will be, and what is in them |
//! | `guide` | the questions |

mod guide;
mod layout;

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use clap::Args;
use m2mint_keys::seal::MasterKey;
use serde_json::{Map, Value, json};

use self::layout::{Layout, Part};
use crate::administration::{self, NewClient};
use crate::cli::destination::Destination;
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, clients};
use crate::clock::Clock;
use crate::config::{self, Config, MasterKeySource, SecretText, Sources};
use crate::master_key;
use crate::model::audit::Origin;
use crate::model::{AdminKey, ClientId, ClientSecret, Settings as ClientSettings, Span};
use crate::startup;
use crate::store::schema::folder_of;

/// What to make.
#[derive(Debug, Args)]
pub struct Init {
    /// The folder to make it in [default: this one]
    folder: Option<PathBuf>,
    /// Make a service of systemd: /etc/m2mint, /var/lib/m2mint, and the unit
    #[arg(long, conflicts_with = "folder")]
    systemd: bool,
    /// Where / is, for an image of another machine
    #[arg(long, value_name = "FOLDER", requires = "systemd")]
    root: Option<PathBuf>,
    /// Id of the first client
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// A service that it may call; give it once for each
    #[arg(long, value_name = "NAME", requires = "client")]
    audience: Vec<String>,
    /// What it may ask for, such as "event.view event.create"
    #[arg(long, value_name = "SCOPES", requires = "client")]
    scope: Option<String>,
    /// Where the secret of the first client goes
    #[command(flatten)]
    to: Destination,
    /// Say what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing, also on a terminal
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was said, on the command line or at the terminal.
#[derive(Debug, Default)]
struct Answers {
    folder: PathBuf,
    systemd: bool,
    root: Option<PathBuf>,
    /// Keys of the configuration, with their values.
    keys: Vec<(String, String)>,
    client: Option<FirstClient>,
}

/// The first client.
#[derive(Debug)]
struct FirstClient {
    id: ClientId,
    settings: ClientSettings,
}

impl FirstClient {
    fn new(id: &str, audience: &[String], scope: &str) -> Result<Self> {
        let id = ClientId::parse(id).map_err(|error| CliError::Refused(error.to_string()))?;
        Ok(Self { id, settings: clients::granted(audience, scope)? })
    }
}

/// Runs the verb.
///
/// # Errors
/// When something of it is there already and contradicts, or cannot be written.
pub fn run(settings: &Settings, init: &Init) -> Result {
    let flags = settings.sources().flags;
    let said_nothing = flags.is_empty() && init.client.is_none() && !init.systemd && init.folder.is_none();
    let answers = if said_nothing && !init.yes && !init.json && io::stdin().is_terminal() {
        guide::ask()?
    } else {
        let client = init.client.as_deref();
        let scope = init.scope.as_deref().unwrap_or_default();
        Answers {
            folder: init.folder.clone().unwrap_or_default(),
            systemd: init.systemd,
            root: init.root.clone(),
            keys: flags.into_iter().map(|(_, key, value)| (key, value)).collect(),
            client: client.map(|id| FirstClient::new(id, &init.audience, scope)).transpose()?,
        }
    };
    let layout = Layout::of(&answers)?;
    let config = configuration(&layout, &answers)?;
    check(&layout, &config, &answers)?;
    if init.dry_run {
        return tell(&layout, &answers, None, init.json);
    }
    if said_nothing && !init.yes && !init.json && io::stdin().is_terminal() {
        tell_plan(&layout, &answers);
        guide::confirm()?;
    }
    let made = make(&layout, config, answers.client.as_ref(), &init.to)?;
    tell(&layout, &answers, Some(&made), init.json)
}

/// The configuration as a server will read it from the file.
fn configuration(layout: &Layout, answers: &Answers) -> Result<Config> {
    let is_there = layout.config.exists();
    if let Some((key, _)) = answers.keys.first().filter(|_| is_there) {
        return Err(CliError::Refused(format!(
            "{} exists already: write {key} there yourself",
            layout.config.display()
        )));
    }
    let flag = |(key, value): &(String, String)| (format!("--set {key}"), key.clone(), value.clone());
    let sources = if is_there {
        Sources { file: Some(layout.config.clone()), ..Sources::default() }
    } else {
        let keys = layout.keys(answers);
        Sources { flags: keys.iter().map(flag).collect(), ..Sources::default() }
    };
    let mut config = config::load(&sources)?.config;
    if let Some(root) = &layout.root {
        config.database = layout::below(root, &config.database);
    }
    if let Some(path) = &layout.master_key {
        // As the service finds it: what is known of keys outside the database then lies beside that.
        config.master_key = MasterKeySource::Credential(path.clone());
    }
    Ok(config)
}

/// What would go wrong halfway is refused before anything is made.
fn check(layout: &Layout, config: &Config, answers: &Answers) -> Result {
    let database = &config.database;
    if database.exists() {
        if let Some(client) = &answers.client {
            return Err(CliError::Refused(format!(
                "{} exists already: m2mint clients create --id {} makes a client in it",
                database.display(),
                client.id
            )));
        }
        let (MasterKeySource::Credential(key) | MasterKeySource::Beside(key) | MasterKeySource::File(key)) =
            &config.master_key
        else {
            return Ok(());
        };
        if !key.exists() {
            return Err(CliError::Refused(format!(
                "{} exists already, and {} does not: put back the master key that opens it",
                database.display(),
                key.display()
            )));
        }
    }
    if layout.systemd && layout.root.is_none() && !rustix::process::geteuid().is_root() {
        return Err(CliError::Refused(
            "a service of systemd is installed by root: sudo m2mint init --systemd".into(),
        ));
    }
    Ok(())
}

/// What was made, and what is shown this once.
struct Made {
    /// The files that were not there before.
    files: Vec<PathBuf>,
    admin_key: Option<AdminKey>,
    client: Option<(ClientId, Shown)>,
}

/// The secret of the first client, or where it is.
enum Shown {
    Secret(ClientSecret),
    Written(String, PathBuf),
}

/// Files that go away again unless all of them could be made.
struct Undo {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    keep: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // What cannot be removed is empty or of no use; the error that led here is told.
        self.files.iter().rev().for_each(|path| drop(fs::remove_file(path)));
        self.folders.iter().rev().for_each(|path| drop(fs::remove_dir(path)));
    }
}

impl Undo {
    fn folder(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            // Only the last one is the program's own.
            self.folder(above, 0o755)?;
        }
        fs::DirBuilder::new().mode(mode).create(path)?;
        self.folders.push(path.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &Path, text: &str, mode: u32) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        self.files.push(path.to_owned());
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        folder_of(path)?.sync_all()
    }
}

fn make(layout: &Layout, mut config: Config, client: Option<&FirstClient>, to: &Destination) -> Result<Made> {
    let mut undo = Undo { files: Vec::new(), folders: Vec::new(), keep: false };
    for part in &layout.parts {
        if part.path.exists() {
            continue;
        }
        undo.folder(part.path.parent().unwrap_or(Path::new("")), part.folder_mode)?;
        let failed =
            |error: io::Error| CliError::Failed(format!("{} cannot be made: {error}", part.path.display()));
        match &part.content {
            Part::Text(text) => undo.file(&part.path, text, 0o644).map_err(failed)?,
            Part::MasterKey => {
                let key = MasterKey::generate().map_err(|error| CliError::Failed(error.to_string()))?;
                master_key::write_private(&part.path, &key.to_text()).map_err(failed)?;
                undo.files.push(part.path.clone());
            }
            Part::AdminKey => {
                let key = AdminKey::generate().map_err(|error| CliError::Failed(error.to_string()))?;
                master_key::write_private(&part.path, key.expose()).map_err(failed)?;
                undo.files.push(part.path.clone());
            }
            // Made below, all at once.
            Part::Database => {}
        }
    }
    if let Some(path) = &layout.api_key {
        // Then no other is made.
        let text = SecretText::new(fs::read_to_string(path)?);
        config.api_keys = vec![SecretText::new(text.expose().trim().to_owned())];
    }
    let mut made = Made { files: Vec::new(), admin_key: None, client: None };
    if !config.database.exists() {
        found(&mut undo, &config, client, to, &mut made)?;
    }
    undo.keep = true;
    made.files = std::mem::take(&mut undo.files);
    Ok(made)
}

/// Makes the database with its first keys and its first client.
fn found(
    undo: &mut Undo,
    config: &Config,
    client: Option<&FirstClient>,
    to: &Destination,
    made: &mut Made,
) -> Result {
    let database = &config.database;
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    undo.folder(folder, 0o700)?;
    let beside = |ending: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let all = [database.clone(), beside(".key"), beside(".witness"), beside(".key.witness")];
    let new: Vec<_> = all.into_iter().filter(|path| !path.exists()).collect();
    undo.files.extend(new.iter().cloned());
    undo.files.extend([beside("-wal"), beside("-shm")]);
    let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
    let place = client.map(|_| to.prepare(secret.expose(), "CLIENT_SECRET")).transpose()?.flatten();
    {
        let open = startup::open(config, &Clock::system())?;
        made.admin_key = open.new_admin_key;
        if let Some(FirstClient { id, settings }) = client {
            let new = NewClient {
                id: Some(id.clone()),
                secret: Some(secret),
                secret_expires_at: None,
                settings: settings.clone(),
            };
            let (now, longest) = (Clock::system().wall(), Span(config.max_lifetime));
            let (client, secret) =
                administration::create_client(&open.store, new, now, longest, &Origin::command_line())?;
            let shown = match place {
                None => Shown::Secret(secret),
                Some(place) => {
                    let path = place.path().to_owned();
                    Shown::Written(place.keep()?, path)
                }
            };
            made.client = Some((client.id, shown));
        }
    }
    // A service that has the folder already has to be able to read what is in it.
    let owner = fs::metadata(folder)?;
    for path in new.iter().filter(|path| path.exists()) {
        let is = fs::metadata(path)?;
        if (is.uid(), is.gid()) != (owner.uid(), owner.gid()) && path.parent() == database.parent() {
            chown(path, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    undo.files.retain(|path| path.exists());
    Ok(())
}

fn tell_plan(layout: &Layout, answers: &Answers) {
    for part in &layout.parts {
        let what = if part.path.exists() { "kept" } else { "to make" };
        output::line(&format!("{what:<8} {}  ({})", part.path.display(), part.about));
    }
    if let Some(client) = &answers.client {
        output::line(&format!("to make  the client {}", client.id));
    }
    if let Some(Part::Text(text)) =
        layout.parts.first().map(|part| &part.content).filter(|_| !layout.config.exists())
    {
        output::line("");
        text.lines().for_each(|line| output::line(&format!("    {line}")));
    }
    output::line("");
}

/// Says what was made, or would be, and how to go on.
fn tell(layout: &Layout, answers: &Answers, made: Option<&Made>, as_json: bool) -> Result {
    let is_new = |path: &PathBuf| match made {
        Some(made) => made.files.contains(path),
        None => !path.exists(),
    };
    let admin_key = made.and_then(|made| made.admin_key.as_ref());
    let client = made.and_then(|made| made.client.as_ref());
    if admin_key.is_some() {
        output::holds_secret();
    }
    if as_json {
        let files = layout.parts.iter().map(|part| json!({"path": part.path, "new": is_new(&part.path)}));
        let mut json = Map::new();
        json.insert("dry_run".into(), made.is_none().into());
        json.insert("files".into(), files.collect::<Vec<Value>>().into());
        if let Some(key) = admin_key {
            json.insert("admin_key".into(), key.expose().into());
        }
        if let Some((id, shown)) = client {
            json.insert("clientId".into(), id.as_str().into());
            match shown {
                Shown::Secret(secret) => json.insert("clientSecret".into(), secret.expose().into()),
                Shown::Written(_, path) => json.insert("secretWrittenTo".into(), json!(path)),
            };
        }
        return output::json(&Value::Object(json));
    }
    if made.is_none() {
        tell_plan(layout, answers);
        output::line("nothing was made: --dry-run");
        return Ok(());
    }
    for part in &layout.parts {
        let what = if is_new(&part.path) { "made" } else { "kept" };
        output::line(&format!("{what}  {}  ({})", part.path.display(), part.about));
    }
    output::line("");
    if let Some(key) = admin_key {
        output::line(&format!("admin key      {}", key.expose()));
    }
    if let Some((id, shown)) = client {
        output::line(&format!("client id      {id}"));
        output::line(&match shown {
            Shown::Secret(secret) => format!("client secret  {}", secret.expose()),
            Shown::Written(told, _) => format!("client secret  {told}"),
        });
    }
    if admin_key.is_some() || matches!(client, Some((_, Shown::Secret(_)))) {
        output::line("What is secret in this is shown this once.\n");
    }
    output::line(&layout.next());
    Ok(())
}
