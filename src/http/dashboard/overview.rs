//! `GET /admin/`: how the server runs.

use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::Data;
use maud::{Markup, html};

use super::Answer;
use crate::http::State;
use crate::http::dashboard::history::{Sample, Step};
use crate::http::dashboard::layout::{self, Section};
use crate::http::dashboard::visitor::Visitor;
use crate::http::dashboard::{audit, keys};
use crate::http::health::Parts;
use crate::metrics::endpoint::{Endpoint, Outcome};
use crate::metrics::tokens::OTHER;
use crate::metrics::{DOORS, REASONS};
use crate::rotation::keeper::in_words;
use crate::rotation::view::View;

/// Clients that are named.
const BUSIEST: usize = 6;
/// Entries of the audit log.
const LATEST: usize = 6;
/// Steps that are called "now".
const NOW: usize = 2;
/// The graphs, in the units of their pictures.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// Handles the request.
///
/// # Errors
/// When the file cannot be read.
pub async fn get(visitor: Visitor, state: Data<State>) -> Answer {
    let (policy, now) = (state.keeper.settings().policy, state.keeper.moment());
    let (view, latest) = state
        .look(move |store| {
            let latest = store.read(|db| audit::latest(db, LATEST))?;
            Ok((View::read(store, policy, now)?, latest))
        })
        .await?;
    let content = html! {
        h1 { "Overview" }
        div #live data-live {
            (parts(&Parts::of(&state)))
            (traffic(&state))
            (keys::brief(&view))
            div.columns {
                (busiest(&state))
                section.card aria-labelledby="latest" {
                    h2 #latest { "Lately done" }
                    (audit::brief(&latest))
                    p { a href="/admin/audit" { "The whole audit log" } }
                }
            }
        }
        p.quiet.foot {
            "m2mint " (env!("CARGO_PKG_VERSION")) " at " code { (state.issuer.settings().issuer) }
        }
    };
    Ok::<HttpResponse, _>(layout::page(&visitor, Section::Overview, "Overview", content))
}

/// What is counted now.
pub fn sample(state: &State) -> Sample {
    let metrics = &state.metrics;
    let issued = |endpoint| metrics.requests(endpoint, Outcome::Ok);
    let refused =
        DOORS.iter().flat_map(|(door, _)| REASONS.iter().map(|(why, _)| metrics.refused(*door, *why)));
    Sample {
        at: state.clock.steady(),
        tokens: issued(Endpoint::Token) + issued(Endpoint::AdminToken),
        refused: refused.sum(),
    }
}

fn parts(parts: &Parts) -> Markup {
    let Parts { database, signing_key, workers, clock } = parts;
    let told = [("Database", database), ("Signing key", signing_key), ("Workers", workers), ("Clock", clock)];
    let wrong: Vec<_> = told.iter().zip(parts.each()).filter(|(_, (_, is_ok))| !is_ok).collect();
    html! {
        @if wrong.is_empty() {
            p.state.good { span.dot aria-hidden="true" {} "Every part works: database, signing key, workers, clock." }
        } @else {
            ul.state.bad role="alert" {
                @for ((name, says), _) in wrong { li { b { (name) } " " (says) } }
            }
        }
    }
}

fn traffic(state: &State) -> Markup {
    let now = sample(state);
    let steps = state.dashboard.history.steps(now);
    let sum = |of: fn(&Step) -> u64| steps.iter().map(of).sum::<u64>();
    let (tokens, refused) = (sum(|step| step.tokens), sum(|step| step.refused));
    let recent = steps.iter().rev().take(NOW);
    let (lately, span) =
        recent.fold((0, 0), |(tokens, span), step| (tokens + step.tokens, span + step.millis));
    let watched = steps.iter().map(|step| step.millis).sum::<i64>();
    let since =
        if watched < 3_540_000 { format!("in {}", in_words(Some(watched))) } else { "in an hour".into() };
    html! {
        section.figures aria-label="Figures" {
            (figure("Tokens a second", &rate(lately, span), "now"))
            (figure("Tokens", &grouped(tokens), &since))
            (figure("Refusals", &grouped(refused), &since))
            (figure("Clients", &grouped(u64::try_from(state.directory.count()).unwrap_or(u64::MAX)), "that there are"))
        }
        div.columns {
            (graph("tokens", "Tokens a second", &steps, |step| step.tokens))
            (graph("refusals", "Refusals a second", &steps, |step| step.refused))
        }
    }
}

fn figure(name: &str, value: &str, when: &str) -> Markup {
    html! { div.figure { p.figure-name { (name) } p.figure-value { (value) } p.quiet { (when) } } }
}

fn graph(id: &str, title: &str, steps: &[Step], of: fn(&Step) -> u64) -> Markup {
    let rates: Vec<f64> = steps.iter().map(|step| a_second(of(step), step.millis)).collect();
    let most = rates.iter().copied().fold(0.0, f64::max);
    let described = if most > 0.0 {
        format!("{title} in the last hour, every 30 seconds: at most {}", decimal(most))
    } else {
        format!("{title} in the last hour: none")
    };
    html! {
        section.card.graph aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            svg class={ "chart " (id) } role="img" aria-label=(described) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
                @for part in 1..4_u8 {
                    @let y = HEIGHT * f64::from(part) / 4.0;
                    line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                }
                @if most > 0.0 {
                    @let line = line(&rates, most);
                    path.area d={ (line) "V" (HEIGHT) "H" (format!("{:.1}", start(rates.len()))) "Z" } {}
                    path.line d=(line) {}
                }
            }
            p.axis aria-hidden="true" {
                span { "an hour ago" } span { "at most " (decimal(most)) } span { "now" }
            }
        }
    }
}

/// Where the first of `count` values stands, when the last one stands at the right.
fn start(count: usize) -> f64 {
    WIDTH - step_width() * f64::from(u16::try_from(count.saturating_sub(1)).unwrap_or(u16::MAX))
}

const fn step_width() -> f64 {
    WIDTH / 120.0
}

fn line(rates: &[f64], most: f64) -> String {
    let mut x = start(rates.len());
    let mut text = String::new();
    for rate in rates {
        let y = HEIGHT - 4.0 - (HEIGHT - 12.0) * rate / most;
        text.push_str(&format!("{}{x:.1} {y:.1}", if text.is_empty() { "M" } else { "L" }));
        x += step_width();
    }
    // A single value is a dot.
    text + "h0"
}

fn busiest(state: &State) -> Markup {
    let told = state.issuer.tokens().tell(Instant::now());
    let mut named = told.named;
    named.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    let most = named.first().map_or(1, |(_, _, count)| *count).max(1);
    html! {
        section.card aria-labelledby="busiest" {
            h2 #busiest { "Busiest clients" }
            @if named.is_empty() && told.other == 0 {
                p.quiet { "No token was issued since the server started." }
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Each of the busiest clients" { table {
                    thead { tr { th scope="col" { "Client" } th scope="col" { "Audience" } th.number scope="col" { "Tokens" } } }
                    tbody {
                        @for (client, audience, count) in named.iter().take(BUSIEST) {
                            tr {
                                td {
                                    @if client == OTHER { (client) } @else { a href=(super::client::path(client)) { (client) } }
                                }
                                td { (audience) }
                                td.number {
                                    (grouped(*count))
                                    svg.meter viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                                        rect.track width="100" height="4" {}
                                        rect.fill width=(count * 100 / most) height="4" {}
                                    }
                                }
                            }
                        }
                    }
                } }
                p.quiet { "Since the server started." }
            }
        }
    }
}

/// A count a second.
fn a_second(count: u64, millis: i64) -> f64 {
    // Counts of an hour are far below what a float holds exactly.
    #[expect(clippy::cast_precision_loss)]
    let (count, millis) = (count as f64, millis.max(1000) as f64);
    count * 1000.0 / millis
}

fn rate(count: u64, millis: i64) -> String {
    decimal(a_second(count, millis))
}

fn decimal(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value > 0.0 => format!("{value:.2}"),
        _ => "0".into(),
    }
}

/// A number in groups of three digits.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A thin space that does not break.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!([0, 999].map(grouped), ["0", "999"]);
        assert_eq!([0.0, 0.033, 12.34, 1234.5].map(decimal), ["0", "0.03", "12.3", "1234"]);
        assert_eq!(rate(30, 30_000), "1.00");
        assert_eq!(rate(5, 0), "5.00", "less than a second counts as one");
    }

    #[test]
    fn the_last_value_stands_at_the_right() {
        assert_eq!(line(&[0.0, 2.0], 2.0), "M595.0 116.0L600.0 8.0h0");
        assert!(start(121).abs() < 1e-9);
    }
}
