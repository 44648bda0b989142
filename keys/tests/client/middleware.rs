//! Requests to a service, each with a token.

use crate::support::{Fake, Reply, run};
use crate::{TOKEN, answers, counting, granted, issuer, minutes, source};

#[test]
fn each_request_carries_a_token() {
    run(async {
        let server = issuer(counting());
        let service = Fake::start(|_| Reply::ok("done"));
        let client = source(&server).0.client();
        for _ in 0..3 {
            let answer = client.post(service.url("/events")).body("an event").send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "done");
        }
        let requests = service.requests();
        assert!(requests.iter().all(|request| request.header("authorization") == "Bearer token-1"));
        assert!(requests.iter().all(|request| request.body == "an event"));
        assert_eq!(server.count(TOKEN), 1);
    });
}

#[test]
fn a_request_that_is_refused_is_sent_once_more_with_a_new_token() {
    run(async {
        let server = issuer(counting());
        let service = Fake::start(|request| match request.header("authorization") {
            "Bearer token-2" => Reply::ok("done"),
            _ => Reply::status(401),
        });
        let (source, clock) = source(&server);
        source.token().await.unwrap();
        clock.pass(minutes(1));
        let answer = source.client().post(service.url("/events")).body("an event").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let sent: Vec<_> = service.requests().iter().map(|request| request.body.clone()).collect();
        assert_eq!(sent, ["an event", "an event"]);
    });
}

#[test]
fn a_service_that_always_refuses_costs_neither_side_a_storm() {
    run(async {
        let server = issuer(counting());
        let service = Fake::start(|_| Reply::status(401));
        let (source, clock) = source(&server);
        let client = source.client();
        source.token().await.unwrap();
        clock.pass(minutes(1));
        for _ in 0..10 {
            assert_eq!(client.get(service.url("/events")).send().await.unwrap().status().as_u16(), 401);
        }
        assert_eq!(server.count(TOKEN), 2, "one look for a better token");
        assert_eq!(service.requests().len(), 11, "and one more try");
        // An issuer that gives no other token leaves it at the first answer.
        answers(&server, |_| granted("token-2"));
        clock.pass(minutes(1));
        assert_eq!(client.get(service.url("/events")).send().await.unwrap().status().as_u16(), 401);
        assert_eq!(service.requests().len(), 12);
    });
}

#[test]
fn other_refusals_are_the_callers_affair() {
    run(async {
        let server = issuer(counting());
        let service = Fake::start(|_| Reply::status(403));
        let (source, clock) = source(&server);
        source.token().await.unwrap();
        clock.pass(minutes(1));
        assert_eq!(source.client().get(service.url("/")).send().await.unwrap().status().as_u16(), 403);
        assert_eq!((server.count(TOKEN), service.requests().len()), (1, 1));
    });
}

#[test]
fn a_token_is_not_carried_to_another_host() {
    run(async {
        let server = issuer(counting());
        let elsewhere = Fake::start(|_| Reply::ok("hello"));
        let target = elsewhere.url("/");
        let service = Fake::start(move |_| Reply::status(302).with("location", target.clone()));
        let answer = source(&server).0.client().get(service.url("/")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "hello");
        assert_eq!(elsewhere.requests()[0].header("authorization"), "");
    });
}

#[test]
fn without_a_token_nothing_is_sent() {
    run(async {
        let server = issuer(|_| Reply::status(503));
        let service = Fake::start(|_| Reply::ok("done"));
        assert!(source(&server).0.client().get(service.url("/")).send().await.is_err());
        assert_eq!(service.requests().len(), 0);
    });
}
