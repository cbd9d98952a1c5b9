use messages::Usage;
use serde::Deserialize;
use serde_json::Value;

use crate::pieces::Pieces;

/// Where in what a command writes its figures and words are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) cost: Vec<Figure>,
    pub(crate) tokens: Vec<Figure>,
    /// The first of these that is a text is what people are shown of an object.
    pub(crate) text: Vec<Pointer>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people; there are no figures.
    #[default]
    Text,
    /// An object to a line.
    Lines,
    /// One object, and nothing else.
    Json,
}

/// A number in an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Figure {
    /// Each says what came on top.
    Add(Pointer),
    /// Each says what it is altogether.
    Total(Pointer),
}

/// As RFC 6901 has them: `/usage/input_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pointer(String);

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.starts_with('/') {
            true => Ok(Self(text)),
            false => Err("a pointer into JSON begins with `/`, as in /usage/input_tokens"),
        }
    }
}

/// Reads the figures of one run as they come.
pub(crate) struct Meter {
    output: Output,
    pieces: Pieces,
    whole: String,
    cost: Sums,
    tokens: Sums,
}

/// Two accounts of the same: what was added, and the last totals that were told. A program that
/// tells both tells the smaller one earlier, so the larger one counts.
#[derive(Default)]
struct Sums {
    added: f64,
    totals: Vec<f64>,
}

/// Of a single object that is read at the end.
const MOST_WHOLE: usize = 8 * 1024 * 1024;

impl Meter {
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            output: output.clone(),
            pieces: Pieces::default(),
            whole: String::new(),
            cost: Sums::default(),
            tokens: Sums::default(),
        }
    }

    /// Takes a line of the command's output; what of it people are shown.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        match self.output.format {
            Format::Text => Some(line.to_owned()),
            Format::Lines => {
                let object = self.pieces.push(line)?;
                self.read(&object)
            }
            Format::Json => {
                if self.whole.len() + line.len() <= MOST_WHOLE {
                    self.whole.push_str(line);
                }
                None
            }
        }
    }

    /// There is nothing more to come.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let object: Value = serde_json::from_str(&std::mem::take(&mut self.whole)).ok()?;
        self.read(&object)
    }

    fn read(&mut self, object: &Value) -> Option<String> {
        self.cost.read(&self.output.cost, object);
        self.tokens.read(&self.output.tokens, object);
        let texts = self.output.text.iter();
        let mut texts = texts.filter_map(|Pointer(at)| object.pointer(at)?.as_str());
        texts.find(|text| !text.trim().is_empty()).map(str::to_owned)
    }

    pub(crate) fn usage(&self) -> Usage {
        // Saturates, which is right for what no budget allows.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Usage { cost_usd: self.cost.now(), tokens: self.tokens.now().ceil() as u64 }
    }
}

impl Sums {
    fn read(&mut self, figures: &[Figure], object: &Value) {
        self.totals.resize(figures.len(), 0.0);
        for (place, figure) in figures.iter().enumerate() {
            let (Figure::Add(Pointer(at)) | Figure::Total(Pointer(at))) = figure;
            let number = object.pointer(at).and_then(Value::as_f64);
            let Some(number) = number.filter(|number| *number >= 0.0) else { continue };
            match figure {
                Figure::Add(_) => self.added += number,
                Figure::Total(_) => self.totals[place] = number,
            }
        }
    }

    fn now(&self) -> f64 {
        self.added.max(self.totals.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(yaml: &str) -> Meter {
        Meter::new(&serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn figures_add_up_until_a_total_is_told() {
        let mut meter = meter(
            "{format: lines, cost: [total: /cost], tokens: [add: /m/in, add: /m/out, total: /in, total: /out], text: [/said, /m/said]}",
        );
        assert_eq!(
            meter.line(r#"{"m":{"in":10,"out":5,"said":"hello"}}"#).as_deref(),
            Some("hello")
        );
        assert_eq!(meter.line("noise"), None);
        assert_eq!(meter.line(r#"{"m":{"in":20,"out":"many"}}"#), None);
        assert_eq!(meter.usage(), Usage { cost_usd: 0.0, tokens: 35 });
        meter.line(r#"{"in":30,"out":6,"cost":0.25}"#);
        assert_eq!(meter.usage(), Usage { cost_usd: 0.25, tokens: 36 });
        // Nothing brings the figures down.
        meter.line(r#"{"m":{"in":-100}}"#);
        meter.line(r#"{"in":0,"out":0}"#);
        assert_eq!(meter.usage().tokens, 35);
    }

    #[test]
    fn one_object_is_read_at_the_end_however_it_is_broken_into_lines() {
        let mut meter = meter("{format: json, cost: [total: /cost], text: [/result]}");
        for line in ["{", r#"  "cost": 0.5,"#, r#"  "result": "done""#, "}"] {
            assert_eq!(meter.line(line), None);
        }
        assert_eq!(meter.finish().as_deref(), Some("done"));
        assert!((meter.usage().cost_usd - 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn absurd_figures_are_over_every_budget() {
        let mut meter = meter("{format: lines, tokens: [add: /t]}");
        meter.line(r#"{"t":1e300}"#);
        assert_eq!(meter.usage().tokens, u64::MAX);
    }
}
