//! The command line: one file a verb.

pub mod admin_keys;
pub mod apply;
pub mod audiences;
pub mod audit;
pub mod backup;
pub mod beside;
pub mod clients;
pub mod config;
pub mod demo;
pub mod destination;
pub mod doctor;
pub mod export;
pub mod import;
pub mod init;
pub mod keys;
pub mod manual;
pub mod master_key;
pub mod output;
pub mod remote;
pub mod restore;
pub mod secrets;
pub mod serve;
pub mod services;
pub mod table;
pub mod terminal;
pub mod token;
pub mod unused;
pub mod verifier;
pub mod verify;
pub mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::cli::remote::Remote;
use crate::config::Sources;
use crate::hardening;

/// Machine-to-machine authorization server: one binary, one SQLite file.
#[derive(Debug, Parser)]
#[command(
    name = "m2mint",
    version = VERSION,
    about,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a rule\nExample: m2mint clients create --help"
)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve (what m2mint does when no verb is given)
    #[command(after_help = "Example: m2mint serve --config /etc/m2mint/m2mint.toml")]
    Serve,
    /// Play the story of three services with a rotation in the middle, on a folder that goes away
    #[command(after_help = "Example: m2mint demo")]
    Demo(demo::Demo),
    /// Make what a first start needs: configuration, master key, database, unit, first client
    #[command(
        after_help = "Configuration given by flags is written to the file. What exists already is kept as it is.\n\
                      Example: m2mint init --issuer https://auth.example.com/auth --client task-service --audience event --scope event.create"
    )]
    Init(init::Init),
    /// Show or check the configuration
    #[command(after_help = "Example: m2mint config show")]
    Config {
        #[command(subcommand)]
        action: config::Action,
    },
    /// Show, rotate and revoke signing keys
    #[command(after_help = "Example: m2mint keys rotate")]
    Keys {
        #[command(subcommand)]
        action: Option<keys::Action>,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make, show, change and remove clients
    #[command(
        after_help = "Example: m2mint clients create --id task-service --audience event --scope event.create"
    )]
    Clients {
        #[command(subcommand)]
        action: clients::Action,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show and set what tokens for an audience are signed with
    #[command(after_help = "Example: m2mint audiences set billing --alg ES256")]
    Audiences {
        #[command(subcommand)]
        action: Option<audiences::Action>,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Register services with the actions that they understand
    #[command(after_help = "Example: m2mint services add event --action event.view --action event.create")]
    Services {
        #[command(subcommand)]
        action: Option<services::Action>,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make services and clients what files declare
    #[command(after_help = apply::HELP)]
    Apply(apply::Apply),
    /// Take over the clients of another server
    #[command(after_help = "Example: m2mint import supertokens --url http://127.0.0.1:3567")]
    Import {
        #[command(subcommand)]
        from: import::From,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
    },
    /// Print services and clients as a file that `m2mint apply` takes
    #[command(after_help = "Example: m2mint export > clients.toml")]
    Export(export::Export),
    /// Add, list and remove the secrets of a client
    #[command(after_help = "Example: m2mint secrets add task-service --expires-in 90d")]
    Secrets {
        #[command(subcommand)]
        action: secrets::Action,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Add, list and remove admin keys, each with a name and roles
    #[command(after_help = "Example: m2mint admin-keys add deploy --role clients --expires 90d")]
    AdminKeys {
        #[command(subcommand)]
        action: admin_keys::Action,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show and check who did what
    #[command(after_help = "Example: m2mint audit --since 2d --client task-service")]
    Audit {
        #[command(subcommand)]
        action: Option<audit::Action>,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        filter: audit::Filter,
        #[command(flatten)]
        remote: Remote,
    },
    /// Change the key that seals all others
    #[command(after_help = "Example: m2mint master-key rotate")]
    MasterKey {
        #[command(subcommand)]
        action: master_key::Action,
    },
    /// Buy a token as a client does, and print it
    #[command(after_help = "Exit codes: 0 here it is, 3 the issuer refuses it\n\
                            Example: m2mint token task-service --audience event --scope event.create | m2mint verify -")]
    Token(token::Token),
    /// Tried settings for services that check tokens, and bad tokens to try on them
    #[command(after_help = "Example: m2mint verifier jose --audience event --scope event.create")]
    Verifier(verifier::Verifier),
    /// Explain a token: every claim, the signature, and what a service would answer
    #[command(after_help = "Exit codes: 0 the token is good, 3 it is refused\n\
                            Example: m2mint verify - --audience event --scope event.create")]
    Verify(verify::Verify),
    /// Look for what is wrong, or soon will be, and say how to mend it
    #[command(
        after_help = "Exit codes: 0 all is well, 1 something does not work, 3 something needs a look\n\
                            Example: m2mint doctor"
    )]
    Doctor(doctor::Doctor),
    /// Copy the database to a file, also while a server works on it, and read the copy again
    #[command(after_help = "Example: m2mint backup backup.db")]
    Backup {
        /// The file to make, or - for standard output
        to: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a backup in the place of the database, which is kept under another name
    #[command(after_help = "Example: m2mint restore backup.db")]
    Restore(restore::Restore),
    /// Print what makes a shell complete commands
    #[command(after_help = "Example: m2mint completions bash > /etc/bash_completion.d/m2mint")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all verbs into a folder
    #[command(after_help = "Example: m2mint man /usr/local/share/man/man1")]
    Man {
        /// The folder; made when there is none
        folder: Option<PathBuf>,
    },
}

/// Options that every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Settings {
    /// Configuration file [default: m2mint.toml, else /etc/m2mint/m2mint.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database file
    #[arg(long, global = true, value_name = "FILE")]
    database: Option<String>,
    /// Address and port, unix:PATH, or systemd
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// URL under which clients and verifiers know the server
    #[arg(long, global = true, value_name = "URL")]
    issuer: Option<String>,
    /// Log level or directives
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    /// Any other configuration key, such as rotation.every=30d
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<String>,
}

impl Settings {
    /// Where the configuration comes from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let named = [
            ("--database", "database", &self.database),
            ("--listen", "listen", &self.listen),
            ("--issuer", "issuer", &self.issuer),
            ("--log", "log", &self.log),
        ];
        let named = named
            .into_iter()
            .filter_map(|(flag, key, value)| Some((flag.into(), key.into(), value.clone()?)));
        let set = self.set.iter().map(|set| {
            // Without a value it is no setting: the parser has refused it.
            let (key, value) = set.split_once('=').unwrap_or((set, ""));
            ("--set".to_owned(), key.trim().to_owned(), value.trim().to_owned())
        });
        Sources::of_process(self.config.clone(), named.chain(set).collect())
    }
}

fn key_and_value(text: &str) -> std::result::Result<String, &'static str> {
    if text.contains('=') { Ok(text.to_owned()) } else { Err("write KEY=VALUE, such as rotation.every=30d") }
}

/// Version and crypto backend.
const VERSION: &str = if cfg!(feature = "aws-lc-rs") {
    concat!(env!("CARGO_PKG_VERSION"), " (aws-lc-rs)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (ring)")
};

/// Does a verb on the server that is named, or on the file.
fn either(
    remote: &Remote,
    there: impl FnOnce(&remote::Server) -> output::Result,
    here: impl FnOnce() -> output::Result,
) -> output::Result {
    remote.server()?.as_ref().map_or_else(here, there)
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    hardening::forbid_dumps();
    let cli = Cli::parse();
    let settings = &cli.settings;
    let done = match cli.verb.unwrap_or(Verb::Serve) {
        Verb::Serve => return serve::run(settings),
        Verb::Demo(demo) => demo::run(&demo),
        Verb::Init(init) => init::run(settings, &init),
        Verb::Config { action } => config::run(settings, &action),
        Verb::Keys { action, json, remote } => {
            let action = action.unwrap_or(keys::Action::List);
            either(
                &remote,
                |server| remote::keys(server, &action, json),
                || keys::run(settings, &action, json),
            )
        }
        Verb::Clients { action, json, remote } => either(
            &remote,
            |server| remote::clients(server, &action, json),
            || clients::run(settings, &action, json),
        ),
        Verb::Audiences { action, json, remote } => {
            let action = action.unwrap_or(audiences::Action::List);
            either(
                &remote,
                |server| remote::audiences(server, &action, json),
                || audiences::run(settings, &action, json),
            )
        }
        Verb::Services { action, json, remote } => {
            let action = action.unwrap_or(services::Action::List);
            either(
                &remote,
                |server| remote::services(server, &action, json),
                || services::run(settings, &action, json),
            )
        }
        Verb::Apply(arguments) => match apply::run(settings, &arguments) {
            Ok(true) if arguments.detailed_exitcode => {
                return output::all_was_shown()
                    .map_or_else(|error| error.exit_code(), |()| apply::CHANGED.into());
            }
            done => done.map(drop),
        },
        Verb::Import { from, json } => import::run(settings, &from, json),
        Verb::Export(export) => export::run(settings, &export),
        Verb::Secrets { action, json, remote } => either(
            &remote,
            |server| remote::secrets(server, &action, json),
            || secrets::run(settings, &action, json),
        ),
        Verb::AdminKeys { action, json, remote } => either(
            &remote,
            |server| remote::admin_keys(server, &action, json),
            || admin_keys::run(settings, &action, json),
        ),
        Verb::Audit { action, json, filter, remote } => {
            let action = action.unwrap_or(audit::Action::List(filter));
            either(
                &remote,
                |server| remote::audit(server, &action, json),
                || audit::run(settings, &action, json),
            )
        }
        Verb::MasterKey { action } => master_key::run(settings, &action),
        Verb::Token(token) => token::run(settings, &token),
        Verb::Verifier(verifier) => verifier::run(settings, &verifier),
        Verb::Verify(verify) => verify::run(settings, &verify),
        Verb::Doctor(doctor) => doctor::run(settings, &doctor),
        Verb::Backup { to, json } => backup::run(settings, &to, json),
        Verb::Restore(restore) => restore::run(settings, &restore),
        Verb::Completions { shell } => manual::completions(shell),
        Verb::Man { folder } => manual::man(folder.as_deref()),
    };
    match done.and_then(|()| output::all_was_shown()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error.to_string());
            error.exit_code()
        }
    }
}
