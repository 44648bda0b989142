//! `m2mint clients create|list|show|update|remove`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::administration::{self, NewClient};
use crate::cli::beside::Beside;
use crate::cli::destination::{Destination, Prepared};
use crate::cli::output::{self, CliError, Result};
use crate::cli::{Settings, config, table, unused};
use crate::clock::Clock;
use crate::http::client_json;
use crate::model::audit::Origin;
use crate::model::client::is_valid_name;
use crate::model::grants::AudienceScopes;
use crate::model::names::split_scopes;
use crate::model::restrictions::{moment, parse_moment};
use crate::model::{
    Audience, Client, ClientId, ClientSecret, Network, Restrictions, ScopePattern,
    Settings as ClientSettings, Span,
};
use crate::store::{Store, clients};

/// To how many ids one that does not exist is compared.
const COMPARED: usize = 20_000;

/// What to do with clients.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a client and show its secret, this once, or put it where it belongs
    #[command(
        after_help = "Example: m2mint clients create --id task-service --audience event --scope 'event.create event.view'"
    )]
    Create {
        /// Client id; made when not given
        #[arg(long)]
        id: Option<String>,
        /// What it may do
        #[command(flatten)]
        fields: Fields,
        /// Where the secret goes
        #[command(flatten)]
        to: Destination,
    },
    /// List all clients
    #[command(after_help = "Example: m2mint clients list --json")]
    List,
    /// Show a client
    #[command(after_help = "Example: m2mint clients show task-service")]
    Show {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
    /// Change what is given and leave the rest
    #[command(
        after_help = "Example: m2mint clients update task-service --lifetime 15m --network 192.0.2.0/24"
    )]
    Update {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// What it may do
        #[command(flatten)]
        fields: Fields,
    },
    /// Say which clients, secrets and grants nobody used lately
    #[command(after_help = unused::HELP)]
    Unused(unused::Unused),
    /// Remove a client: it gets no more tokens
    #[command(after_help = "Example: m2mint clients remove task-service")]
    Remove {
        /// Client id
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// What can be said about a client.
#[derive(Debug, Args)]
pub struct Fields {
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// Scopes that it may ask for, such as "event.view file.*"
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// A service that it may call; give it once for each
    #[arg(long, value_name = "NAME")]
    audience: Vec<String>,
    /// Scopes at one service only, such as "event=event.*"; give it once for each
    #[arg(long, value_name = "NAME=SCOPES")]
    audience_scopes: Vec<String>,
    /// Lifetime of its tokens, such as 15m
    #[arg(long, value_name = "DURATION")]
    lifetime: Option<String>,
    /// Whether it gets tokens: true or false
    #[arg(long, value_name = "BOOL", hide_possible_values = true)]
    enabled: Option<bool>,
    /// A network that it may come from; give it once for each, or none for any
    #[arg(long, value_name = "NETWORK")]
    network: Vec<String>,
    /// From when on it gets tokens, such as 2027-01-15T08:00:00Z, or none
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// Until when it gets tokens, and they are good, or none
    #[arg(long, value_name = "TIME")]
    not_after: Option<String>,
    /// How many tokens it gets in a minute, or none for any number
    #[arg(long, value_name = "NUMBER")]
    tokens_a_minute: Option<String>,
}

/// What takes a restriction away.
const NONE: &str = "none";

/// Runs the verb.
///
/// # Errors
/// When there is no such client, or a rule refuses the change.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Beside::open(&config.database)?;
    let (now, longest) = (Clock::system().wall(), Span(config.max_lifetime));
    let origin = Origin::command_line();
    match action {
        Action::Create { id, fields, to } => {
            let id = id
                .as_deref()
                .map(ClientId::parse)
                .transpose()
                .map_err(|error| CliError::Refused(error.to_string()))?;
            let settings = fields.apply(ClientSettings::default())?;
            let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
            let place = to.prepare(secret.expose(), "CLIENT_SECRET")?;
            let new = NewClient { id, secret: Some(secret), secret_expires_at: None, settings };
            let (client, secret) = administration::create_client(&store, new, now, longest, &origin)?;
            show_made(&client, &secret, place, as_json)?;
            store.settle();
        }
        Action::List => list(&store, as_json)?,
        Action::Unused(unused) => unused::run(&store, unused, now, as_json)?,
        Action::Show { id } => {
            show(&require(&store, id)?, as_json)?;
        }
        Action::Update { id, fields } => {
            require(&store, id)?;
            let change = |settings| fields.apply(settings);
            let client =
                administration::update_client::<CliError>(&store, id, None, now, longest, &origin, change)?;
            store.settle();
            show(&client, as_json)?;
        }
        Action::Remove { id, yes } => {
            require(&store, id)?;
            output::confirm(
                &format!("Remove the client {id}? It gets no more tokens, and this cannot be undone."),
                *yes,
            )?;
            let existed = administration::remove_client(&store, id, now, &origin)?;
            store.settle();
            if as_json {
                output::json(&json!({"didExist": existed}))?;
            } else {
                output::line(&format!("removed: {id}"));
            }
        }
    }
    Ok(())
}

/// The client, or that there is none, and which one was probably meant.
///
/// # Errors
/// [`CliError::Refused`] when there is none.
pub fn require(store: &Store, id: &str) -> Result<Client> {
    if let Some(client) = store.read(|db| clients::get(db, id))? {
        return Ok(client);
    }
    let ids = store.read(|db| clients::some_ids(db, COMPARED))?;
    let meant = output::did_you_mean(id, ids.iter().map(String::as_str));
    Err(CliError::Refused(format!("there is no client {id}{meant}")))
}

fn list(store: &Store, as_json: bool) -> Result {
    let mut listing = Listing::new(as_json);
    administration::each_client(store, None, usize::MAX, &mut |client| {
        listing.add(&client);
        Ok(false)
    })?;
    listing.show()
}

/// Many clients, as they will be shown.
pub struct Listing {
    as_json: bool,
    rows: Vec<Vec<String>>,
    json: Vec<Value>,
}

impl Listing {
    /// None yet.
    #[must_use]
    pub fn new(as_json: bool) -> Self {
        Self { as_json, rows: Vec::new(), json: Vec::new() }
    }

    /// And this one.
    pub fn add(&mut self, client: &Client) {
        if self.as_json {
            return self.json.push(Value::Object(client_json::render(client, None)));
        }
        let settings = &client.settings;
        let enabled = if settings.enabled == Some(false) { "no" } else { "yes" };
        self.rows.push(vec![
            client.id.to_string(),
            settings.name.clone(),
            audiences(settings),
            scopes(settings),
            enabled.into(),
        ]);
    }

    /// Shows them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn show(self) -> Result {
        if self.as_json {
            return output::json(&Value::Array(self.json));
        }
        table::print(&["CLIENT ID", "NAME", "AUDIENCE", "SCOPE", "ENABLED"], &self.rows);
        Ok(())
    }
}

/// Shows a client that was just made, and its secret, or where that is.
///
/// # Errors
/// When it cannot be put there.
pub fn show_made(client: &Client, secret: &ClientSecret, place: Option<Prepared>, as_json: bool) -> Result {
    let Some(place) = place else {
        if as_json {
            return output::json(&Value::Object(client_json::render(client, Some(secret))));
        }
        print(client);
        output::line(&format!("secret     {}\n\nThe secret is shown this once.", secret.expose()));
        return Ok(());
    };
    let path = place.path().to_owned();
    let told = place.keep()?;
    if as_json {
        let mut json = client_json::render(client, None);
        json.insert("secretWrittenTo".into(), json!(path));
        return output::json(&Value::Object(json));
    }
    print(client);
    output::line(&format!("secret     {told}"));
    Ok(())
}

/// Shows a client.
///
/// # Errors
/// When it cannot be written.
pub fn show(client: &Client, as_json: bool) -> Result {
    if as_json {
        return output::json(&Value::Object(client_json::render(client, None)));
    }
    print(client);
    Ok(())
}

fn print(client: &Client) {
    let settings = &client.settings;
    output::line(&format!("client id  {}\nname       {}", client.id, settings.name));
    output::line(&format!("audience   {}\nscope      {}", audiences(settings), scopes(settings)));
    for (audience, scopes) in settings.audience_scopes.iter().flatten() {
        let scopes: Vec<_> = scopes.iter().map(ScopePattern::as_str).collect();
        output::line(&format!("           at {audience}: {}", scopes.join(" ")));
    }
    if let Some(lifetime) = settings.token_lifetime {
        output::line(&format!("lifetime   {lifetime}"));
    }
    if settings.enabled == Some(false) {
        output::line("enabled    no");
    }
    let restrictions = &settings.restrictions;
    for (at, network) in restrictions.networks.iter().enumerate() {
        output::line(&format!("{:<11}{network}", if at == 0 { "comes from" } else { "" }));
    }
    for (name, time) in [("not before ", restrictions.not_before), ("not after  ", restrictions.not_after)] {
        if let Some(time) = time {
            output::line(&format!("{name}{}", moment(time)));
        }
    }
    if let Some(tokens) = restrictions.tokens_a_minute {
        output::line(&format!("tokens     {tokens} a minute"));
    }
}

fn scopes(settings: &ClientSettings) -> String {
    settings.scope.iter().map(ScopePattern::as_str).collect::<Vec<_>>().join(" ")
}

fn audiences(settings: &ClientSettings) -> String {
    settings.audience.iter().map(Audience::as_str).collect::<Vec<_>>().join(" ")
}

impl Fields {
    /// The same fields as the admin API takes, read by the same code.
    ///
    /// # Errors
    /// When a value is not well formed.
    pub fn apply(&self, settings: ClientSettings) -> Result<ClientSettings> {
        let refused = |error: &dyn std::fmt::Display| CliError::Refused(error.to_string());
        let mut settings = settings;
        if let Some(name) = &self.name {
            if !is_valid_name(name) {
                return Err(refused(&"a name has at most 200 characters, and no control characters"));
            }
            settings.name.clone_from(name);
        }
        if let Some(scope) = &self.scope {
            settings.scope = patterns(scope)?;
        }
        if !self.audience.is_empty() {
            let parsed: std::result::Result<_, _> =
                self.audience.iter().map(|name| Audience::parse(name)).collect();
            settings.audience = parsed.map_err(|error| refused(&error))?;
        }
        if !self.audience_scopes.is_empty() {
            let mut map = AudienceScopes::new();
            for entry in &self.audience_scopes {
                let (audience, scopes) = entry.rsplit_once('=').ok_or_else(|| {
                    CliError::Usage("--audience-scopes: write AUDIENCE=SCOPES, such as event=event.*".into())
                })?;
                map.insert(Audience::parse(audience).map_err(|error| refused(&error))?, patterns(scopes)?);
            }
            settings.audience_scopes = Some(map);
        }
        if let Some(lifetime) = &self.lifetime {
            settings.token_lifetime =
                Some(Span::parse(lifetime).map_err(|error| CliError::Usage(format!("--lifetime: {error}")))?);
            settings.extra.remove("clientCredentialsGrantAccessTokenLifespan");
        }
        settings.enabled = self.enabled.or(settings.enabled);
        self.restrict(&mut settings.restrictions)?;
        Ok(settings)
    }

    fn restrict(&self, restrictions: &mut Restrictions) -> Result {
        let usage = |flag: &str, reason: &dyn std::fmt::Display| CliError::Usage(format!("{flag}: {reason}"));
        match self.network.as_slice() {
            [] => {}
            [none] if none == NONE => restrictions.networks.clear(),
            networks => {
                let parsed: std::result::Result<_, _> =
                    networks.iter().map(|text| Network::parse(text)).collect();
                restrictions.networks = parsed.map_err(|error| usage("--network", &error))?;
            }
        }
        for (flag, text, moment) in [
            ("--not-before", &self.not_before, &mut restrictions.not_before),
            ("--not-after", &self.not_after, &mut restrictions.not_after),
        ] {
            match text.as_deref() {
                None => {}
                Some(NONE) => *moment = None,
                Some(text) => *moment = Some(parse_moment(text).map_err(|error| usage(flag, &error))?),
            }
        }
        match self.tokens_a_minute.as_deref() {
            None => {}
            Some(NONE) => restrictions.tokens_a_minute = None,
            Some(text) => {
                let tokens =
                    text.parse().map_err(|_| usage("--tokens-a-minute", &"write a number, or none"))?;
                restrictions.tokens_a_minute = Some(tokens);
            }
        }
        Ok(())
    }
}

/// A client that may do this at these services, and nothing else.
///
/// # Errors
/// [`CliError::Refused`] when a name is none.
pub fn granted(audience: &[String], scope: &str) -> Result<ClientSettings> {
    let audience: std::result::Result<_, _> = audience.iter().map(|name| Audience::parse(name)).collect();
    Ok(ClientSettings {
        audience: audience.map_err(|error| CliError::Refused(error.to_string()))?,
        scope: patterns(scope)?,
        ..ClientSettings::default()
    })
}

fn patterns(text: &str) -> Result<Vec<ScopePattern>> {
    let parsed: std::result::Result<_, _> = split_scopes(text).map(ScopePattern::parse).collect();
    parsed.map_err(|error| CliError::Refused(error.to_string()))
}
