//! Runs the cases and prints what was tried, how often, and what got through.

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// How much is tried, and which cases run.
#[derive(Debug, Default)]
pub struct Plan {
    /// As often as the promises are about, instead of as often as there is patience for in between.
    pub long: bool,
    samples: Option<u32>,
    names: Vec<String>,
}

const USAGE: &str = "usage: tests/security/run [--long] [--samples N] [NAME...]";

impl Plan {
    pub fn of(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--long" => plan.long = true,
                "--samples" => {
                    let samples = arguments.next().and_then(|number| number.parse().ok());
                    plan.samples = Some(
                        samples
                            .filter(|samples| *samples >= 1000)
                            .ok_or("--samples takes a number from 1000 up")?,
                    );
                }
                unknown if unknown.starts_with('-') => {
                    return Err(format!("{unknown} is not known; {USAGE}"));
                }
                name => plan.names.push(name.into()),
            }
        }
        Ok(plan)
    }

    /// The number for this plan.
    pub fn either(&self, short: u32, long: u32) -> u32 {
        if self.long { long } else { short }
    }

    /// Samples of each kind that times are compared by.
    pub fn samples(&self) -> u32 {
        self.samples.unwrap_or(self.either(2_000, 100_000))
    }

    fn includes(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Something that is tried.
pub struct Case {
    pub name: &'static str,
    /// Panics, or reports what got through, where a promise is broken.
    pub run: fn(&Plan) -> Vec<Row>,
}

/// A line of the table.
#[derive(Debug)]
pub struct Row {
    tried: String,
    times: u64,
    through: u64,
    /// How many may; `None` when they are only told.
    allowed: Option<RangeInclusive<u64>>,
}

impl Row {
    /// What may get through so often, and no more.
    pub fn new(tried: impl Into<String>, times: u32, through: u32, allowed: RangeInclusive<u32>) -> Self {
        let (least, most) = allowed.into_inner();
        let allowed = Some(u64::from(least)..=u64::from(most));
        Self { tried: tried.into(), times: times.into(), through: through.into(), allowed }
    }

    /// What is told and fails nothing.
    pub fn told(tried: impl Into<String>, times: u32, through: u32) -> Self {
        Self { allowed: None, ..Self::new(tried, times, through, 0..=0) }
    }

    fn is_good(&self) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&self.through))
    }
}

pub fn run(cases: &[Case], plan: &Plan) -> ExitCode {
    let mut rows = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for case in cases.iter().filter(|case| plan.includes(case.name)) {
        let begun = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| (case.run)(plan)));
        let good = found.as_ref().is_ok_and(|rows| !rows.is_empty() && rows.iter().all(Row::is_good));
        let word = if good { "ok" } else { "FAILED" };
        println!("{word:<7} {} ({:.1} s)", case.name, begun.elapsed().as_secs_f32());
        if good {
            passed += 1
        } else {
            failed += 1
        }
        match found {
            Ok(found) => rows.extend(found),
            Err(_) => rows.push(Row::new(format!("FAILED: {}", case.name), 1, 1, 0..=0)),
        }
    }
    println!("\n{:>9}  {:>8}  {:>10}  tried", "times", "through", "allowed");
    for row in &rows {
        let allowed = match &row.allowed {
            None => "(told)".into(),
            Some(allowed) if allowed.start() == allowed.end() => allowed.start().to_string(),
            Some(allowed) => format!("{}-{}", allowed.start(), allowed.end()),
        };
        println!("{:>9}  {:>8}  {:>10}  {}", row.times, row.through, allowed, row.tried);
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
