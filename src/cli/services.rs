//! `m2mint services [list]|show|add|update|rename|remove|check`

use clap::Subcommand;
use m2mint_keys::time::UnixTime;
use serde_json::{Value, json};

use crate::administration::services::{self, Unfit};
use crate::cli::beside::Beside;
use crate::cli::output::{self, CliError, Result, date};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::model::audit::Origin;
use crate::model::{Audience, Scope, Service, Span};
use crate::store::{self, Store};

/// What to do with services.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List the registered services
    #[command(after_help = "Example: m2mint services list")]
    List,
    /// Show a service: its actions, and what they were called before
    #[command(after_help = "Example: m2mint services show event")]
    Show {
        /// Its audience
        audience: String,
    },
    /// Register a service, and say which clients are granted what it does not understand
    #[command(
        after_help = "From then on clients are granted there only what it understands; what they had before, they keep.\n\n\
                      Example: m2mint services add event --action event.view --action 'event.create=Makes an event'"
    )]
    Add {
        /// Its audience: the `aud` of the tokens that are for it
        audience: String,
        /// What it is, for people
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// An action that it understands, and what that does; give it once for each
        #[arg(long, value_name = "NAME[=TEXT]", value_parser = action)]
        action: Vec<(Scope, String)>,
    },
    /// Change a service
    #[command(
        after_help = "Example: m2mint services update event --add-action event.share --remove-action event.print"
    )]
    Update {
        /// Its audience
        audience: String,
        /// What it is, for people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// One more action that it understands; give it once for each
        #[arg(long, value_name = "NAME[=TEXT]", value_parser = action)]
        add_action: Vec<(Scope, String)>,
        /// An action that it understands no more, or a former name of one; give it once for each
        #[arg(long, value_name = "NAME")]
        remove_action: Vec<String>,
    },
    /// Call an action by another name; both can be asked for until the alias ends
    #[command(
        after_help = "Until then a token that is asked for by either name carries both, so that the service finds the one that it\n\
                      knows. After that it carries the new name only, and only that can be asked for; clients that were\n\
                      granted the action by its former name keep it.\n\n\
                      Example: m2mint services rename event event.edit event.update --alias-for 90d"
    )]
    Rename {
        /// The service's audience
        audience: String,
        /// What the action is called
        from: Scope,
        /// What it is to be called
        to: Scope,
        /// For how long it can be asked for by its former name as well
        #[arg(long, value_name = "DURATION", default_value = "90d")]
        alias_for: String,
    },
    /// Forget a service: clients keep what they are granted there, and nobody checks it any more
    #[command(after_help = "Example: m2mint services remove event")]
    Remove {
        /// Its audience
        audience: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Say which clients are granted what no registered service understands
    #[command(after_help = "Exit codes: 0 all fits, 3 something does not\nExample: m2mint services check")]
    Check,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such service, or a rule refuses the change.
pub fn run(settings: &Settings, action: &Action, as_json: bool) -> Result {
    let config = config::load(settings)?;
    let store = Beside::open(&config.database)?;
    let (now, origin) = (Clock::system().wall(), Origin::command_line());
    match action {
        Action::List => list(&store, as_json),
        Action::Show { audience } => show(&require(&store, audience)?, now, as_json),
        Action::Add { audience, description, action } => {
            let audience = Audience::parse(audience).map_err(|error| CliError::Refused(error.to_string()))?;
            let mut service = Service { description: description.clone(), ..Service::new(audience) };
            for (name, description) in action {
                service
                    .add_action(name.clone(), description.clone())
                    .map_err(|error| CliError::Refused(error.to_string()))?;
            }
            services::add_service(&store, &service, now, &origin)?;
            store.settle();
            changed(&store, &service, now, as_json)
        }
        Action::Update { audience, description, add_action, remove_action } => {
            require(&store, audience)?;
            let service = services::update_service(&store, audience, now, &origin, |service| {
                if let Some(description) = description {
                    service.description.clone_from(description);
                }
                for name in remove_action {
                    service.remove_action(name)?;
                }
                for (name, description) in add_action {
                    service.add_action(name.clone(), description.clone())?;
                }
                Ok(())
            })?;
            store.settle();
            changed(&store, &service, now, as_json)
        }
        Action::Rename { audience, from, to, alias_for } => {
            require(&store, audience)?;
            let span =
                Span::parse(alias_for).map_err(|error| CliError::Usage(format!("--alias-for: {error}")))?;
            if span.secs() == 0 {
                return Err(CliError::Usage("--alias-for: write a duration of at least 1s".into()));
            }
            let service = services::update_service(&store, audience, now, &origin, |service| {
                Ok(service.rename_action(from.as_str(), to.clone(), now.plus(span.0))?)
            })?;
            store.settle();
            changed(&store, &service, now, as_json)
        }
        Action::Remove { audience, yes } => {
            require(&store, audience)?;
            output::confirm(
                &format!("Forget the service {audience} with its actions and their former names?"),
                *yes,
            )?;
            let existed = services::remove_service(&store, audience, now, &origin)?;
            store.settle();
            if as_json {
                return output::json(&json!({"didExist": existed}));
            }
            output::line(&format!("removed: {audience}"));
            Ok(())
        }
        Action::Check => {
            let unfit = services::unfit(&store, None, now)?;
            if as_json {
                output::json(&unfit_json(&unfit))?;
            } else if unfit.is_empty() {
                output::line("every client is granted only what the registered services understand");
            } else {
                print_unfit(&unfit);
            }
            match unfit.len() {
                0 => Ok(()),
                1 => Err(CliError::Refused("1 client is granted what no service understands".into())),
                count => {
                    Err(CliError::Refused(format!("{count} clients are granted what no service understands")))
                }
            }
        }
    }
}

/// The service, or that it is not registered, and which one was probably meant.
fn require(store: &Store, audience: &str) -> Result<Service> {
    if let Some(service) = store.read(|db| store::services::get(db, audience))? {
        return Ok(service);
    }
    let known = store.read(store::services::all)?;
    let meant = output::did_you_mean(audience, known.keys().map(Audience::as_str));
    Err(CliError::Refused(format!("there is no service {audience}{meant}")))
}

fn list(store: &Store, as_json: bool) -> Result {
    let services = store.read(store::services::all)?;
    if as_json {
        return output::json(&services.values().map(to_json).collect());
    }
    if services.is_empty() {
        output::line("no service is registered: clients may be granted anything anywhere");
        return Ok(());
    }
    let rows: Vec<_> = services
        .values()
        .map(|service| vec![service.audience.to_string(), service.description.clone(), actions(service)])
        .collect();
    table::print(&["AUDIENCE", "DESCRIPTION", "ACTIONS"], &rows);
    Ok(())
}

fn actions(service: &Service) -> String {
    service.actions.keys().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

fn show(service: &Service, now: UnixTime, as_json: bool) -> Result {
    if as_json {
        return output::json(&to_json(service));
    }
    print(service, now);
    Ok(())
}

fn print(service: &Service, now: UnixTime) {
    output::line(&format!("audience     {}", service.audience));
    if !service.description.is_empty() {
        output::line(&format!("description  {}", service.description));
    }
    let rows: Vec<_> = service
        .actions
        .iter()
        .map(|(name, description)| {
            let former: Vec<_> = service.aliases.iter().filter(|(_, alias)| alias.action == *name).collect();
            let former = former.iter().map(|(former, alias)| {
                let until = if alias.ends_at > now { "until" } else { "ended" };
                format!("{former} ({until} {})", date(alias.ends_at))
            });
            vec![name.to_string(), description.clone(), former.collect::<Vec<_>>().join(", ")]
        })
        .collect();
    table::print(&["ACTION", "DESCRIPTION", "ALSO CALLED"], &rows);
}

/// Shows a service after a change, and which clients do not fit it.
fn changed(store: &Store, service: &Service, now: UnixTime, as_json: bool) -> Result {
    let unfit = services::unfit(store, Some(&service.audience), now)?;
    if as_json {
        let mut json = to_json(service);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("unfit".into(), unfit_json(&unfit));
        }
        return output::json(&json);
    }
    print(service, now);
    if !unfit.is_empty() {
        output::line("\nThese clients are granted what the service does not understand. They keep it:");
        print_unfit(&unfit);
    }
    Ok(())
}

fn print_unfit(unfit: &[Unfit]) {
    let rows: Vec<_> = unfit
        .iter()
        .flat_map(|unfit| {
            unfit.misfits.iter().map(|misfit| {
                vec![
                    unfit.client.to_string(),
                    misfit.scope.to_string(),
                    misfit.audiences.iter().map(Audience::as_str).collect::<Vec<_>>().join(" "),
                    misfit.meant.clone().unwrap_or_default(),
                ]
            })
        })
        .collect();
    table::print(&["CLIENT ID", "SCOPE", "AT", "DID YOU MEAN"], &rows);
}

fn unfit_json(unfit: &[Unfit]) -> Value {
    let rows = unfit.iter().flat_map(|unfit| {
        unfit.misfits.iter().map(|misfit| {
            json!({
                "clientId": unfit.client.as_str(),
                "scope": misfit.scope.as_str(),
                "audience": misfit.audiences.iter().map(Audience::as_str).collect::<Vec<_>>(),
                "meant": misfit.meant,
            })
        })
    });
    rows.collect()
}

fn to_json(service: &Service) -> Value {
    let actions = service
        .actions
        .iter()
        .map(|(name, description)| json!({"name": name.as_str(), "description": description}));
    let aliases = service.aliases.iter().map(|(former, alias)| {
        json!({"name": former.as_str(), "action": alias.action.as_str(), "until": date(alias.ends_at)})
    });
    json!({
        "audience": service.audience.as_str(),
        "description": service.description,
        "actions": actions.collect::<Vec<_>>(),
        "aliases": aliases.collect::<Vec<_>>(),
    })
}

/// `event.create`, or `event.create=Makes an event`. A name may hold `=` only where a description follows.
fn action(text: &str) -> std::result::Result<(Scope, String), String> {
    let (name, description) = text.split_once('=').unwrap_or((text, ""));
    let name = Scope::parse(name).map_err(|error| error.to_string())?;
    Ok((name, description.trim().to_owned()))
}
