//! Old copies of the database, put in its place.

use std::sync::Arc;

use rustix::process::Signal;

use crate::support::process::{command, run_to_end};
use crate::support::token::kid;
use crate::support::{ADMIN_KEY, Process};
use crate::table::{Plan, Row};

/// Keys that may be rotated every second, and tokens that are good for long.
const SETTINGS: [(&str, &str); 2] =
    [("M2MINT_ROTATION__PROPAGATION", "1s"), ("M2MINT_ROTATION__EVERY", "never")];

pub fn every_copy_from_before_a_change_of_keys_is_noticed(_: &Plan) -> Vec<Row> {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name);
    let server = Process::again(Arc::clone(&directory), &SETTINGS);
    let client = server.client();
    // Keys that may not sign any more, by the end.
    let mut gone = Vec::new();
    for change in 0..4 {
        server.verb(&["backup", &format!("copy-{change}.db")]);
        let before = server.active_kid("EdDSA");
        gone.push(before.clone());
        if change == 2 {
            server.verb(&["keys", "revoke", &before, "--yes"]);
        } else {
            server.signal(Signal::USR1);
        }
        server.wait_until("another signs", || server.active_kid("EdDSA") != before);
        server.token(&client);
        // At most four are published: the oldest goes by being revoked.
        if change == 1 {
            server.verb(&["keys", "revoke", &gone[0], "--yes"]);
        }
    }
    server.verb(&["backup", "copy-latest.db"]);
    server.stop();
    let witness = std::fs::read(path("m2mint.db.key.witness")).unwrap();
    let mut noticed = 0;
    for change in 0..4 {
        std::fs::copy(path(&format!("copy-{change}.db")), path("m2mint.db")).unwrap();
        std::fs::write(path("m2mint.db.key.witness"), &witness).unwrap();
        let mut serve = command(directory.path());
        serve.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", ADMIN_KEY);
        let output = run_to_end(serve.envs(SETTINGS));
        let said = String::from_utf8(output.stderr).unwrap();
        noticed += usize::from(!output.status.success() && said.contains("put back from a backup"));
        let output = command(directory.path()).args(["keys", "recover", "--yes"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let server = Process::again(Arc::clone(&directory), &SETTINGS);
        let signer = kid(&server.token(&client));
        assert!(!gone.contains(&signer), "{signer} signs again");
        assert!(!server.jwks().contains(&gone[2]), "a revoked key is published again");
        server.stop();
    }
    std::fs::copy(path("copy-latest.db"), path("m2mint.db")).unwrap();
    std::fs::write(path("m2mint.db.key.witness"), &witness).unwrap();
    drop(Process::again(directory, &SETTINGS));
    vec![
        Row::new(
            "copies from before a change of keys, put back: noticed, and no key that was out signs again",
            4,
            4 - noticed,
        ),
        Row::new("copies with the latest keys, put back: taken", 1, 0),
    ]
}
