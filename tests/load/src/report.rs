//! What a run found, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::histogram::Histogram;
use crate::process::Usage;

/// Named figures in the order they were added.
#[derive(Default)]
pub struct Report {
    figures: Vec<(String, f64, &'static str)>,
}

impl Report {
    /// `name` ends in its unit where it has one; `unit` is for people.
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        self.figures.push((name.to_owned(), value, unit));
    }

    /// p50, p95, p99 and the longest, in milliseconds. Nothing is said of an empty histogram.
    pub fn add_latency(&mut self, name: &str, histogram: &Histogram) {
        if histogram.count() == 0 {
            return;
        }
        for (label, part) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            self.add(&format!("{name}_{label}_ms"), histogram.quantile_ms(part), "ms");
        }
        self.add(&format!("{name}_max_ms"), histogram.max_ms(), "ms");
    }

    /// The CPU that `count` things took the server, if its processes are known, and the generator.
    pub fn add_cpu(&mut self, what: &str, count: f64, server: Option<Usage>, own: Usage) {
        let per_1000 = |seconds: f64| if count > 0.0 { seconds * 1000.0 / count } else { 0.0 };
        if let Some(server) = server {
            self.add("server_cpu_seconds", server.cpu_seconds, "s");
            let name = format!("server_cpu_seconds_per_1000_{what}");
            self.add(&name, per_1000(server.cpu_seconds), "s");
            if server.cpu_seconds > 0.0 {
                let name = format!("{what}_per_server_cpu_second");
                self.add(&name, count / server.cpu_seconds, "");
            }
        }
        self.add("generator_cpu_seconds", own.cpu_seconds, "s");
        let name = format!("generator_cpu_seconds_per_1000_{what}");
        self.add(&name, per_1000(own.cpu_seconds), "s");
    }

    pub fn to_json(&self, scenario: &str, context: Map<String, Value>) -> String {
        let mut object = Map::new();
        object.insert("scenario".into(), scenario.into());
        object.extend(context);
        let figures = self.figures.iter().map(|(name, value, _)| (name.clone(), rounded(*value)));
        object.insert("figures".into(), Value::Object(figures.collect()));
        Value::Object(object).to_string()
    }

    pub fn to_text(&self) -> String {
        let width = self.figures.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        self.figures.iter().fold(String::new(), |mut text, (name, value, unit)| {
            let value = rounded(*value);
            writeln!(text, "{name:width$}  {value:>14} {unit}").expect("a String takes all");
            text
        })
    }
}

/// Six decimals at most, and no `.0`.
fn rounded(value: f64) -> Value {
    let value = (value * 1e6).round() / 1e6;
    if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() }
}
