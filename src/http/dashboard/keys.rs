//! `/admin/keys`: the signing keys, their timeline, rotating and revoking.

use actix_web::HttpRequest;
use actix_web::web::Data;
use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{KeyRecord, State as KeyState};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::UnixTime;
use maud::{Markup, html};

use super::Answer;
use crate::administration;
use crate::http::State;
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::forms::told_problem;
use crate::http::dashboard::layout::{self, Section, csrf, from_now, time};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::timeline;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::http::request::Body;
use crate::model::Role;
use crate::rotation::keeper::in_words;
use crate::rotation::timeline::{Event, asked, future, past};
use crate::rotation::view::{RingView, View};
use crate::store::keys::KeyRequest;

/// Rotations that are looked ahead.
const AHEAD: usize = 2;

async fn look(state: &State) -> Result<View, DashboardError> {
    let (policy, now) = (state.keeper.settings().policy, state.keeper.moment());
    Ok(state.look(move |store| View::read(store, policy, now)).await?)
}

/// `GET /admin/keys`
///
/// # Errors
/// When the file cannot be read.
pub async fn get(visitor: Visitor, state: Data<State>) -> Answer {
    let view = look(&state).await?;
    let may = visitor.may(Role::Keys);
    let content = html! {
        div.title {
            h1 { "Signing keys" }
            @if may { a.button.primary href="/admin/keys/rotate" { "Rotate…" } }
        }
        p.lead {
            "One key signs, and one stands by that verifiers have already. A rotation promotes the standby; the key before it "
            "stays published until its last token has expired."
        }
        @for ring in &view.rings { (ring_section(&view, ring, may)) }
        @if let Some(set) = &view.clock_set {
            p.quiet {
                "The clock was set " (set.ahead_by.as_ref().map_or("back by ", |_| "ahead by "))
                (set.ahead_by.as_ref().or(set.back_by.as_ref()).map_or("", String::as_str)) " at " (set.at)
                "; waiting times of keys are not affected."
            }
        }
    };
    Ok(layout::page(&visitor, Section::Keys, "Signing keys", content))
}

fn ring_section(view: &View, ring: &RingView, may: bool) -> Markup {
    let alg = ring.ring.algorithm().name();
    let now = view.now.wall;
    let (past, future) = (past(ring), future(view, ring, AHEAD));
    let lives = timeline::lives(past.iter().chain(&future));
    let queued = queued(view, ring);
    let title = format!("Timeline of the {alg} keys");
    html! {
        section.card aria-labelledby={ "ring-" (alg) } {
            h2 id={ "ring-" (alg) } { (alg) }
            p.next { (sentence(&view.next(ring))) }
            @if queued.is_some() {
                p.notice.queued role="status" { "A rotation was asked for and waits. It happens by itself, as told above." }
            } @else {
                p.quiet { (sentence(&signal_now(view, ring))) }
            }
            (timeline::picture(&format!("picture-{alg}"), &title, &lives, queued, now))
            (table(view, ring, may))
            (verifiers(view, ring))
            details {
                summary { "The timeline as a table" }
                (events(&past, &future, now))
            }
        }
    }
}

/// When a rotation that was asked for will happen.
fn queued(view: &View, ring: &RingView) -> Option<UnixTime> {
    ring.ring.rotation_asked?;
    ring.outlook.promotion_in.map(|wait| view.in_millis(wait))
}

fn signal_now(view: &View, ring: &RingView) -> String {
    match asked(view, ring) {
        (_, None) => "a rotation that is asked for now happens at once".into(),
        (wait, Some(hold)) => {
            format!("a rotation that is asked for now happens in {}: {}", in_words(wait), hold.reason())
        }
    }
}

fn table(view: &View, ring: &RingView, may: bool) -> Markup {
    let now = view.now.wall;
    let alg = ring.ring.algorithm().name();
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "The " (alg) " keys" } { table {
            caption.unseen { "The " (alg) " keys" }
            thead { tr {
                th scope="col" { "Key" } th scope="col" { "State" } th scope="col" { "Since" }
                th scope="col" { "Until" }
            } }
            tbody { @for key in ring.ordered() {
                @let state = key.state();
                tr {
                    th scope="row" { code.kid { (key.kid.to_string()) } }
                    td {
                        (state_tag(state))
                        @if may && state != KeyState::Revoked {
                            div { a.end href=(layout::query("/admin/keys/revoke", &[("kid", key.kid.as_str())])) { "Revoke…" } }
                        }
                    }
                    td { (time(View::since(key))) div.quiet { (from_now(View::since(key), now)) } }
                    td { (until(view, ring, key)) }
                }
            } }
        } }
    }
}

/// Who has the next key: the picture tells when, this tells who.
fn verifiers(view: &View, ring: &RingView) -> Markup {
    let (alg, now) = (ring.ring.algorithm().name(), view.now.wall);
    html! {
        h3 id={ "verifiers-" (alg) } { "Who has the next key" }
        @if let Some(told) = view.reach(ring) { p { (sentence(&told)) } }
        @if ring.reach.known() == 0 {
            p.quiet { "No verifier is known: one that fetches the key set again, after a minute or more, is." }
        } @else {
            div.scroll tabindex="0" role="region" aria-labelledby={ "verifiers-" (alg) } { table {
                thead { tr {
                    th scope="col" { "Verifier" } th scope="col" { "Next key" } th scope="col" { "Last fetched" } th scope="col" { "Known since" }
                } }
                tbody { @for (verifier, has_it) in ring.reach.each() { tr {
                    th scope="row" { (verifier.who.place()) div.quiet { (verifier.who.agent.as_str()) } }
                    td { @if has_it { span.tag.active { "has it" } } @else { span.tag.retired { "does not have it" } } }
                    td { (time(verifier.last_seen)) div.quiet { (from_now(verifier.last_seen, now)) } }
                    td { (time(verifier.first_seen)) }
                } } }
            } }
        }
    }
}

/// Until when a key signs and is published, as far as can be told. Of what is over, only the one or the other.
fn until(view: &View, ring: &RingView, key: &KeyRecord) -> Markup {
    let (signs, published) = (view.signs_until(ring, key), view.published_until(ring, key));
    html! {
        @if signs.is_none() && published.is_none() { span.quiet { "—" } }
        @if let Some(at) = signs { div { @if key.state() == KeyState::Active { "signs until " } @else { "signed until " } (time(at)) } }
        @if let Some(at) = published { div.quiet { "published until " (time(at)) } }
    }
}

fn state_tag(state: KeyState) -> Markup {
    html! { span class={ "tag " (state.name()) } { (state.name()) } }
}

fn events(past: &[Event], future: &[Event], now: UnixTime) -> Markup {
    let row = |event: &Event, is_future: bool| {
        html! { tr class=[is_future.then_some("planned")] {
            td { (time(event.at)) div.quiet { (from_now(event.at, now)) } }
            td { code { (timeline::short(&event.key.text())) } }
            td { (event.what.in_words()) }
        } }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="The timeline as a table" { table {
            thead { tr { th scope="col" { "Time" } th scope="col" { "Key" } th scope="col" { "What happens" } } }
            tbody {
                @for event in past { (row(event, false)) }
                tr.here { td { (time(now)) } td { } td { "now" } }
                @for event in future { (row(event, true)) }
            }
        } }
    }
}

/// What signs and what comes next, for the overview.
#[must_use]
pub fn brief(view: &View) -> Markup {
    html! {
        section.card aria-labelledby="keys" {
            h2 #keys { "Signing keys" }
            ul.rings { @for ring in &view.rings { li {
                p {
                    span.tag.active { "active" } " "
                    code { (ring.signing().map(|kid| timeline::short(kid.as_str())).unwrap_or_default()) } " "
                    span.quiet { (ring.ring.algorithm().name()) ", " (ring.ring.keys.published().count()) " published" }
                    @if ring.ring.rotation_asked.is_some() { " " span.tag.queued { "rotation queued" } }
                }
                p.quiet { (sentence(&view.next(ring))) }
            } } }
            p { a href="/admin/keys" { "Timeline of the keys" } }
        }
    }
}

/// `GET /admin/keys/rotate`: what a rotation would do.
///
/// # Errors
/// When the file cannot be read.
pub async fn rotation(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let view = look(&state).await?;
    let chosen = chosen(&view, Form::query(&request).text("alg"))?;
    let concerned = |ring: &&RingView| chosen.is_none_or(|alg| ring.ring.algorithm() == alg);
    let content = html! {
        h1 { "Rotate the signing key" }
        @for ring in view.rings.iter().filter(concerned) {
            section.card.preview aria-labelledby={ "effect-" (ring.ring.algorithm().name()) } {
                h2 id={ "effect-" (ring.ring.algorithm().name()) } { "What will happen to the " (ring.ring.algorithm().name()) " keys" }
                ol { @for step in effect(&view, ring) { li { (step) } } }
            }
        }
        @if visitor.may(Role::Keys) {
            form.actions method="post" action="/admin/keys/rotate" {
                (csrf(&visitor))
                @if let Some(alg) = chosen { input type="hidden" name="alg" value=(alg.name()); }
                button.primary type="submit" { "Rotate" }
                a.button href="/admin/keys" { "Cancel" }
            }
        } @else { (not_allowed(Role::Keys)) }
        @if chosen.is_none() && view.rings.len() > 1 {
            p.quiet { "Or only the keys of one algorithm: "
                @for ring in &view.rings { " " a href={ "/admin/keys/rotate?alg=" (ring.ring.algorithm().name()) } { (ring.ring.algorithm().name()) } }
            }
        }
    };
    Ok(layout::page(&visitor, Section::Keys, "Rotate the signing key", content))
}

fn chosen(view: &View, text: &str) -> Result<Option<Algorithm>, DashboardError> {
    if text.is_empty() {
        return Ok(None);
    }
    let found = view.rings.iter().map(|ring| ring.ring.algorithm()).find(|alg| alg.is_called(text));
    found.map(Some).ok_or(DashboardError::NotFound("ring of this algorithm"))
}

/// What a rotation that is asked for now does, step by step, in words.
fn effect(view: &View, ring: &RingView) -> Vec<Markup> {
    let keys = &ring.ring.keys;
    let kid = |key: Option<&KeyRecord>| key.map(|key| timeline::short(key.kid.as_str())).unwrap_or_default();
    let standby = keys.records().iter().find(|key| key.state() == KeyState::Standby);
    let (wait, hold) = asked(view, ring);
    let mut steps = Vec::new();
    if ring.ring.rotation_asked.is_some() {
        steps.push(html! { "A rotation is asked for already: asking again changes nothing." });
    }
    steps.push(match hold {
        None => html! { "The standby " code { (kid(standby)) } " signs " b { "at once" } ": every verifier can have it already." },
        Some(hold) => html! {
            "The rotation is queued. The standby " code { (kid(standby)) } " signs " b { "in " (in_words(wait)) }
            @if let Some(wait) = wait { " (" (time(view.in_millis(wait))) ")" }
            ", and not sooner: " (hold.reason()) "."
        },
    });
    let kept = keys.active().map(|active| active.longest_lifetime.saturating_add(view.policy.clock_skew));
    steps.push(html! {
        "The key " code { (kid(keys.active())) } " signs no more. It stays published for "
        (in_words(kept.map(m2mint_keys::time::millis))) " more, so that every token that it signed can be checked until it expires."
    });
    steps.push(html! { "A new standby is made and published. No client and no service has to do anything." });
    steps
}

fn not_allowed(role: Role) -> Markup {
    html! { p.notice { "Your key may look at this, and not do it: that takes the role " b { (role.name()) } "." } }
}

/// `POST /admin/keys/rotate`
///
/// # Errors
/// When the form is not good, or the file cannot be written.
pub async fn rotate(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Keys)?;
    let before = look(&state).await?;
    let alg = chosen(&before, submitted.form.text("alg"))?;
    ask(&state, KeyRequest::Rotate(alg), submitted).await?;
    let after = look(&state).await?;
    let concerned = after.rings.iter().filter(|ring| alg.is_none_or(|alg| ring.ring.algorithm() == alg));
    let outcome = |ring: &RingView| {
        let same = before.rings.iter().any(|before| before.signing() == ring.signing());
        let kid = ring.signing().map(|kid| timeline::short(kid.as_str())).unwrap_or_default();
        if same {
            format!("Queued: {}{}.", after.label(ring, ": "), after.next(ring))
        } else {
            format!("Rotated: {}{kid} signs from now on.", after.label(ring, " "))
        }
    };
    let told: Vec<_> = concerned.map(outcome).collect();
    visitor.tell(&state, Notice::Done(told.join(" ")));
    Ok(layout::go("/admin/keys"))
}

/// `GET /admin/keys/revoke?kid=`: what a revocation would do.
///
/// # Errors
/// When there is no such key, or the file cannot be read.
pub async fn revocation(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let view = look(&state).await?;
    let query = Form::query(&request);
    let key = revocable(&view, query.text("kid"))?;
    Ok(revocation_page(&visitor, &view, key, None))
}

fn revocable<'a>(view: &'a View, kid: &str) -> Result<&'a KeyRecord, DashboardError> {
    let key = Kid::parse(kid).and_then(|kid| view.get(&kid)).ok_or(DashboardError::NotFound("key"))?;
    if key.state() == KeyState::Revoked {
        return Err(DashboardError::Rule(format!("the key {kid} is revoked already")));
    }
    Ok(key)
}

fn revocation_page(
    visitor: &Visitor,
    view: &View,
    key: &KeyRecord,
    problem: Option<&str>,
) -> actix_web::HttpResponse {
    let kid = key.kid.as_str();
    let first: String = kid.chars().take(CONFIRMED).collect();
    let content = html! {
        h1 { "Revoke a key" }
        section.card.preview.danger aria-labelledby="effect" {
            h2 #effect { "What will happen" }
            p { code.kid { (kid) } " " (state_tag(key.state())) }
            ol { @for step in revocation_effect(view, key) { li { (step) } } }
        }
        @if visitor.may(Role::Keys) {
            (told_problem(problem))
            form.stack method="post" action="/admin/keys/revoke" {
                (csrf(visitor))
                input type="hidden" name="kid" value=(kid);
                label for="typed" { "Type the first " (CONFIRMED) " characters of the key, " code { (first) } ", to confirm" }
                input #typed type="text" name="typed" required autocomplete="off" spellcheck="false" autocapitalize="none"
                    data-confirms=(first) aria-describedby=[problem.map(|_| "problem")];
                div.actions {
                    button.danger type="submit" { "Revoke the key now" }
                    a.button href="/admin/keys" { "Cancel" }
                }
            }
        } @else { (not_allowed(Role::Keys)) }
    };
    layout::page(visitor, Section::Keys, "Revoke a key", content)
}

/// How much of a kid has to be typed before it is revoked.
const CONFIRMED: usize = 6;

fn revocation_effect(view: &View, key: &KeyRecord) -> Vec<Markup> {
    let ring = view.rings.iter().find(|ring| ring.ring.keys.get(&key.kid).is_some());
    let standby =
        ring.and_then(|ring| ring.ring.keys.records().iter().find(|one| one.state() == KeyState::Standby));
    let standby_name = standby.map(|one| timeline::short(one.kid.as_str())).unwrap_or_default();
    let gone = html! { "The key leaves the key set at once. Introspection refuses its tokens from then on." };
    let cached = html! {
        "A service that checks tokens by itself goes on accepting them until it fetches the key set anew: at most "
        (in_words(Some(m2mint_keys::time::millis(view.policy.propagation)))) ", if it caches as expected."
    };
    match key.state() {
        KeyState::Active => {
            let is_known = ring.is_some_and(|ring| asked(view, ring).1.is_none());
            let known = if is_known {
                html! { "The standby " code { (standby_name) } " signs from now on. Every verifier can have it already." }
            } else {
                html! { "The standby " code { (standby_name) } " signs from now on, although some verifiers may not have it yet: they refuse new tokens until they fetch the key set." }
            };
            vec![
                gone,
                known,
                html! { "Every token that the key signed is refused; clients have to ask for new ones." },
                cached,
            ]
        }
        KeyState::Retired => vec![
            gone,
            html! { "Every token that it signed is refused. Nothing else changes: another key signs." },
            cached,
        ],
        KeyState::Standby => vec![
            html! { "The key leaves the key set at once. It has signed nothing." },
            html! { "Another standby takes its place, and has to become known to verifiers before it can sign." },
        ],
        KeyState::Revoked => vec![],
    }
}

/// `POST /admin/keys/revoke`
///
/// # Errors
/// When the form is not good, there is no such key, or the file cannot be written.
pub async fn revoke(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Keys)?;
    let view = look(&state).await?;
    let key = revocable(&view, submitted.form.text("kid"))?;
    let typed = submitted.form.text("typed");
    let kid = key.kid.clone();
    if typed.chars().count() < CONFIRMED || !kid.as_str().starts_with(typed) {
        let problem = "That is not how the key begins. Nothing was changed.";
        return Ok(revocation_page(&visitor, &view, key, Some(problem)));
    }
    ask(&state, KeyRequest::Revoke(kid.clone()), submitted).await?;
    let after = look(&state).await?;
    let is_out = after.get(&kid).is_none_or(|key| key.state() == KeyState::Revoked);
    let told = if is_out {
        "Revoked"
    } else {
        "The revocation is stored, and happens as soon as the keys can be changed"
    };
    visitor.tell(&state, Notice::Done(format!("{told}: {}.", timeline::short(kid.as_str()))));
    Ok(layout::go("/admin/keys"))
}

/// Leaves a request for the keeper, and waits until it has done what is due.
async fn ask(
    state: &State,
    asked: KeyRequest,
    submitted: crate::http::dashboard::visitor::Submitted,
) -> Result<(), DashboardError> {
    let now = state.clock.wall();
    state.change(move |store| administration::ask_for_keys(store, &asked, now, &submitted.origin)).await?;
    // What cannot be done now is stored, and done later; the page shows how far it came.
    if let Err(error) = state.keeper.settle().await {
        tracing::warn!(%error, "what was asked of the keys waits");
    }
    Ok(())
}
