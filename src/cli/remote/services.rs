//! `m2mint services --url`

use super::{Server, pages, path};
use crate::cli::output::{CliError, Result};
use crate::cli::services::{
    Action, alias_span, confirm_removal, show, show_changed, show_check, show_list, show_removed,
};
use crate::clock::Clock;
use crate::http::v1::types::{
    ActionRenaming, Misfit, Misfits, NewService, Service, ServiceAction, ServiceChange, Services,
};
use crate::model::{Audience, Scope};

/// Runs the verb.
///
/// # Errors
/// When there is no such service, or a rule refuses the change.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    let now = Clock::system().wall();
    let change = |audience: &str, etag: &str, change: &ServiceChange| {
        let changed: Service = server.change("PATCH", &path(&["services", audience]), Some(etag), change)?;
        show_changed(&changed, &misfits(server, Some(audience))?, now, as_json)
    };
    match action {
        Action::List => {
            let mut services = Vec::new();
            pages(server, "/services", &[], |page: Services| {
                services.extend(page.services);
                Ok(page.next_cursor)
            })?;
            show_list(&services, as_json)
        }
        Action::Show { audience } => show(&get(server, audience)?.0, now, as_json),
        Action::Add { audience, description, action } => {
            let audience = Audience::parse(audience).map_err(|error| CliError::Refused(error.to_string()))?;
            let (audience, description) = (audience.to_string(), description.clone());
            let new = NewService { audience, description, actions: actions(action) };
            let made: Service = server.post("/services", &new)?;
            show_changed(&made, &misfits(server, Some(&made.audience))?, now, as_json)
        }
        Action::Update { audience, description, add_action, remove_action } => {
            let (_, etag) = get(server, audience)?;
            let wanted = ServiceChange {
                description: description.clone(),
                remove_actions: remove_action.clone(),
                rename_actions: Vec::new(),
                add_actions: actions(add_action),
            };
            change(audience, &etag, &wanted)
        }
        Action::Rename { audience, from, to, alias_for } => {
            let (_, etag) = get(server, audience)?;
            let alias_for = Some(alias_span(alias_for)?.to_string());
            let renaming = ActionRenaming { from: from.to_string(), to: to.to_string(), alias_for };
            change(audience, &etag, &ServiceChange { rename_actions: vec![renaming], ..Default::default() })
        }
        Action::Remove { audience, yes } => {
            get(server, audience)?;
            confirm_removal(audience, *yes)?;
            server.delete(&path(&["services", audience]), Some("*"))?;
            show_removed(audience, true, as_json)
        }
        Action::Check => show_check(&misfits(server, None)?, as_json),
    }
}

/// The service and its entity tag, or that it is not registered, and which one was probably meant.
fn get(server: &Server, audience: &str) -> Result<(Service, String)> {
    server.get_tagged(&path(&["services", audience]))
}

fn actions(actions: &[(Scope, String)]) -> Vec<ServiceAction> {
    let action = |(name, description): &(Scope, String)| ServiceAction {
        name: name.to_string(),
        description: description.clone(),
    };
    actions.iter().map(action).collect()
}

/// What clients are granted that no service understands; only what they are granted at `audience`, when one is named.
fn misfits(server: &Server, audience: Option<&str>) -> Result<Vec<Misfit>> {
    let mut misfits = Vec::new();
    let wanted: Vec<_> = audience.map(|audience| ("audience", audience)).into_iter().collect();
    pages(server, "/misfits", &wanted, |page: Misfits| {
        misfits.extend(page.misfits);
        Ok(page.next_cursor)
    })?;
    Ok(misfits)
}
