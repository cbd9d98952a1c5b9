use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::latency::Latency;

/// Every figure of one run, each next to the limit measured in the same minutes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub postgres: String,
    /// Messages or rows a second.
    pub rates: BTreeMap<&'static str, f64>,
    pub latencies: BTreeMap<&'static str, Latency>,
    /// Processor microseconds for each message processed, and bytes of log.
    pub costs: BTreeMap<&'static str, f64>,
    pub ratios: BTreeMap<&'static str, f64>,
}

impl Report {
    pub(crate) fn ratio(&mut self, name: &'static str, of: &str, to: &str) {
        if let (Some(of), Some(to)) = (self.rates.get(of), self.rates.get(to)) {
            self.ratios.insert(name, of / to);
        }
    }

    /// Of two latencies, in the middle.
    pub(crate) fn compare(&mut self, name: &'static str, of: &str, to: &str) {
        if let (Some(of), Some(to)) = (self.latencies.get(of), self.latencies.get(to)) {
            self.ratios.insert(name, of.p50_ms / to.p50_ms);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.postgres)?;
        section(out, "messages a second", &self.rates, 0)?;
        writeln!(out, "\nlatency, ms                        p50      p99      max")?;
        for (name, Latency { p50_ms, p99_ms, max_ms }) in &self.latencies {
            writeln!(out, "  {name:<28}{p50_ms:>10.2}{p99_ms:>9.2}{max_ms:>9.2}")?;
        }
        section(out, "for each message", &self.costs, 1)?;
        section(out, "ratios", &self.ratios, 2)
    }
}

fn section(
    out: &mut fmt::Formatter<'_>,
    title: &str,
    figures: &BTreeMap<&'static str, f64>,
    digits: usize,
) -> fmt::Result {
    if figures.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    for (name, figure) in figures {
        writeln!(out, "  {name:<36}{figure:>12.digits$}")?;
    }
    Ok(())
}
