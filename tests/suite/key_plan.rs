//! `keys plan`: the timeline of the keys, and when a rotation that is asked for now would happen.

use serde_json::Value;

use crate::support::Process;

/// The plan of the only ring.
fn plan(server: &Process) -> Value {
    server.verb_json(&["keys", "plan", "--json"])["rings"][0].clone()
}

/// What happens to which key, in order.
fn told(events: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| format!("new {value}"), str::to_owned);
    let key = |event: &Value| if event["kid"].is_null() { &event["new_key"] } else { &event["kid"] }.clone();
    let one = |event: &Value| (text(&key(event)), text(&event["what"]));
    events.as_array().unwrap().iter().map(one).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(key, what)| (key.to_owned(), what.to_owned())).collect()
}

fn seconds(time: &Value) -> u64 {
    let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_plan_tells_what_happened_and_what_the_rule_will_do() {
    let server = Process::start();
    let before = plan(&server);
    let (first, second) = (before["signs"].as_str().unwrap(), before["published"][1].as_str().unwrap());
    assert_eq!(told(&before["past"]), pairs(&[(first, "founded"), (second, "published")]));
    assert_eq!(
        told(&before["future"]),
        pairs(&[
            (second, "signs"),
            (first, "retired"),
            ("new 1", "published"),
            (first, "deleted"),
            ("new 1", "signs"),
            (second, "retired"),
            ("new 2", "published"),
            (second, "deleted"),
        ])
    );
    assert_eq!(before["signal_now"]["in_seconds"], 0);
    assert_eq!(before["signal_now"]["reason"], Value::Null);

    server.verb(&["keys", "rotate"]);
    // Until the server has seen that it serves the new standby, the plan says that this is what a rotation waits for.
    let mut after = plan(&server);
    server.wait_until("served", || {
        after = plan(&server);
        after["signal_now"]["reason"].as_str().is_some_and(|reason| reason.contains("verifiers"))
    });
    let third = after["published"][1].as_str().unwrap();
    assert_eq!(after["signs"], second);
    assert_eq!(
        told(&after["past"])[2..],
        pairs(&[(first, "retired"), (second, "signs"), (third, "published")])
    );
    assert_eq!(told(&after["future"])[..2], pairs(&[(first, "deleted"), (third, "signs")]));
    let signal = &after["signal_now"];
    assert!((89_900..=90_000).contains(&signal["in_seconds"].as_u64().unwrap()), "{signal}");
    assert!(signal["reason"].as_str().unwrap().contains("verifiers"), "{signal}");

    let shown = server.verb(&["keys", "plan"]);
    for expected in
        ["NOW: signs with EdDSA", "new key 1", "its tokens still verify", "happens in 1d 1h", "verifiers"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert_eq!(server.run(&["keys", "plan", "--rotations", "0"]).status.code(), Some(2));
}

#[test]
fn what_the_plan_says_of_a_queued_rotation_comes_true() {
    let quick = [("M2MINT_ROTATION__PROPAGATION", "6s"), ("M2MINT_ROTATION__EVERY", "never")];
    let server = Process::with(&quick);
    let with_numbers = |arguments: &[&str]| {
        let set = ["--set", "rotation.propagation=6s", "--set", "rotation.every=never"];
        server.verb_json(&[arguments, &set, &["--json"]].concat())
    };
    server.verb(&["keys", "rotate"]);
    let idle = with_numbers(&["keys", "plan"])["rings"][0].clone();
    assert!(
        told(&idle["future"]).iter().all(|(_, what)| what == "deleted"),
        "nothing rotates by itself: {idle}"
    );
    let next = idle["published"][1].as_str().unwrap();

    with_numbers(&["keys", "rotate"]);
    let queued = with_numbers(&["keys", "plan"])["rings"][0].clone();
    assert_eq!(queued["signal_now"]["asked_already"], true, "{queued}");
    let planned =
        queued["future"].as_array().unwrap().iter().find(|event| event["what"] == "signs").unwrap().clone();
    assert_eq!(planned["kid"], next);
    server.wait_until("rotated", || server.active_kid("EdDSA") == next);
    let past = with_numbers(&["keys", "plan"])["rings"][0]["past"].clone();
    let happened =
        past.as_array().unwrap().iter().rev().find(|event| event["what"] == "signs").unwrap().clone();
    assert_eq!(happened["kid"], next);
    let late = seconds(&happened["at"]).abs_diff(seconds(&planned["at"]));
    assert!(late <= 2, "planned {planned}, happened {happened}");
}

#[test]
fn a_revoked_key_stands_in_the_plan_as_such() {
    let server = Process::start();
    let revoked = server.active_kid("EdDSA");
    server.verb(&["keys", "revoke", &revoked, "--yes"]);
    let plan = plan(&server);
    assert!(told(&plan["past"]).contains(&(revoked.clone(), "revoked".into())), "{plan}");
    assert!(!plan["published"].as_array().unwrap().contains(&revoked.into()));
    assert_ne!(plan["signal_now"]["in_seconds"], 0, "the new standby is known to nobody yet");
}
