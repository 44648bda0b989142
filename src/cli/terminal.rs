//! What is known of the terminal: whether there is one, how wide it is, and whether it wants colour.

use std::io::{self, IsTerminal};

use clap::builder::styling::{AnsiColor, Style};

/// Titles.
pub const BOLD: Style = Style::new().bold();
/// What went wrong.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// What needs a look.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// What is good.
pub const GREEN: Style = AnsiColor::Green.on_default();

/// Columns of the terminal that standard output goes to; `None` when it goes elsewhere.
#[must_use]
pub fn output_width() -> Option<usize> {
    let output = io::stdout();
    if !output.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&output).ok()?;
    // Some terminals do not know, and say 0.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Text for standard output, in colour where that is wanted.
#[must_use]
pub fn paint_output(style: Style, text: &str) -> String {
    paint(style, text, &io::stdout())
}

/// Text for standard error, in colour where that is wanted.
#[must_use]
pub fn paint_error(style: Style, text: &str) -> String {
    paint(style, text, &io::stderr())
}

fn paint(style: Style, text: &str, to: &impl IsTerminal) -> String {
    if wants_colour(to) { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// Whether what goes there may be coloured: a terminal that can, and nobody who said no (`NO_COLOR`, <https://no-color.org>).
#[must_use]
pub fn wants_colour(to: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let can = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    to.is_terminal() && !refused && can
}
