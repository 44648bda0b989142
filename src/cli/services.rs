//! `m2mint services [list]|show|add|update|rename|remove|check`

use clap::Subcommand;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::administration::services;
use crate::cli::beside::Beside;
use crate::cli::output::{self, CliError, Result, date};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::http::v1::services::{render, render_misfits};
use crate::http::v1::types::{Misfit, Service as ServiceJson};
use crate::model::audit::Origin;
use crate::model::service::parse_action;
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
        #[arg(long, value_name = "NAME[=TEXT]", value_parser = parse_action)]
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
        #[arg(long, value_name = "NAME[=TEXT]", value_parser = parse_action)]
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
        Action::List => {
            let services = store.read(store::services::all)?;
            show_list(&services.values().map(render).collect::<Vec<_>>(), as_json)
        }
        Action::Show { audience } => show(&render(&require(&store, audience)?), now, as_json),
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
            let span = alias_span(alias_for)?;
            let service = services::update_service(&store, audience, now, &origin, |service| {
                Ok(service.rename_action(from.as_str(), to.clone(), now.plus(span.0))?)
            })?;
            store.settle();
            changed(&store, &service, now, as_json)
        }
        Action::Remove { audience, yes } => {
            require(&store, audience)?;
            confirm_removal(audience, *yes)?;
            let existed = services::remove_service(&store, audience, now, &origin)?;
            store.settle();
            show_removed(audience, existed, as_json)
        }
        Action::Check => show_check(&render_misfits(&services::unfit(&store, None, now)?), as_json),
    }
}

/// The service, or that it is not registered, and which one was probably meant.
fn require(store: &Store, audience: &str) -> Result<Service> {
    Ok(store.read(|db| services::require(db, audience))??)
}

/// Shows a service after a change, and which clients do not fit it.
fn changed(store: &Store, service: &Service, now: UnixTime, as_json: bool) -> Result {
    let unfit = services::unfit(store, Some(&service.audience), now)?;
    show_changed(&render(service), &render_misfits(&unfit), now, as_json)
}

/// The value of `--alias-for`.
///
/// # Errors
/// When it is no duration, or none that somebody could make use of.
pub fn alias_span(text: &str) -> Result<Span> {
    let span = Span::parse(text).map_err(|error| CliError::Usage(format!("--alias-for: {error}")))?;
    if span.secs() == 0 {
        return Err(CliError::Usage("--alias-for: write a duration of at least 1s".into()));
    }
    Ok(span)
}

/// Asks before a service is forgotten.
///
/// # Errors
/// Unless the answer is yes.
pub fn confirm_removal(audience: &str, yes: bool) -> Result {
    output::confirm(&format!("Forget the service {audience} with its actions and their former names?"), yes)
}

/// Shows that a service is forgotten.
///
/// # Errors
/// When it cannot be written.
pub fn show_removed(audience: &str, existed: bool, as_json: bool) -> Result {
    if as_json {
        return output::json(&json!({"didExist": existed}));
    }
    output::line(&format!("removed: {audience}"));
    Ok(())
}

/// Shows services.
///
/// # Errors
/// When they cannot be written.
pub fn show_list(services: &[ServiceJson], as_json: bool) -> Result {
    if as_json {
        return output::json(&serde_json::to_value(services)?);
    }
    if services.is_empty() {
        output::line("no service is registered: clients may be granted anything anywhere");
        return Ok(());
    }
    let actions = |service: &ServiceJson| {
        service.actions.iter().map(|action| &*action.name).collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<_> = services
        .iter()
        .map(|service| vec![service.audience.clone(), service.description.clone(), actions(service)])
        .collect();
    table::print(&["AUDIENCE", "DESCRIPTION", "ACTIONS"], &rows);
    Ok(())
}

/// Shows a service.
///
/// # Errors
/// When it cannot be written.
pub fn show(service: &ServiceJson, now: UnixTime, as_json: bool) -> Result {
    if as_json {
        return output::json(&serde_json::to_value(service)?);
    }
    print(service, now);
    Ok(())
}

fn print(service: &ServiceJson, now: UnixTime) {
    output::line(&format!("audience     {}", service.audience));
    if !service.description.is_empty() {
        output::line(&format!("description  {}", service.description));
    }
    let now = date(now);
    let rows: Vec<_> = service
        .actions
        .iter()
        .map(|action| {
            let former = service.aliases.iter().filter(|alias| alias.action == action.name).map(|alias| {
                // Dates of one form, of which the later one is the greater text.
                let until = if alias.until > now { "until" } else { "ended" };
                format!("{} ({until} {})", alias.name, alias.until)
            });
            vec![action.name.clone(), action.description.clone(), former.collect::<Vec<_>>().join(", ")]
        })
        .collect();
    table::print(&["ACTION", "DESCRIPTION", "ALSO CALLED"], &rows);
}

/// Shows a service after a change, and which clients do not fit it.
///
/// # Errors
/// When it cannot be written.
pub fn show_changed(service: &ServiceJson, misfits: &[Misfit], now: UnixTime, as_json: bool) -> Result {
    if as_json {
        let mut json = serde_json::to_value(service)?;
        if let Some(fields) = json.as_object_mut() {
            fields.insert("unfit".into(), serde_json::to_value(misfits)?);
        }
        return output::json(&json);
    }
    print(service, now);
    if !misfits.is_empty() {
        output::line("\nThese clients are granted what the service does not understand. They keep it:");
        print_misfits(misfits);
    }
    Ok(())
}

/// Shows which clients are granted what no service understands.
///
/// # Errors
/// [`CliError::Refused`] when any are.
pub fn show_check(misfits: &[Misfit], as_json: bool) -> Result {
    if as_json {
        output::json(&serde_json::to_value(misfits)?)?;
    } else if misfits.is_empty() {
        output::line("every client is granted only what the registered services understand");
    } else {
        print_misfits(misfits);
    }
    // Those of one client stand together.
    let clients = misfits.chunk_by(|one, next| one.client_id == next.client_id).count();
    match clients {
        0 => Ok(()),
        1 => Err(CliError::Refused("1 client is granted what no service understands".into())),
        count => Err(CliError::Refused(format!("{count} clients are granted what no service understands"))),
    }
}

fn print_misfits(misfits: &[Misfit]) {
    let rows: Vec<_> = misfits
        .iter()
        .map(|misfit| {
            vec![
                misfit.client_id.clone(),
                misfit.scope.clone(),
                misfit.audience.join(" "),
                misfit.meant.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table::print(&["CLIENT ID", "SCOPE", "AT", "DID YOU MEAN"], &rows);
}
