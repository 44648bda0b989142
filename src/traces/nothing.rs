//! What stands in for traces in a build without them.

use std::time::Duration;

use crate::traces::parent::Parent;
use crate::traces::{Settings, TracesError};

/// No traces.
#[derive(Debug, Clone)]
pub struct Traces;

/// There is none.
#[derive(Debug)]
pub enum Span {}

/// Nothing.
#[derive(Debug)]
#[must_use]
pub struct Step;

impl Traces {
    /// Nothing.
    ///
    /// # Errors
    /// [`TracesError`] when traces are asked for.
    pub fn start(settings: &Settings) -> Result<Self, TracesError> {
        match settings.endpoint {
            Some(_) => Err(TracesError("this program was built without them".into())),
            None => Ok(Self),
        }
    }

    /// Nothing.
    #[must_use]
    pub fn begin<'a>(&self, _parent: impl FnOnce() -> Option<Parent<'a>>) -> Option<Span> {
        None
    }

    /// Does the work.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// Nothing.
    pub fn stop(&self, _patience: Duration) {}
}

impl Span {
    /// Nothing.
    pub fn name(&self, _name: String) {
        match *self {}
    }

    /// Nothing.
    pub fn note(&self, _key: &'static str, _value: impl Into<String>) {
        match *self {}
    }

    /// Nothing.
    pub fn count(&self, _key: &'static str, _value: i64) {
        match *self {}
    }

    /// Nothing.
    pub fn fail(&self) {
        match *self {}
    }

    /// Nothing.
    pub fn end(self) {
        match self {}
    }
}

impl Step {
    /// Nothing.
    pub fn note(&self, _key: &'static str, _value: impl Into<String>) {}
}

/// The future itself.
pub fn within<F: Future>(_span: Option<&Span>, future: F) -> F {
    future
}

/// The work itself.
pub fn carried<T, W: FnOnce() -> T>(work: W) -> W {
    work
}

/// Nothing.
pub fn step(_name: &'static str) -> Step {
    Step
}

/// Nothing.
pub fn task(_name: &'static str) -> Step {
    Step
}
