//! How the log is written.

use std::sync::Arc;

use serde_json::Value;

use crate::support::{ADMIN_KEY, Process, process};

#[test]
fn where_no_terminal_and_no_journal_reads_it_the_log_is_json() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut command = process::command(directory.path());
    command.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", ADMIN_KEY);
    command.env_remove("M2MINT_LOG_FORMAT");
    let server = Process::spawn(directory, command);
    let client = server.client();
    server.wait_until("the entry is logged", || server.log.lock().contains("client.create"));
    let log = server.log.lock().clone();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = lines.iter().find_map(|line| {
        line["message"].as_str()?.strip_prefix("audit ").filter(|told| told.contains("client.create"))
    });
    let told: Value = serde_json::from_str(told.unwrap()).unwrap();
    assert_eq!(told["subject"], client.id);
    assert!(told["request"].is_string(), "{told}");
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(!log.contains(&client.secret) && !log.contains(ADMIN_KEY));
}

#[test]
fn whoever_wants_lines_gets_lines() {
    let server = Process::with(&[("M2MINT_LOG_FORMAT", "text")]);
    server.client();
    server.wait_until("the entry is logged", || server.log.lock().contains(" INFO audit {"));
}
