//! `/admin/inspect`: what a token says, and what would be answered to it. It comes in the body of a form, and is kept nowhere.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::verify::MAX_TOKEN_BYTES;
use maud::{Markup, html};

use super::Answer;
use crate::explanation::{Evidence, Explanation};
use crate::http::State;
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::layout::{self, Section, csrf};
use crate::http::dashboard::visitor::Visitor;
use crate::http::request::Body;
use crate::model::Role;

/// What was asked about a token.
struct Asked {
    audience: String,
    scope: String,
    explained: Explanation,
}

/// `GET /admin/inspect`
///
/// # Errors
/// None of its own.
pub async fn get(visitor: Visitor) -> Answer {
    Ok(page(&visitor, None))
}

/// `POST /admin/inspect`
///
/// # Errors
/// When the form is not good, or the file cannot be read.
pub async fn post(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let form = visitor.submit(&request, &state, body, Role::Read)?.form;
    let (audience, scope) = (form.text("audience").to_owned(), form.text("scope").to_owned());
    let (issuer, now) = (state.issuer.settings().issuer.clone(), state.clock.wall());
    if form.text("token").len() > MAX_TOKEN_BYTES * 8 {
        return Err(DashboardError::Rule("that is far longer than any token".into()));
    }
    let asked = state
        .look(move |store| {
            let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let evidence = Evidence::of(store, Some(issuer))?;
            let token = without_bearer(form.text("token"));
            let explained =
                evidence.explain(token, named(&audience).as_deref(), named(&scope).as_deref(), now)?;
            Ok(Asked { audience, scope, explained })
        })
        .await?;
    Ok(page(&visitor, Some(&asked)))
}

/// The token alone, where somebody has pasted the header that it came in.
fn without_bearer(text: &str) -> &str {
    let text = text.trim();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    }
}

fn page(visitor: &Visitor, asked: Option<&Asked>) -> HttpResponse {
    let (audience, scope) = asked.map_or(("", ""), |asked| (&asked.audience, &asked.scope));
    let content = html! {
        h1 { "Token inspector" }
        p.lead { "Paste a token to see what it says, who signed it, and what a service would answer. It is neither stored nor logged." }
        @if let Some(asked) = asked { (answer(asked)) }
        form.fields method="post" action="/admin/inspect" {
            (csrf(visitor))
            fieldset {
                legend { @if asked.is_some() { "Look at another one" } @else { "Token" } }
                div.field {
                    label for="token" { "Access token" }
                    textarea #token name="token" rows="5" required autocomplete="off" spellcheck="false" autocapitalize="none" aria-describedby="token-help" {}
                    p.help #token-help { "Three parts with dots between them." }
                }
                div.field {
                    label for="audience" { "Audience" }
                    input #audience type="text" name="audience" value=(audience) autocomplete="off" spellcheck="false" aria-describedby="audience-help";
                    p.help #audience-help { "Optional: the service that would check it, such as event." }
                }
                div.field {
                    label for="scope" { "Scopes" }
                    input #scope type="text" name="scope" value=(scope) autocomplete="off" spellcheck="false" aria-describedby="scope-help";
                    p.help #scope-help { "Optional: what the action would take, such as event.create." }
                }
            }
            div.actions { button.primary type="submit" { "Inspect" } }
        }
    };
    layout::page(visitor, Section::Inspector, "Token inspector", content)
}

fn answer(asked: &Asked) -> Markup {
    let Asked { audience, scope, explained } = asked;
    html! {
        section.card aria-labelledby="answer" {
            h2 #answer { "What would be answered" }
            @match &explained.outcome {
                Ok(()) => p.notice role="status" {
                    b { "Accepted" }
                    @if audience.is_empty() { " at the audience that it names" } @else { " at " (audience) }
                    @if !scope.is_empty() { ", for " (scope) } "."
                },
                Err(reason) => p.problem role="status" { b { "Refused: " } (sentence(reason)) },
            }
            dl { dt { "Signature" } dd { (sentence(&explained.signature)) } }
            @if explained.told.is_empty() { p.quiet { "Nothing in it can be read." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Claims" { table {
                    thead { tr { th scope="col" { "Claim" } th scope="col" { "Value" } th scope="col" { "What it means" } } }
                    tbody { @for claim in &explained.told { tr {
                        th scope="row" { code { (claim.name) } }
                        td.break { code { (claim.value) } }
                        td { (claim.meaning) }
                    } } }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_that_a_token_came_in_may_be_pasted_with_it() {
        for text in ["a.b.c", "Bearer a.b.c", " bearer  a.b.c\n"] {
            assert_eq!(without_bearer(text), "a.b.c", "{text:?}");
        }
        assert_eq!(without_bearer("Basic abc"), "Basic abc");
    }
}
