//! `/admin/v1/keys`

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{Hold, KeyRecord, State as KeyState};
use m2mint_keys::signing_key::Algorithm;

use super::Call;
use super::idempotency::once;
use super::reply::{Reply, read};
use super::types::{
    ClockSet, Key, KeyEvent, Keys, KnownVerifier, Plan, PlanWanted, Revocation, RingPlan, RingRotation,
    RingVerifiers, Rotation, RotationWanted, SignalNow, Transition,
};
use crate::administration;
use crate::http::State;
use crate::http::error::problem::{Kind, Problem};
use crate::model::audience::parse_algorithm;
use crate::model::audit::{Origin, date_to_the_second as date};
use crate::model::verifier::Verifier;
use crate::rotation::timeline::{Event, Named, asked, future, past, signal_in_words};
use crate::rotation::view::{RingView, View, on_revocation};
use crate::store::keys::KeyRequest;

/// How many rotations to look ahead when nothing is said, and at most.
const ROTATIONS: u8 = 2;
const MOST_ROTATIONS: u8 = 20;

type Result<T> = std::result::Result<T, Problem>;

/// The keys, their states, and what comes next.
///
/// # Errors
/// When the file cannot be read.
pub async fn list(state: &State) -> Result<Keys> {
    Ok(render(&look(state).await?))
}

/// What happened to the keys, what will, and when a rotation happens that is asked for now.
///
/// # Errors
/// When the file cannot be read, or the number makes no sense.
pub async fn plan(state: &State, wanted: &PlanWanted) -> Result<Plan> {
    let rotations = wanted.rotations.unwrap_or(ROTATIONS);
    if !(1..=MOST_ROTATIONS).contains(&rotations) {
        let reason = format!("it is a number from 1 to {MOST_ROTATIONS}");
        return Err(Problem::invalid_field("rotations", reason));
    }
    Ok(render_plan(&look(state).await?, rotations))
}

/// Lets the standby sign: now, or as soon as the rule allows.
///
/// # Errors
/// When there are no such keys, or the file cannot be written.
pub async fn rotate(state: &State, origin: Origin, wanted: &RotationWanted) -> Result<Rotation> {
    let alg = wanted.alg.as_deref().map(parse_algorithm).transpose();
    let alg = alg.map_err(|error| Problem::invalid_field("alg", error))?;
    let concerned = |ring: &&RingView| alg.is_none_or(|alg| ring.ring.algorithm() == alg);
    let before = look(state).await?;
    if let Some(alg) = alg.filter(|_| !before.rings.iter().any(|ring| concerned(&ring))) {
        let detail = format!(
            "there are no {} keys; they are made when an audience wants them: PUT /admin/v1/audiences/NAME",
            alg.name()
        );
        return Err(Problem::new(Kind::Refused, detail));
    }
    ask(state, origin, KeyRequest::Rotate(alg)).await?;
    let after = look(state).await?;
    let signed = |ring: &RingView| before.rings.iter().any(|before| before.signing() == ring.signing());
    let rings = after.rings.iter().filter(concerned).map(|ring| RingRotation {
        alg: ring.ring.algorithm().name().to_owned(),
        rotated: !signed(ring),
        signs: ring.signing().map(Kid::to_string),
        next: transition(&after, ring),
    });
    Ok(Rotation { rings: rings.collect(), keys: render(&after) })
}

/// Takes a key out now. If it signed, the standby takes over.
///
/// # Errors
/// When there is no such key, it is revoked already, or the file cannot be written.
pub async fn revoke(state: &State, origin: Origin, kid: &str) -> Result<Revocation> {
    let before = look(state).await?;
    let key = Kid::parse(kid).and_then(|kid| before.get(&kid).cloned());
    let key = key.ok_or_else(|| Problem::new(Kind::KeyNotFound, format!("there is no key {kid}")))?;
    if key.state() == KeyState::Revoked {
        return Err(Problem::new(Kind::Conflict, format!("the key {kid} is revoked already")));
    }
    ask(state, origin, KeyRequest::Revoke(key.kid.clone())).await?;
    let after = look(state).await?;
    // One that is revoked may be gone altogether by now.
    if after.get(&key.kid).is_some_and(|key| key.state() != KeyState::Revoked) {
        return Err(Problem::new(
            Kind::Unavailable,
            "the revocation is stored, and not done yet; look again shortly",
        ));
    }
    let ring = after.rings.iter().find(|ring| ring.ring.algorithm() == key.public.algorithm());
    Ok(Revocation {
        kid: kid.to_owned(),
        signs: ring.and_then(RingView::signing).map(Kid::to_string),
        took_over: key.state() == KeyState::Active,
        keys: render(&after),
    })
}

/// `GET /admin/v1/keys`
///
/// # Errors
/// Those of [`list`].
pub async fn get_list(call: Call) -> Result<Reply> {
    let Call { state, .. } = call;
    Reply::ok(&list(&state).await?)
}

/// `GET /admin/v1/keys/plan`
///
/// # Errors
/// Those of [`plan`].
pub async fn get_plan(call: Call) -> Result<Reply> {
    let wanted: PlanWanted = call.query()?;
    let Call { state, .. } = call;
    Reply::ok(&plan(&state, &wanted).await?)
}

/// `POST /admin/v1/keys/rotate`: 200 when every ring that was meant has rotated, 202 when one has to wait.
///
/// # Errors
/// Those of [`rotate`].
pub async fn post_rotate(call: Call) -> Result<Reply> {
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let wanted: RotationWanted = read(&body)?;
    let work = async move {
        let rotation = rotate(&here, origin, &wanted).await?;
        let reply = Reply::ok(&rotation)?;
        Ok(if rotation.rings.iter().all(|ring| ring.rotated) { reply } else { reply.accepted() })
    };
    once(&state, &request, &caller.0, &body, work).await
}

/// `POST /admin/v1/keys/{kid}/revoke`
///
/// # Errors
/// Those of [`revoke`].
pub async fn post_revoke(call: Call) -> Result<Reply> {
    let kid: String = call.path()?;
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let work = async move { Reply::ok(&revoke(&here, origin, &kid).await?) };
    once(&state, &request, &caller.0, &body, work).await
}

async fn look(state: &State) -> Result<View> {
    let (policy, now) = (state.keeper.settings().policy, state.keeper.moment());
    Ok(state.look(move |store| View::read(store, policy, now)).await?)
}

/// Asks the keeper, durably, and waits until it has done what can be done at once.
async fn ask(state: &State, origin: Origin, request: KeyRequest) -> Result<()> {
    let now = state.clock.wall();
    state.change(move |store| administration::ask_for_keys(store, &request, now, &origin)).await?;
    Ok(state.keeper.reread().await?)
}

/// The plan for so many rotations, as it is answered.
#[must_use]
pub fn render_plan(view: &View, rotations: u8) -> Plan {
    let rings = view.rings.iter().map(|ring| ring_plan(view, ring, usize::from(rotations)));
    Plan { now: date(view.now.wall), rings: rings.collect() }
}

/// The keys as they are answered.
#[must_use]
pub fn render(view: &View) -> Keys {
    let key = |ring: &RingView, key: &KeyRecord| Key {
        kid: key.kid.to_string(),
        alg: key.public.algorithm().name().to_owned(),
        state: key.state().name().to_owned(),
        since: date(View::since(key)),
        signs_until: view.signs_until(ring, key).map(date),
        published_until: view.published_until(ring, key).map(date),
        longest_lifetime_seconds: key.longest_lifetime.as_secs(),
        on_revocation: on_revocation(key.state()).map(str::to_owned),
    };
    let soonest = view.rings.iter().min_by_key(|ring| ring.outlook.promotion_in.unwrap_or(i64::MAX));
    Keys {
        keys: view.rings.iter().flat_map(|ring| ring.ordered().map(|one| key(ring, one))).collect(),
        next: soonest.map(|ring| transition(view, ring)),
        clock_set: view.clock_set.as_ref().map(|set| ClockSet {
            at: set.at.clone(),
            ahead_by: set.ahead_by.clone(),
            back_by: set.back_by.clone(),
        }),
        next_by_alg: view.rings.iter().map(|ring| transition(view, ring)).collect(),
        verifiers: view.rings.iter().map(|ring| ring_verifiers(view, ring)).collect(),
    }
}

fn ring_verifiers(view: &View, ring: &RingView) -> RingVerifiers {
    let known = |(verifier, has_standby): (&Verifier, bool)| KnownVerifier {
        address: verifier.who.address.map(|address| address.to_string()),
        user_agent: verifier.who.agent.as_str().to_owned(),
        only_alg: verifier.who.alg.map(|alg| alg.name().to_owned()),
        has_standby,
        first_seen: date(verifier.first_seen),
        last_seen: date(verifier.last_seen),
        etag: verifier.held.etag.clone(),
        kids: verifier.held.kids.iter().map(Kid::to_string).collect(),
    };
    RingVerifiers {
        alg: ring.ring.algorithm().name().to_owned(),
        standby: ring.ring.keys.standby().map(|key| key.kid.to_string()),
        known: ring.reach.known(),
        have_standby: ring.reach.having.len(),
        in_words: view.reach(ring),
        verifiers: ring.reach.each().map(known).collect(),
    }
}

fn transition(view: &View, ring: &RingView) -> Transition {
    Transition {
        transition: "rotate".into(),
        alg: ring.ring.algorithm().name().to_owned(),
        in_seconds: ring.outlook.promotion_in.map(|wait| wait.max(0) / 1000),
        at: ring.outlook.promotion_in.map(|wait| date(view.in_millis(wait))),
        reason: ring.outlook.hold.map(|hold| hold.reason().to_owned()),
        asked: ring.ring.rotation_asked.is_some(),
        in_words: view.next(ring),
    }
}

fn ring_plan(view: &View, ring: &RingView, rotations: usize) -> RingPlan {
    let (wait, hold) = asked(view, ring);
    RingPlan {
        alg: Algorithm::name(ring.ring.algorithm()).to_owned(),
        past: past(ring).iter().map(event).collect(),
        signs: ring.signing().map(Kid::to_string),
        published: ring.ring.keys.published().map(|key| key.kid.to_string()).collect(),
        future: future(view, ring, rotations).iter().map(event).collect(),
        rotates_by_itself: ring.outlook.promotion_in.is_some(),
        signal_now: SignalNow {
            in_seconds: wait.map(|wait| wait.max(0) / 1000),
            at: wait.map(|wait| date(view.in_millis(wait))),
            reason: hold.map(|hold| Hold::reason(hold).to_owned()),
            asked_already: ring.ring.rotation_asked.is_some(),
            in_words: signal_in_words(view, ring),
        },
    }
}

fn event(event: &Event) -> KeyEvent {
    let (kid, new_key) = match &event.key {
        Named::Kid(kid) => (Some(kid.to_string()), None),
        Named::New(number) => (None, Some(*number)),
    };
    let what = event.what;
    KeyEvent { at: date(event.at), kid, new_key, what: what.name().into(), in_words: what.in_words().into() }
}
