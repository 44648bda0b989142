//! Metrics as text: OpenMetrics 1.0, or the format of Prometheus that came before it (0.0.4).

use std::fmt::{Display, Write as _};

use crate::metrics::histogram::Reading;

/// How they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4.
    Prometheus,
}

impl Format {
    /// What `accept` asks for: OpenMetrics, unless only the other one is named.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let names = |kind: &str| accept.to_ascii_lowercase().contains(kind);
        if names("text/plain") && !names("application/openmetrics-text") {
            Self::Prometheus
        } else {
            Self::OpenMetrics
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// What kind of numbers a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grow.
    Counter,
    /// Go up and down.
    Gauge,
    /// Durations, counted by how long they were.
    Histogram,
    /// Always 1: the labels say it.
    Info,
}

/// Writes families of metrics, one after the other.
pub struct Text {
    format: Format,
    out: String,
    family: &'static str,
    suffix: &'static str,
}

/// Labels of a sample: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// Nothing yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(32 * 1024), family: "", suffix: "" }
    }

    /// Begins a family. A counter's name goes without `_total`, an info's without `_info`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        self.family = name;
        self.suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let (suffix, kind) = match (self.format, kind) {
            (Format::Prometheus, Kind::Info) => (self.suffix, "gauge"),
            (Format::Prometheus, Kind::Counter) => (self.suffix, "counter"),
            (_, Kind::Info) => ("", "info"),
            (_, Kind::Counter) => ("", "counter"),
            (_, Kind::Gauge) => ("", "gauge"),
            (_, Kind::Histogram) => ("", "histogram"),
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
        if let Some(unit) =
            ["seconds", "bytes"].into_iter().find(|unit| name.rsplit('_').next() == Some(unit))
            && self.format == Format::OpenMetrics
        {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        self
    }

    /// A number of the family.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        let _ = write!(self.out, "{}{}", self.family, self.suffix);
        self.labels(labels, None);
        let _ = writeln!(self.out, " {value}");
        self
    }

    /// A histogram of the family.
    pub fn histogram(&mut self, labels: Labels<'_>, reading: &Reading) -> &mut Self {
        for (bound, count) in &reading.buckets {
            let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".into() };
            let _ = write!(self.out, "{}_bucket", self.family);
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.out, " {count}");
        }
        for (suffix, value) in [("_count", reading.count.to_string()), ("_sum", reading.sum.to_string())] {
            let _ = write!(self.out, "{}{suffix}", self.family);
            self.labels(labels, None);
            let _ = writeln!(self.out, " {value}");
        }
        self
    }

    /// All of it.
    #[must_use]
    pub fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn labels(&mut self, labels: Labels<'_>, bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut opening = '{';
        for (name, value) in all {
            let _ = write!(self.out, "{opening}{name}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut text = Text::new(format);
        text.family("a_b", Kind::Counter, "Counts.").sample(&[("name", "q\"b\\n\n")], 3);
        text.family("c", Kind::Info, "Says.").sample(&[("version", "1")], 1);
        let reading = Reading { buckets: vec![(0.5, 1), (f64::INFINITY, 2)], count: 2, sum: 1.25 };
        text.family("d_seconds", Kind::Histogram, "Takes.").histogram(&[("x", "y")], &reading);
        text.end()
    }

    #[test]
    fn openmetrics_names_families_without_total_and_ends() {
        let expected = "# HELP a_b Counts.\n# TYPE a_b counter\na_b_total{name=\"q\\\"b\\\\n\\n\"} 3\n\
            # HELP c Says.\n# TYPE c info\nc_info{version=\"1\"} 1\n\
            # HELP d_seconds Takes.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\n\
            d_seconds_bucket{x=\"y\",le=\"0.5\"} 1\nd_seconds_bucket{x=\"y\",le=\"+Inf\"} 2\n\
            d_seconds_count{x=\"y\"} 2\nd_seconds_sum{x=\"y\"} 1.25\n# EOF\n";
        assert_eq!(written(Format::OpenMetrics), expected);
    }

    #[test]
    fn the_older_format_names_samples() {
        let written = written(Format::Prometheus);
        assert!(written.starts_with("# HELP a_b_total Counts.\n# TYPE a_b_total counter\na_b_total{"));
        assert!(
            written.contains("# TYPE c_info gauge\n")
                && !written.contains("EOF")
                && !written.contains("UNIT")
        );
    }

    #[test]
    fn openmetrics_is_spoken_unless_only_the_older_format_is_asked_for() {
        for (accept, format) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/plain", Format::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::wanted(accept), format, "{accept}");
        }
    }
}
