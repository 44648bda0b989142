//! Runs the cases and prints what was tried, how often, and what was lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// How much is tried, and which cases run.
#[derive(Debug)]
pub struct Plan {
    /// Rounds of kills. All other numbers grow with it.
    pub rounds: u32,
    names: Vec<String>,
}

/// The rounds of the short form.
const ROUNDS: u32 = 100;

impl Plan {
    pub fn of(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { rounds: ROUNDS, names: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            if argument == "--rounds" {
                let rounds = arguments.next().and_then(|number| number.parse().ok());
                plan.rounds = rounds.filter(|rounds| *rounds > 0).ok_or("--rounds takes a number above 0")?;
            } else if argument.starts_with('-') {
                return Err(format!(
                    "{argument} is not known. Usage: tests/faults/run [--rounds N] [NAME...]"
                ));
            } else {
                plan.names.push(argument);
            }
        }
        Ok(plan)
    }

    fn includes(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }
}

/// Something that is tried.
pub struct Case {
    pub name: &'static str,
    /// Panics, or reports a loss, where a promise is broken.
    pub run: fn(&Plan) -> Vec<Row>,
}

/// What the number of losses has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// None.
    Nothing,
    /// A control: the harness has to find some.
    Something,
    /// What no promise covers.
    Anything,
}

/// A line of the table.
#[derive(Debug)]
pub struct Row {
    pub tried: String,
    pub times: u64,
    pub lost: u64,
    expected: Expected,
}

impl Row {
    pub fn new(tried: impl Into<String>, times: usize, lost: usize) -> Self {
        Self { tried: tried.into(), times: times as u64, lost: lost as u64, expected: Expected::Nothing }
    }

    /// What must be found broken, or the harness finds nothing.
    pub fn control(tried: impl Into<String>, times: usize, lost: usize) -> Self {
        Self { expected: Expected::Something, ..Self::new(tried, times, lost) }
    }

    /// What is not promised, and told in deploy/RELIABILITY.md.
    pub fn limit(tried: impl Into<String>, times: usize, lost: usize) -> Self {
        Self { expected: Expected::Anything, ..Self::new(tried, times, lost) }
    }

    /// What cannot be tried here: said, and never counted as tried.
    pub fn skipped(tried: impl Into<String>, why: &str) -> Self {
        Self::new(format!("SKIPPED, {why}: {}", tried.into()), 0, 0)
    }

    fn is_good(&self) -> bool {
        match self.expected {
            Expected::Nothing => self.lost == 0,
            Expected::Something => self.lost > 0,
            Expected::Anything => true,
        }
    }
}

pub fn run(cases: &[Case], plan: &Plan) -> ExitCode {
    let mut rows = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for case in cases.iter().filter(|case| plan.includes(case.name)) {
        let begun = Instant::now();
        let found = catch_unwind(AssertUnwindSafe(|| (case.run)(plan)));
        let good = found.as_ref().is_ok_and(|rows| rows.iter().all(Row::is_good));
        let word = if good { "ok" } else { "FAILED" };
        println!("{word:<7} {} ({:.1} s)", case.name, begun.elapsed().as_secs_f32());
        if good {
            passed += 1
        } else {
            failed += 1
        }
        match found {
            Ok(found) => rows.extend(found),
            Err(_) => rows.push(Row::new(format!("FAILED: {}", case.name), 1, 1)),
        }
    }
    println!("\n{:>9}  {:>6}  tried", "times", "lost");
    for row in &rows {
        let note = match row.expected {
            Expected::Nothing => "",
            Expected::Something => " (control: it must lose)",
            Expected::Anything => " (no promise: see deploy/RELIABILITY.md)",
        };
        println!("{:>9}  {:>6}  {}{note}", row.times, row.lost, row.tried);
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
