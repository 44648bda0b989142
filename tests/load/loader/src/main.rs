//! Sends prepared HTTP/1.1 requests to a server on loopback, checks every answer, and says what they cost.
//!
//! usage: loader < PLAN.json, which prints one JSON report (see [`plan`]); ends with 1 and a reason when any request
//! failed or any answer was not the expected one.

mod answer;
mod closed;
mod connection;
mod cpu;
mod open;
mod overload;
mod plan;
mod random;

use plan::Plan;

fn main() {
    let run = || -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        let plan: Plan = serde_json::from_reader(std::io::stdin())?;
        Ok(match plan {
            Plan::Closed(plan) => serde_json::to_value(closed::run(&plan)?)?,
            Plan::Open(plan) => serde_json::to_value(open::run(&plan)?)?,
            Plan::Overload(plan) => serde_json::to_value(overload::run(&plan)?)?,
        })
    };
    match run() {
        Ok(report) => println!("{report}"),
        Err(reason) => {
            eprintln!("loader: {reason}");
            std::process::exit(1);
        }
    }
}
