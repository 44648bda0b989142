//! The life of the keys of a ring as a picture.
//!
//! Minutes and months have to stand side by side: what a verifier caches for a day, and a key that signs for a quarter. So
//! time runs on a logarithmic scale to both sides of now, with marks that say how far away is what.

use std::collections::BTreeMap;

use m2mint_keys::key_ring::State;
use m2mint_keys::key_ring::forecast::Change;
use m2mint_keys::time::UnixTime;
use maud::{Markup, html};

use crate::model::audit::date_to_the_second;
use crate::rotation::keeper::in_words;
use crate::rotation::timeline::{Event, Named, What};

const WIDTH: f64 = 960.0;
/// Where names end and time begins.
const LEFT: f64 = 150.0;
const RIGHT: f64 = WIDTH - 18.0;
const TOP: f64 = 46.0;
const ROW: f64 = 42.0;
const BAR: f64 = 20.0;
const BOTTOM: f64 = 34.0;
/// On this side of it, time runs nearly evenly.
const NEAR: f64 = 3_600_000.0;
/// How far away the marks are, in milliseconds.
const MARKS: [(i64, &str); 7] = [
    (3_600_000, "1 h"),
    (6 * 3_600_000, "6 h"),
    (86_400_000, "1 d"),
    (7 * 86_400_000, "1 w"),
    (30 * 86_400_000, "30 d"),
    (90 * 86_400_000, "90 d"),
    (365 * 86_400_000, "1 y"),
];

/// What a key is during a part of its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub state: State,
    /// From when on.
    pub from: UnixTime,
    /// Until when; `None` where nothing is known to end it.
    pub until: Option<UnixTime>,
}

/// A key and the parts of its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// How it is called.
    pub name: String,
    /// Whether it exists, rather than will.
    pub exists: bool,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

impl Life {
    /// What the key is at `now`.
    #[must_use]
    pub fn state(&self, now: UnixTime) -> Option<State> {
        let current = self.parts.iter().rev().find(|part| part.from <= now)?;
        current.until.is_none_or(|until| until > now).then_some(current.state)
    }
}

/// The lives that `events` tell of, in the order in which they begin.
#[must_use]
pub fn lives<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Life> {
    let mut order: Vec<String> = Vec::new();
    let mut by_name: BTreeMap<String, Life> = BTreeMap::new();
    for event in events {
        let name = event.key.text();
        if !by_name.contains_key(&name) {
            order.push(name.clone());
        }
        let exists = matches!(event.key, Named::Kid(_));
        let life = by_name.entry(name.clone()).or_insert_with(|| Life { name, exists, parts: Vec::new() });
        if let Some(last) = life.parts.last_mut() {
            last.until = Some(event.at);
        }
        let state = match event.what {
            What::Rule(Change::Published) => State::Standby,
            What::Founded | What::Rule(Change::Signs) => State::Active,
            What::Rule(Change::Retired) => State::Retired,
            What::Revoked => State::Revoked,
            What::Rule(Change::Deleted) => continue,
        };
        life.parts.push(Part { state, from: event.at, until: None });
    }
    order.into_iter().filter_map(|name| by_name.remove(&name)).collect()
}

/// From moments to places in the picture.
struct Scale {
    now: UnixTime,
    before: f64,
    after: f64,
}

impl Scale {
    fn over(now: UnixTime, moments: impl Iterator<Item = UnixTime>) -> Self {
        let (mut before, mut after) = (stretch(2 * 3_600_000), stretch(24 * 3_600_000));
        for moment in moments {
            let at = stretch(moment.millis().saturating_sub(now.millis()));
            before = before.max(-at);
            after = after.max(at);
        }
        // Both sides keep some room for what never ends.
        Self { now, before: before * 1.04, after: after * 1.06 }
    }

    fn x(&self, moment: UnixTime) -> f64 {
        self.x_of(moment.millis().saturating_sub(self.now.millis()))
    }

    fn x_of(&self, millis: i64) -> f64 {
        let part = (stretch(millis) + self.before) / (self.before + self.after);
        LEFT + (RIGHT - LEFT) * part.clamp(0.0, 1.0)
    }

    fn holds(&self, millis: i64) -> bool {
        (-self.before..=self.after).contains(&stretch(millis))
    }
}

fn stretch(millis: i64) -> f64 {
    // Moments of centuries are exact in a float.
    #[expect(clippy::cast_precision_loss)]
    let millis = millis as f64;
    millis.signum() * (millis.abs() / NEAR).ln_1p()
}

/// The picture of one ring. `queued` says when a rotation that was asked for will happen.
#[must_use]
pub fn picture(id: &str, title: &str, lives: &[Life], queued: Option<UnixTime>, now: UnixTime) -> Markup {
    let ends = lives.iter().flat_map(|life| &life.parts).flat_map(|part| [Some(part.from), part.until]);
    let scale = Scale::over(now, ends.flatten().chain(queued));
    let rows = f64::from(u16::try_from(lives.len()).unwrap_or(u16::MAX));
    let height = TOP + ROW * rows + BOTTOM;
    let here = scale.x(now);
    let floor = TOP + ROW * rows;
    html! {
        div.scroll.picture tabindex="0" role="region" aria-labelledby={ (id) "-title" } {
            svg.timeline role="img" aria-labelledby={ (id) "-title " (id) "-told" } viewBox={ "0 0 " (WIDTH) " " (height) } {
                title id={ (id) "-title" } { (title) }
                desc id={ (id) "-told" } { (told(lives, queued, now)) }
                @for (millis, name) in marks(&scale) {
                    @let x = format!("{:.1}", scale.x_of(millis));
                    line.grid x1=(x) x2=(x) y1=(TOP - 8.0) y2=(floor) {}
                    text.mark x=(x) y=(floor + 20.0) text-anchor="middle" { (if millis < 0 { "−" } else { "+" }) (name) }
                }
                @for (life, y) in lives.iter().zip((0_u16..).map(|at| TOP + ROW * f64::from(at))) {
                    (row(life, y, &scale, now))
                }
                line.now x1=(format!("{here:.1}")) x2=(format!("{here:.1}")) y1="22" y2=(floor) {}
                text.now-name x=(format!("{here:.1}")) y="15" text-anchor="middle" { "now" }
                @if let Some(at) = queued {
                    @let x = format!("{:.1}", scale.x(at));
                    line.queued x1=(x) x2=(x) y1="22" y2=(floor) {}
                    text.queued-name x=(x) y="15" text-anchor="middle" { "queued" }
                }
            }
        }
        ul.legend aria-hidden="true" {
            @for state in ["standby", "active", "retired", "revoked"] {
                li { svg viewBox="0 0 18 12" width="18" height="12" { rect class={ "part " (state) } x="1" y="1" width="16" height="10" rx="3" {} } (state) }
            }
            li { svg viewBox="0 0 18 12" width="18" height="12" { rect.part.active.planned x="1" y="1" width="16" height="10" rx="3" {} } "still to come" }
        }
    }
}

/// Marks that do not stand on each other's feet.
fn marks(scale: &Scale) -> Vec<(i64, &'static str)> {
    let mut all: Vec<_> =
        MARKS.iter().flat_map(|(millis, name)| [(-*millis, *name), (*millis, *name)]).collect();
    all.retain(|(millis, _)| scale.holds(*millis));
    all.sort_unstable_by_key(|(millis, _)| millis.abs());
    let mut placed = vec![scale.x_of(0)];
    all.retain(|(millis, _)| {
        let x = scale.x_of(*millis);
        let has_room = placed.iter().all(|other| (other - x).abs() > 46.0);
        if has_room {
            placed.push(x);
        }
        has_room
    });
    all
}

fn row(life: &Life, y: f64, scale: &Scale, now: UnixTime) -> Markup {
    let state = life.state(now).map_or("to come", State::name);
    let middle = y + ROW / 2.0;
    html! {
        line.row x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
        text.key-name x="4" y=(middle - 2.0) { (short(&life.name)) }
        text.key-state x="4" y=(middle + 13.0) { (state) }
        @for part in &life.parts {
            @for (from, until, planned) in pieces(part, now) {
                @let x = scale.x(from);
                @let width = (until.map_or(RIGHT, |until| scale.x(until)) - x).max(2.0);
                rect class={ "part " (part.state.name()) (if planned { " planned" } else { "" }) }
                    x=(format!("{x:.1}")) y=(y + (ROW - BAR) / 2.0) width=(format!("{width:.1}")) height=(BAR) rx="4" {
                    title {
                        (short(&life.name)) ": " (part.state.name()) ", from " (date_to_the_second(part.from))
                        @if let Some(until) = part.until { " until " (date_to_the_second(until)) }
                    }
                }
            }
        }
    }
}

/// A part of a life, cut where now is: what was, and what is still to come. What was revoked is over.
fn pieces(part: &Part, now: UnixTime) -> Vec<(UnixTime, Option<UnixTime>, bool)> {
    let is_over = part.until.is_some_and(|until| until <= now);
    if is_over || part.state == State::Revoked {
        return vec![(part.from, Some(part.until.map_or(now, |until| until.min(now)).max(part.from)), false)];
    }
    if part.from >= now {
        return vec![(part.from, part.until, true)];
    }
    vec![(part.from, Some(now), false), (now, part.until, true)]
}

/// The first letters of a kid: enough to tell keys apart.
#[must_use]
pub fn short(name: &str) -> String {
    if name.len() > 40 {
        format!("{}…", name.chars().take(10).collect::<String>())
    } else {
        name.to_owned()
    }
}

/// The picture in words.
fn told(lives: &[Life], queued: Option<UnixTime>, now: UnixTime) -> String {
    let mut text: Vec<String> = Vec::new();
    for life in lives {
        let parts: Vec<_> = life
            .parts
            .iter()
            .map(|part| {
                let wait = part.from.millis().saturating_sub(now.millis());
                let when = if wait > 0 {
                    format!("in {}", in_words(Some(wait)))
                } else {
                    format!("since {} ago", in_words(Some(-wait)))
                };
                format!("{} {when}", part.state.name())
            })
            .collect();
        text.push(format!("{}: {}.", short(&life.name), parts.join(", ")));
    }
    if let Some(at) = queued {
        let wait = at.millis().saturating_sub(now.millis());
        text.push(format!("A rotation is queued, and happens in {}.", in_words(Some(wait))));
    }
    text.join(" ")
}

#[cfg(test)]
mod tests {
    use m2mint_keys::signing_key::{Algorithm, SigningKey};

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn at(hours: i64) -> UnixTime {
        UnixTime::from_millis(NOW.millis() + hours * 3_600_000)
    }

    fn events() -> Vec<Event> {
        let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let kid = || Named::Kid(key.kid().clone());
        [
            (-48, kid(), What::Rule(Change::Published)),
            (-20, kid(), What::Rule(Change::Signs)),
            (24, kid(), What::Rule(Change::Retired)),
            (24, Named::New(1), What::Rule(Change::Published)),
            (25, kid(), What::Rule(Change::Deleted)),
        ]
        .map(|(hours, key, what)| Event { at: at(hours), key, what })
        .into()
    }

    #[test]
    fn a_life_has_parts_that_end_where_the_next_begins() {
        let lives = lives(events().iter());
        let parts = |life: &Life| {
            life.parts.iter().map(|part| (part.state, part.from, part.until)).collect::<Vec<_>>()
        };
        assert_eq!(
            parts(&lives[0]),
            [
                (State::Standby, at(-48), Some(at(-20))),
                (State::Active, at(-20), Some(at(24))),
                (State::Retired, at(24), Some(at(25))),
            ]
        );
        assert_eq!(parts(&lives[1]), [(State::Standby, at(24), None)]);
        assert!(lives[0].exists && !lives[1].exists);
        assert_eq!((lives[0].state(NOW), lives[1].state(NOW)), (Some(State::Active), None));
        assert_eq!(lives[0].state(at(25)), None, "deleted");
    }

    #[test]
    fn what_lasts_over_now_is_cut_there() {
        let part = Part { state: State::Active, from: at(-1), until: Some(at(1)) };
        assert_eq!(pieces(&part, NOW), [(at(-1), Some(NOW), false), (NOW, Some(at(1)), true)]);
        for until in [None, Some(at(1))] {
            let part = Part { state: State::Revoked, from: at(-1), until };
            assert_eq!(
                pieces(&part, NOW),
                [(at(-1), Some(NOW), false)],
                "out of use, however long it is kept"
            );
        }
    }

    #[test]
    fn places_are_in_the_order_of_time_and_within_the_picture() {
        let scale = Scale::over(NOW, [at(-2400), at(4800)].into_iter());
        let places: Vec<_> = [-2400, -24, -1, 0, 1, 24, 4800].map(|hours| scale.x(at(hours))).into();
        assert!(places.is_sorted() && places[0] >= LEFT && places[6] <= RIGHT, "{places:?}");
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 20.0), "{places:?}");
    }

    #[test]
    fn the_picture_is_told_in_words_too() {
        let drawn = picture("ring", "Keys", &lives(events().iter()), Some(at(24)), NOW).into_string();
        for said in [
            "role=\"img\"",
            "active since 20h ago",
            "retired in 1d",
            "A rotation is queued",
            "class=\"part active planned\"",
        ] {
            assert!(drawn.contains(said), "{said}: {drawn}");
        }
        assert!(!drawn.contains("style="));
    }
}
