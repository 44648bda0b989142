//! `m2mint audiences --url`

use super::{Server, path};
use crate::cli::audiences::{Action, list, show_set};
use crate::cli::output::{CliError, Result};
use crate::http::v1::types::{Audience as AudienceJson, AudienceChange, Audiences};
use crate::model::Audience;

/// Runs the verb.
///
/// # Errors
/// When the name is not well formed, or a rule refuses the change.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    match action {
        Action::List => list(&server.get::<Audiences>("/audiences")?.audiences, as_json),
        Action::Set { name, alg, at_once } => {
            let name = Audience::parse(name).map_err(|error| CliError::Refused(error.to_string()))?;
            let change = AudienceChange { alg: alg.name().to_owned(), at_once: *at_once };
            let set: AudienceJson =
                server.change("PUT", &path(&["audiences", name.as_str()]), None, &change)?;
            show_set(&set, as_json)
        }
    }
}
