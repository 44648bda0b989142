use super::*;

pub(super) const A: i64 = 25 * 3_600_000;
pub(super) const L: Duration = Duration::from_secs(3600);
pub(super) const KEEP: i64 = 3_660_000;

pub(super) fn policy() -> Policy {
    Policy {
        every: None,
        propagation: Duration::from_secs(25 * 3600),
        clock_skew: Duration::from_secs(60),
        held_up: Duration::ZERO,
    }
}

pub(super) fn at(millis: i64) -> Moment {
    Moment {
        wall: UnixTime::from_millis(1_800_000_000_000 + millis),
        attested: Attested::from_millis(millis),
    }
}

pub(super) fn key(number: u8) -> NewKey {
    let public = PublicKey::from_bytes(Algorithm::EdDsa, &[number; 32]).unwrap();
    NewKey { kid: public.thumbprint(), public }
}

/// A ring that is served since time 0.
pub(super) fn ring() -> KeyRing {
    let mut ring = KeyRing::found(key(1), key(2), at(0), L);
    ring.apply(&Transition::ConfirmServed, at(0), None, L);
    ring
}

/// A ring in which key 2 signs, key 3 stands by and key 1 is retired, since time 0.
pub(super) fn rotated() -> KeyRing {
    let mut ring = ring();
    ring.apply(&Transition::Promote, at(0), Some(key(3)), L);
    ring.apply(&Transition::ConfirmServed, at(0), None, L);
    ring
}

fn states(ring: &KeyRing) -> Vec<State> {
    ring.records().iter().map(KeyRecord::state).collect()
}

#[test]
fn the_first_standby_may_be_promoted_at_once_and_any_other_after_a() {
    assert_eq!(ring().due(&policy(), at(0), true), Some(Transition::Promote));
    let rotated = rotated();
    assert_eq!(rotated.due(&policy(), at(1), true), None);
    let wait = Outlook { promotion_in: Some(A - 1), hold: Some(Hold::Propagating) };
    assert_eq!(rotated.outlook(&policy(), at(1), true), wait);
    assert_eq!(rotated.due(&policy(), at(A), true), Some(Transition::Delete(key(1).kid)));
}

#[test]
fn a_canary_is_signed_by_a_standby_that_is_served_and_outlived_by_its_key() {
    let minute = Duration::from_secs(60);
    let mut ring = KeyRing::found(key(1), key(2), at(0), L);
    assert_eq!(ring.allow_canary(at(0), minute), Err(CanaryError::NotServed));
    ring.apply(&Transition::ConfirmServed, at(0), None, L);
    assert_eq!(ring.allow_canary(at(0), minute), Ok((key(2).kid, minute)));
    assert_eq!(ring.allow_canary(at(0), L * 2), Ok((key(2).kid, L)), "no longer than any token of the key");
    // Signed by a clock that is set back by three days afterwards.
    let ahead = 72 * 3_600_000;
    ring.allow_canary(Moment { wall: at(ahead).wall, ..at(0) }, minute).unwrap();
    ring.apply(&Transition::Promote, at(0), Some(key(3)), L);
    ring.apply(&Transition::ConfirmServed, at(0), None, L);
    ring.apply(&Transition::Promote, at(A), Some(key(4)), L);
    ring.apply(&Transition::ConfirmServed, at(A), None, L);
    assert_eq!(ring.deletion_in(&key(2).kid, &policy(), at(A)), Some(ahead + KEEP - A));
}

#[test]
fn nothing_waits_from_before_it_was_served() {
    let mut ring = ring();
    ring.apply(&Transition::Promote, at(0), Some(key(3)), L);
    assert_eq!(ring.due(&policy(), at(A), true), Some(Transition::ConfirmServed));
    ring.apply(&Transition::ConfirmServed, at(A), None, L);
    assert_eq!(ring.outlook(&policy(), at(A), true).promotion_in, Some(A));
}

#[test]
fn a_promotion_retires_erases_and_makes_the_next_standby_in_one_step() {
    let ring = rotated();
    assert_eq!(states(&ring), [State::Retired, State::Active, State::Standby]);
    assert_eq!(
        ring.records().iter().map(KeyRecord::has_private_half).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(
        ring.published().map(|key| key.state().name()).collect::<Vec<_>>(),
        ["active", "standby", "retired"]
    );
}

#[test]
fn a_retired_key_is_kept_for_the_longest_lifetime_that_it_signed() {
    let mut ring = ring();
    assert!(ring.allow_lifetime(10 * L));
    assert!(!ring.allow_lifetime(L));
    ring.apply(&Transition::Promote, at(0), Some(key(3)), L);
    ring.apply(&Transition::ConfirmServed, at(0), None, L);
    let kept = 10 * 3_600_000 + 60_000;
    assert_eq!(ring.deletion_in(&key(1).kid, &policy(), at(0)), Some(kept));
    assert_eq!(ring.due(&policy(), at(kept - 1), false), None);
    assert_eq!(ring.due(&policy(), at(kept), false), Some(Transition::Delete(key(1).kid)));
}

#[test]
fn a_key_that_signed_by_a_clock_that_ran_ahead_is_kept_until_that_time_has_passed() {
    let mut ring = ring();
    ring.witness(at(1_000_000_000).wall);
    ring.apply(&Transition::Promote, at(0), Some(key(3)), L);
    ring.apply(&Transition::ConfirmServed, at(0), None, L);
    assert_eq!(ring.deletion_in(&key(1).kid, &policy(), at(0)), Some(1_000_000_000 + KEEP));
}

#[test]
fn a_wall_clock_that_jumps_deletes_nothing() {
    let rotated = rotated();
    let jumped = Moment { wall: at(i64::from(i32::MAX) * 1000).wall, ..at(0) };
    assert_eq!(rotated.due(&policy(), jumped, true), None);
}

#[test]
fn the_timer_asks_when_its_period_has_passed() {
    let policy = Policy { every: Some(Duration::from_secs(86_400 * 30)), ..policy() };
    let month = 30 * 86_400_000;
    let early = Outlook { promotion_in: Some(1), hold: Some(Hold::NotAsked) };
    assert_eq!(ring().outlook(&policy, at(month - 1), false), early);
    assert_eq!(ring().due(&policy, at(month), false), Some(Transition::Promote));
}

#[test]
fn a_fifth_published_key_waits_for_the_oldest_to_go() {
    let policy = Policy { propagation: Duration::from_secs(1), ..policy() };
    let mut ring = rotated();
    ring.apply(&Transition::Promote, at(10_000), Some(key(4)), L);
    ring.apply(&Transition::ConfirmServed, at(10_000), None, L);
    assert_eq!(ring.published().count(), MAX_PUBLISHED);
    let held_up = Outlook { promotion_in: Some(KEEP - 20_000), hold: Some(Hold::TooManyPublished) };
    assert_eq!(ring.outlook(&policy, at(20_000), true), held_up);
    assert_eq!(ring.due(&policy, at(20_000), true), None);
    ring.apply(&Transition::Delete(key(1).kid), at(KEEP), None, L);
    assert_eq!(ring.due(&policy, at(KEEP), true), Some(Transition::Promote));
}

#[test]
fn verifiers_that_lack_the_standby_hold_up_a_promotion_for_so_long_and_no_longer() {
    const W: i64 = 3_600_000;
    let lacking = Policy { held_up: Duration::from_millis(W.unsigned_abs()), ..policy() };
    let mut ring = rotated();
    ring.apply(&Transition::Delete(key(1).kid), at(KEEP), None, L);
    let outlook = |policy: &Policy, now| ring.outlook(policy, at(now), true);
    let waits = |wait, hold| Outlook { promotion_in: Some(wait), hold: Some(hold) };
    assert_eq!(outlook(&lacking, A - 1), waits(1, Hold::Propagating));
    assert_eq!(outlook(&lacking, A), waits(W, Hold::Lacking));
    assert_eq!(ring.due(&lacking, at(A + W - 1), true), None);
    assert_eq!(ring.due(&policy(), at(A + W - 1), true), Some(Transition::Promote));
    assert_eq!(ring.due(&lacking, at(A + W), true), Some(Transition::Promote));
    ring.revoke(&key(2).kid, at(A), Some(key(4)), L).unwrap();
    assert_eq!(ring.active().unwrap().kid, key(3).kid, "a revocation waits for nobody");
}

#[test]
fn revoking_the_active_key_lets_the_standby_sign_in_the_same_step() {
    let mut ring = rotated();
    ring.revoke(&key(2).kid, at(1), Some(key(4)), L).unwrap();
    assert_eq!(states(&ring), [State::Retired, State::Revoked, State::Active, State::Standby]);
    assert!(ring.published().all(|published| published.kid != key(2).kid));
    assert_eq!(ring.revoke(&key(2).kid, at(2), None, L), Err(RevokeError::AlreadyRevoked(key(2).kid)));
    assert_eq!(ring.revoke(&key(9).kid, at(2), None, L), Err(RevokeError::Unknown(key(9).kid)));
}

#[test]
fn revoking_a_standby_makes_another_one() {
    let mut ring = rotated();
    ring.revoke(&key(3).kid, at(1), Some(key(4)), L).unwrap();
    assert_eq!(states(&ring), [State::Retired, State::Active, State::Revoked, State::Standby]);
    assert!(!ring.get(&key(4).kid).unwrap().founding, "no verifier has it yet");
}

#[test]
fn records_that_contradict_each_other_are_no_ring() {
    let records = ring().records().to_vec();
    assert_eq!(KeyRing::from_records(records.clone()), Ok(ring()));
    assert_eq!(KeyRing::from_records(records[1..].to_vec()), Err(RingError::NotOneActive(0)));
    assert_eq!(
        KeyRing::from_records([&records[..1], &records[..1]].concat()),
        Err(RingError::NotOneActive(2))
    );
    assert_eq!(
        KeyRing::from_records([&records[..], &records[1..]].concat()),
        Err(RingError::ManyStandbys(2))
    );
    let mut swapped = records;
    swapped[0].public = PublicKey::from_bytes(Algorithm::EdDsa, &[9; 32]).unwrap();
    assert_eq!(KeyRing::from_records(swapped), Err(RingError::WrongKid(key(1).kid)));
}

#[test]
fn numbers_that_break_the_rule_are_refused_with_the_numbers() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let check = |policy: Policy, lifetime| policy.check(lifetime).map_err(|error| error.to_string());
    assert_eq!(check(policy(), hours(24)), Ok(()));
    assert!(check(Policy { propagation: Duration::ZERO, ..policy() }, L).unwrap_err().contains("0s"));
    let error = check(Policy { every: Some(hours(24)), ..policy() }, L).unwrap_err();
    assert!(error.contains("24h") && error.contains("25h"), "{error}");
    let error = check(Policy { every: Some(hours(25)), ..policy() }, hours(60)).unwrap_err();
    assert!(error.contains("25h") && error.contains("60h"), "{error}");
    assert_eq!(check(Policy { every: Some(hours(31)), ..policy() }, hours(60)), Ok(()));
}

#[test]
fn a_ring_that_joins_others_is_known_a_after_it_was_first_served() {
    let mut ring = KeyRing::join(key(1), key(2), at(0), L);
    assert_eq!(ring.known_in(&policy(), at(A)), A, "not served yet");
    ring.apply(&Transition::ConfirmServed, at(1), None, L);
    assert_eq!(ring.known_in(&policy(), at(1)), A);
    assert_eq!(ring.due(&policy(), at(A), true), None, "nor may its standby sign");
    assert_eq!(ring.known_in(&policy(), at(A + 1)), 0);
    assert_eq!(ring.due(&policy(), at(A + 1), true), Some(Transition::Promote));
}

#[test]
fn a_founding_ring_is_known_from_the_start() {
    assert_eq!(ring().known_in(&policy(), at(0)), 0);
}

#[test]
fn a_ring_has_one_algorithm() {
    let mut records = ring().records().to_vec();
    records[1].public = PublicKey::from_bytes(Algorithm::Es256, &[4; 65]).unwrap();
    records[1].kid = records[1].public.thumbprint();
    assert_eq!(KeyRing::from_records(records), Err(RingError::MixedAlgorithms));
}

#[test]
fn a_ring_that_was_put_back_follows_what_is_known_from_later() {
    let follow = |mut ring: KeyRing, signing: &[u8], retired: &[u8]| {
        let among = |numbers: &[u8], kid: &Kid| numbers.iter().any(|number| key(*number).kid == *kid);
        ring.follow(|kid| among(signing, kid), |kid| among(retired, kid), at(1), [key(8), key(9)], L);
        assert!(KeyRing::from_records(ring.records().to_vec()).is_ok());
        ring
    };
    let signer = |ring: &KeyRing| ring.active().unwrap().kid.clone();
    // Nothing happened since: nothing changes.
    assert_eq!(follow(ring(), &[1, 2], &[]), ring());
    // A rotation since: the standby of then signs.
    let once = follow(ring(), &[2, 3], &[1]);
    assert_eq!(states(&once), [State::Retired, State::Active, State::Standby]);
    assert_eq!(signer(&once), key(2).kid);
    // It may have signed until now, and is kept for as long as that from when the switch is served.
    assert_eq!(once.deletion_in(&key(1).kid, &policy(), at(1)), Some(KEEP));
    // Two rotations since: both are published, and a key that nobody knows signs.
    let twice = follow(ring(), &[3, 4], &[1, 2]);
    assert_eq!(states(&twice), [State::Retired, State::Retired, State::Active, State::Standby]);
    assert_eq!(signer(&twice), key(8).kid);
    // What was revoked or deleted since is out, whatever it was then.
    let revoked = follow(rotated(), &[3, 4], &[]);
    assert_eq!(states(&revoked), [State::Revoked, State::Revoked, State::Active, State::Standby]);
}
