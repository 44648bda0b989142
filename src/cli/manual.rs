//! `m2mint completions` and `m2mint man`

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::output::{self, CliError, Result};

/// Prints the completions for a shell.
///
/// # Errors
/// Never: they are text.
pub fn completions(shell: Shell) -> Result {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "m2mint", &mut text);
    output::line(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

/// Prints the manual page, or writes it and those of all verbs into `folder`.
///
/// # Errors
/// When the folder cannot be written.
pub fn man(folder: Option<&Path>) -> Result {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        output::line(String::from_utf8_lossy(&page).trim_end());
        return Ok(());
    };
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error| CliError::Failed(format!("{} cannot be written: {error}", folder.display())))
}
