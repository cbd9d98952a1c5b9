use attempt::{Trouble, clean};
use jsonschema::Validator;
use serde_json::{Map, Value};

/// What the parameters of a template set must be like.
pub(crate) struct Params {
    validator: Validator,
    defaults: Map<String, Value>,
}

/// Beyond these an error is not read to its end.
const MOST_ERRORS: usize = 5;
const LONGEST: usize = 200;

impl Params {
    /// The schema's own text is JSON; why not, otherwise.
    pub(crate) fn new(schema: &str) -> Result<Self, String> {
        let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        let properties = schema.get("properties").and_then(Value::as_object);
        let defaults = properties
            .into_iter()
            .flatten()
            .filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone())));
        Ok(Self { defaults: defaults.collect(), validator })
    }

    /// With the defaults of what was not given.
    pub(crate) fn complete(&self, given: &Map<String, Value>) -> Result<Value, Trouble> {
        let mut params = self.defaults.clone();
        params.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
        let params = Value::Object(params);
        let errors: Vec<String> = self
            .validator
            .iter_errors(&params)
            .take(MOST_ERRORS)
            .map(|error| {
                let field = error.instance_path().to_string().replace('/', ".");
                format!("params{field}: {}", short(&error.to_string()))
            })
            .collect();
        if errors.is_empty() { Ok(params) } else { Err(Trouble::invalid(errors.join("; "))) }
    }
}

/// An error quotes what was sent, which may be anything.
fn short(text: &str) -> String {
    let text = clean(text).replace('\n', " ");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complete(given: &Value) -> Result<Value, String> {
        let schema = r#"{"additionalProperties": false, "required": ["a"], "properties": {
            "a": {"type": "string", "maxLength": 3},
            "b": {"type": "integer", "default": 7},
            "c": {"type": "array", "items": {"type": "object", "required": ["d"]}}
        }}"#;
        let params = Params::new(schema).unwrap();
        params.complete(given.as_object().unwrap()).map_err(|trouble| trouble.what)
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        assert_eq!(complete(&json!({"a": "x"})), Ok(json!({"a": "x", "b": 7})));
        assert_eq!(complete(&json!({"a": "x", "b": 1})), Ok(json!({"a": "x", "b": 1})));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_of_the_field() {
        for (given, said) in [
            (json!({}), r#"params: "a" is a required property"#),
            (json!({"a": "long"}), r#"params.a: "long" is longer than 3 characters"#),
            (json!({"a": "x", "b": "1"}), r#"params.b: "1" is not of type "integer""#),
            (json!({"a": "x", "c": [{}]}), r#"params.c.0: "d" is a required property"#),
            (
                json!({"a": "x", "e": 1}),
                "params: Additional properties are not allowed ('e' was unexpected)",
            ),
        ] {
            assert_eq!(complete(&given), Err(said.to_owned()));
        }
        let long = complete(&json!({"a": "x".repeat(100_000)})).unwrap_err();
        assert!(long.len() < 300, "{long}");
        let twice = complete(&json!({"a": 1, "b": "x"})).unwrap_err();
        assert_eq!(
            twice,
            r#"params.a: 1 is not of type "string"; params.b: "x" is not of type "integer""#
        );
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        assert!(Params::new("{").is_err());
        assert!(Params::new(r#"{"type": "strin"}"#).is_err());
        assert!(Params::new(r#"{"$ref": "https://schemas.example/x.json"}"#).is_err());
    }
}
