//! OpenTelemetry traces: what took how long, for a collector. Part of the build with the feature `opentelemetry`; without it,
//! everything here is nothing, and costs nothing.
//!
//! | module | holds |
//! |---|---|
//! | [`parent`] | what a request says of the trace that it belongs to (W3C Trace Context) |
//! | `otlp`, `queue` | spans, on their way to a collector |
//! | `nothing` | what stands in for them in a build without traces |

pub mod parent;

use url::Url;

#[cfg(not(feature = "opentelemetry"))]
mod nothing;
#[cfg(feature = "opentelemetry")]
mod otlp;
#[cfg(feature = "opentelemetry")]
mod queue;

#[cfg(not(feature = "opentelemetry"))]
pub use nothing::{Span, Step, Traces, carried, step, task, within};
#[cfg(feature = "opentelemetry")]
pub use otlp::{Span, Step, Traces, carried, step, task, within};

/// Whether this build has traces.
pub const BUILT_IN: bool = cfg!(feature = "opentelemetry");

/// Where traces go, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The collector's URL for traces; `None` makes none.
    pub endpoint: Option<Url>,
    /// Of a million requests that belong to no trace yet, how many begin one.
    pub sampled: u32,
}

/// Why there can be no traces.
#[derive(Debug, thiserror::Error)]
#[error("there can be no traces: {0}")]
pub struct TracesError(pub String);
