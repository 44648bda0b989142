//! The questions, for somebody at a terminal.

use std::io::{self, BufRead as _, Write as _};
use std::path::Path;

use url::Url;

use super::{Answers, FirstClient};
use crate::cli::output::{CliError, Result};
use crate::cli::terminal::{self, BOLD};

/// Asks everything that has to be known.
///
/// # Errors
/// When the terminal ends.
pub fn ask() -> Result<Answers> {
    let mut answers = Answers::default();
    eprintln!(
        "m2mint needs a configuration, a master key and a database. Enter takes what stands in brackets.\n"
    );
    if rustix::process::geteuid().is_root() && Path::new("/run/systemd/system").exists() {
        answers.systemd = line("Make it a service of this machine? yes or no", "no")?.starts_with(['y', 'Y']);
    }
    loop {
        let url = line(
            "Under which URL will clients and verifiers know it? It stands in every token",
            "http://127.0.0.1:3567/auth",
        )?;
        match Url::parse(&url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
                answers.keys.push(("issuer".into(), url.trim_end_matches('/').to_owned()));
                break;
            }
            _ => eprintln!("Write a URL such as https://auth.example.com/auth."),
        }
    }
    loop {
        let id = line("The id of the first client; none for no client", "task-service")?;
        if id == "none" {
            break;
        }
        let audience = line("Which service will it call?", "event")?;
        let scope = line("What may it do there?", "event.view event.create")?;
        match FirstClient::new(&id, &[audience], &scope) {
            Ok(client) => {
                answers.client = Some(client);
                break;
            }
            Err(error) => eprintln!("{error}"),
        }
    }
    eprintln!();
    Ok(answers)
}

/// Asks whether to do it.
///
/// # Errors
/// [`CliError::Refused`] unless the answer is yes.
pub fn confirm() -> Result {
    match line("Make these?", "yes")?.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Refused("nothing was made".into())),
    }
}

fn line(question: &str, default: &str) -> Result<String> {
    eprint!("{} [{default}] ", terminal::paint_error(BOLD, question));
    io::stderr().flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(CliError::Refused("nothing was made".into()));
    }
    let answer = answer.trim();
    Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
}
