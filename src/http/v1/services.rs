//! `/admin/v1/services`, and `/admin/v1/misfits`: what clients are granted that none of them understands.

use m2mint_keys::time::UnixTime;

use super::clients::after;
use super::idempotency::once;
use super::reply::{Expected, Reply, etag, page_size, read, segment};
use super::types::{
    Misfit, Misfits, MisfitsWanted, NewService, Service as ServiceJson, ServiceAction, ServiceAlias,
    ServiceChange, Services, ServicesWanted,
};
use super::{Call, PATH};
use crate::administration::AdministrationError;
use crate::administration::services::{self, Unfit};
use crate::http::clients::{DEFAULT_PAGE, LARGEST_PAGE, page_token};
use crate::http::error::problem::Problem;
use crate::model::audit::date_to_the_second as date;
use crate::model::service::{Alias, InvalidService};
use crate::model::{Audience, Scope, Service, Span};
use crate::store;

/// For how long an action can be asked for by its former name when nothing is said.
pub const ALIAS_FOR: &str = "90d";
/// How many clients are looked at for one page: where few do not fit, that must not hold up others.
const MOST_LOOKED_AT: usize = 10_000;

type Result<T> = std::result::Result<T, Problem>;

/// `GET /admin/v1/services`
///
/// # Errors
/// When a parameter makes no sense, or the file cannot be read.
pub async fn get_list(call: Call) -> Result<Reply> {
    let wanted: ServicesWanted = call.query()?;
    let Call { state, .. } = call;
    let size = page_size(wanted.limit, DEFAULT_PAGE, LARGEST_PAGE)?;
    let after = wanted.cursor;
    if let Some(cursor) = &after {
        audience("cursor", cursor)?;
    }
    let look = move |db: &_| store::services::page(db, after.as_deref().unwrap_or_default(), size);
    let (services, next_cursor) = state.look(move |store| store.read(look)).await?;
    Reply::ok(&Services { services: services.iter().map(render).collect(), next_cursor })
}

/// `GET /admin/v1/services/{audience}`
///
/// # Errors
/// When it is not registered, or the file cannot be read.
pub async fn get_one(call: Call) -> Result<Reply> {
    let audience: String = call.path()?;
    let Call { state, .. } = call;
    let found = state.look(move |store| store.read(|db| services::require(db, &audience))).await?;
    shown(&found?)
}

/// `POST /admin/v1/services`
///
/// # Errors
/// When a value is not well formed, a rule refuses it, or the service is registered already.
pub async fn post(call: Call) -> Result<Reply> {
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let new: NewService = read(&body)?;
    let work = async move {
        let mut service = Service::new(audience("audience", &new.audience)?);
        service.description = new.description;
        add(&mut service, scopes("actions", new.actions)?).map_err(refused)?;
        let (now, location) = (here.clock.wall(), segment(service.audience.as_str()));
        let made = here.change(move |store| {
            services::add_service(store, &service, now, &origin)?;
            Ok::<_, AdministrationError>(service)
        });
        Ok(shown(&made.await?)?.created(Some(format!("{PATH}/services/{location}"))))
    };
    once(&state, &request, &caller.0, &body, work).await
}

/// `PATCH /admin/v1/services/{audience}`
///
/// # Errors
/// When it is not registered, was changed meanwhile, a value is not well formed, or a rule refuses the change; when the
/// request does not say which state it changes.
pub async fn patch(call: Call) -> Result<Reply> {
    let audience: String = call.path()?;
    let Call { caller, request, body, state } = call;
    let wanted: ServiceChange = read(&body.bytes()?)?;
    let (expected, now) = (Expected::of(&request)?, state.clock.wall());
    let ServiceChange { description, remove_actions, rename_actions, add_actions } = wanted;
    let mut renamed = Vec::with_capacity(rename_actions.len());
    for renaming in rename_actions {
        let to = scope("renameActions", &renaming.to)?;
        let span = Span::parse(renaming.alias_for.as_deref().unwrap_or(ALIAS_FOR));
        let span = span.map_err(|error| Problem::invalid_field("renameActions", error))?;
        renamed.push((renaming.from, to, now.plus(span.0)));
    }
    let added = scopes("addActions", add_actions)?;
    let change = move |service: &mut Service| {
        expected.check(&tag(service))?;
        change(service, description, &remove_actions, renamed, added, now).map_err(refused)
    };
    let changed = state.change(move |store| {
        services::update_seen_service::<Problem>(store, &audience, now, &caller.0, change)
    });
    shown(&changed.await?)
}

/// `DELETE /admin/v1/services/{audience}`
///
/// # Errors
/// When it is not registered, or was changed meanwhile; when the request does not say which state it removes.
pub async fn delete(call: Call) -> Result<Reply> {
    let audience: String = call.path()?;
    let Call { caller, request, state, .. } = call;
    let (expected, now) = (Expected::of(&request)?, state.clock.wall());
    let may = move |service: &Service| expected.check(&tag(service));
    let removed = state
        .change(move |store| services::remove_seen_service::<Problem>(store, &audience, now, &caller.0, may));
    removed.await?;
    Ok(Reply::nothing())
}

/// `GET /admin/v1/misfits`
///
/// # Errors
/// When a parameter makes no sense, or the file cannot be read.
pub async fn get_misfits(call: Call) -> Result<Reply> {
    let wanted: MisfitsWanted = call.query()?;
    let Call { state, .. } = call;
    let size = page_size(wanted.limit, DEFAULT_PAGE, LARGEST_PAGE)?;
    let at = wanted.audience.as_deref().map(|name| audience("audience", name)).transpose()?;
    let (after, now) = (after(wanted.cursor.as_deref())?, state.clock.wall());
    let look = move |store: &_| services::some_unfit(store, at.as_ref(), now, after, size, MOST_LOOKED_AT);
    let (unfit, next) = state.look(look).await?;
    Reply::ok(&Misfits { misfits: render_misfits(&unfit), next_cursor: next.as_ref().map(page_token) })
}

/// A service as it is answered.
#[must_use]
pub fn render(service: &Service) -> ServiceJson {
    let action = |(name, description): (&Scope, &String)| ServiceAction {
        name: name.to_string(),
        description: description.clone(),
    };
    let alias = |(name, alias): (&Scope, &Alias)| ServiceAlias {
        name: name.to_string(),
        action: alias.action.to_string(),
        until: date(alias.ends_at),
    };
    ServiceJson {
        audience: service.audience.to_string(),
        description: service.description.clone(),
        actions: service.actions.iter().map(action).collect(),
        aliases: service.aliases.iter().map(alias).collect(),
    }
}

/// What does not fit, as it is answered.
#[must_use]
pub fn render_misfits(unfit: &[Unfit]) -> Vec<Misfit> {
    let of = |unfit: &Unfit| {
        let client_id = unfit.client.to_string();
        let render = |misfit: &crate::model::service::Misfit| Misfit {
            client_id: client_id.clone(),
            scope: misfit.scope.to_string(),
            audience: misfit.audiences.iter().map(Audience::to_string).collect(),
            meant: misfit.meant.clone(),
        };
        unfit.misfits.iter().map(render).collect::<Vec<_>>()
    };
    unfit.iter().flat_map(of).collect()
}

fn shown(service: &Service) -> Result<Reply> {
    Ok(Reply::ok(&render(service))?.tagged(tag(service)))
}

/// The tag of the state of a service.
#[must_use]
pub fn tag(service: &Service) -> String {
    // Texts: there is nothing in it that could fail to serialize.
    let mut state = serde_json::to_vec(&render(service)).unwrap_or_default();
    // Shown to the second only.
    state.extend(service.aliases.values().flat_map(|alias| alias.ends_at.millis().to_be_bytes()));
    etag(&state)
}

/// Changes a service. What is removed goes first, and what is added comes last.
///
/// # Errors
/// [`InvalidService`] when a name is not there or taken, or a former name would never be understood.
pub fn change(
    service: &mut Service,
    description: Option<String>,
    removed: &[String],
    renamed: Vec<(String, Scope, UnixTime)>,
    added: Vec<(Scope, String)>,
    now: UnixTime,
) -> std::result::Result<(), InvalidService> {
    if let Some(description) = description {
        service.description = description;
    }
    for name in removed {
        service.remove_action(name)?;
    }
    for (from, to, ends_at) in renamed {
        if ends_at <= now {
            return Err(InvalidService::AliasEnded);
        }
        service.rename_action(&from, to, ends_at)?;
    }
    add(service, added)
}

fn add(service: &mut Service, actions: Vec<(Scope, String)>) -> std::result::Result<(), InvalidService> {
    actions.into_iter().try_for_each(|(name, description)| service.add_action(name, description))
}

fn refused(error: InvalidService) -> Problem {
    AdministrationError::from(error).into()
}

fn scopes(field: &str, actions: Vec<ServiceAction>) -> Result<Vec<(Scope, String)>> {
    actions.into_iter().map(|action| Ok((scope(field, &action.name)?, action.description))).collect()
}

fn scope(field: &str, name: &str) -> Result<Scope> {
    Scope::parse(name).map_err(|error| Problem::invalid_field(field, error))
}

fn audience(field: &str, name: &str) -> Result<Audience> {
    Audience::parse(name).map_err(|error| Problem::invalid_field(field, error))
}
