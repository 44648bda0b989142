//! How the log is written.

/// How the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines on a terminal, fields in the systemd journal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
    /// Fields of the systemd journal.
    Journal,
}

impl LogFormat {
    const ALL: [(Self, &str); 4] =
        [(Self::Auto, "auto"), (Self::Text, "text"), (Self::Json, "json"), (Self::Journal, "journal")];

    /// Reads its name.
    ///
    /// # Errors
    /// A sentence, for any other word.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(format, _)| format).ok_or_else(|| "write auto, text, json or journal".into())
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(format, _)| *format == self).map_or("auto", |(_, name)| name)
    }
}
