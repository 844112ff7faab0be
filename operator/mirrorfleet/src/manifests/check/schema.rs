//! The schema and the rules of the custom resources, asked where there is no API server: each bound and each rule is
//! stated once, beside the type in `fleet-api`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use fleet_api::crds::{MIRROR_SCHEMA, UPSTREAM_SCHEMA};
use fleet_types::shown_url;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use regex::Regex;
use serde_json::Value;

/// What is longer is shown by its beginning.
const SHOWN_CHARACTERS: usize = 80;

/// One kind: what its definition demands.
pub(super) struct Definition {
    schema: Value,
    rules: CompiledSchema,
}

pub(super) static UPSTREAM: LazyLock<Definition> =
    LazyLock::new(|| Definition::of(UPSTREAM_SCHEMA));
pub(super) static MIRROR: LazyLock<Definition> = LazyLock::new(|| Definition::of(MIRROR_SCHEMA));

impl Definition {
    fn of(text: &str) -> Definition {
        let schema: Value = serde_json::from_str(text).unwrap_or_default();
        Definition {
            rules: compile_schema(&schema),
            schema,
        }
    }

    /// All that the definition refuses of an object, as sentences that begin with the path of a field.
    pub(super) fn problems(&self, object: &Value) -> Vec<String> {
        if self.schema.is_null() {
            return vec!["the definition that it is judged by cannot be read".to_owned()];
        }
        let mut problems = Vec::new();
        bounds("", &self.schema, object, &mut problems);
        if let Err(broken) = Validator::new().validate_compiled(&self.rules, object, None) {
            problems.extend(broken.iter().map(|rule| {
                let found = at(object, &rule.field_path).map(shown).unwrap_or_default();
                match rule.field_path.as_str() {
                    "" => rule.message.clone(),
                    path => format!("{path}{found}: {}", rule.message),
                }
            }));
        }
        problems
    }
}

/// The value at a path such as `spec.endpoints[0].url`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '['])
        .try_fold(object, |value, step| match step.strip_suffix(']') {
            Some(index) => value.get(index.parse::<usize>().ok()?),
            None => value.get(step),
        })
}

/// What was written, by its beginning, after a space. Nothing of what has parts with names, and never what could be a secret
/// in a URL.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.contains("://") => shown_url(text),
        Value::Object(_) => return String::new(),
        Value::Array(items) if !items.iter().all(is_word) => return String::new(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!(" {}…", &text[..end]),
        None => format!(" {text}"),
    }
}

fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.contains("://"))
}

/// The bounds that stand in the schema itself. Types, enumerations and what is required have been read by serde already.
fn bounds(path: &str, schema: &Value, value: &Value, problems: &mut Vec<String>) {
    let refusals = match value {
        Value::Null | Value::Bool(_) => Vec::new(),
        Value::Number(number) => within(number.as_f64(), schema),
        Value::String(text) => {
            let mut refusals = length(text.chars().count(), ("characters", "Length"), schema);
            refusals.extend(pattern(text, schema));
            refusals
        }
        Value::Array(items) => length(items.len(), ("entries", "Items"), schema),
        Value::Object(fields) => length(fields.len(), ("entries", "Properties"), schema),
    };
    let found = shown(value);
    problems.extend(refusals.iter().map(|what| format!("{path}{found} {what}")));
    match value {
        Value::Array(items) => list(path, schema, items, problems),
        Value::Object(fields) => {
            let known = |name: &str| schema.get("properties")?.get(name);
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                if let Some(schema) = known(name).or_else(|| schema.get("additionalProperties")) {
                    bounds(&format!("{path}{dot}{name}"), schema, value, problems);
                }
            }
        }
        _ => {}
    }
}

fn list(path: &str, schema: &Value, items: &[Value], problems: &mut Vec<String>) {
    let keys = schema.get("x-kubernetes-list-map-keys");
    let keys = keys.and_then(Value::as_array);
    let kind = schema.get("x-kubernetes-list-type");
    let one_each = kind.is_some_and(|kind| kind != "atomic");
    let identity = |item: &Value| -> String {
        let key = |key: &Value| item.get(key.as_str()?).map(Value::to_string);
        match keys {
            Some(keys) => keys.iter().filter_map(key).collect::<Vec<_>>().join(", "),
            None => item.to_string(),
        }
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let identity = identity(item);
        if one_each && seen.contains(&identity) {
            problems.push(format!("{path}: {identity} is there twice"));
        }
        seen.insert(identity);
        if let Some(schema) = schema.get("items") {
            bounds(&path, schema, item, problems);
        }
    }
}

/// `minItems`, `maxLength` and their like.
fn length(found: usize, (unit, what): (&str, &str), schema: &Value) -> Vec<String> {
    let bound = |side: &str| schema.get(format!("{side}{what}")).and_then(Value::as_u64);
    let found = found as u64;
    let least = bound("min").filter(|least| found < *least);
    let most = bound("max").filter(|most| found > *most);
    let least = least.map(|least| format!("has {found} {unit}; it should have at least {least}"));
    let most = most.map(|most| format!("has {found} {unit}; it should have at most {most}"));
    least.into_iter().chain(most).collect()
}

fn within(found: Option<f64>, schema: &Value) -> Vec<String> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let least = bound("minimum").filter(|least| found < Some(*least));
    let most = bound("maximum").filter(|most| found > Some(*most));
    let least = least.map(|least| format!("should be at least {least}"));
    let most = most.map(|most| format!("should be at most {most}"));
    least.into_iter().chain(most).collect()
}

/// A pattern tells little to most people; what the field means is told beside it.
fn pattern(text: &str, schema: &Value) -> Option<String> {
    let pattern = schema.get("pattern")?.as_str()?;
    if Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text)) {
        return None;
    }
    let meant = schema.get("description").and_then(Value::as_str);
    let meant = meant.and_then(|text| text.split(['.', '\n']).next());
    let meant = meant.map_or_else(String::new, |meant| format!(" ({meant})"));
    Some(format!("should match {pattern}{meant}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_short_and_no_secret() {
        let token = "0123456789abcdef0123456789abcdef";
        let address = format!("https://me:pw@example.org/{token}/");
        for value in [
            json!(address),
            json!([address]),
            json!([{"url": address}]),
            json!({"url": address}),
        ] {
            let shown = shown(&value);
            assert!(!shown.contains("pw") && !shown.contains(token), "{shown}");
        }
        assert_eq!(shown(&json!(["a b", "c"])), " [\"a b\",\"c\"]");
        assert_eq!(shown(&json!("ä".repeat(200))).chars().count(), 82);
    }

    #[test]
    fn bounds_are_told_by_path_with_what_was_written() {
        let schema = json!({
            "properties": {"spec": {"properties": {
                "names": {
                    "maxItems": 1, "x-kubernetes-list-type": "set",
                    "items": {"minLength": 2, "pattern": "^[a-z]+$", "description": "A name. More of it."},
                },
                "share": {"minimum": 1.0, "maximum": 5.0},
                "word": {"pattern": "^b$"},
            }}},
        });
        let object =
            json!({"spec": {"names": ["A", "A"], "share": 6, "word": "c", "unknown": "x"}});
        let mut problems = Vec::new();
        bounds("", &schema, &object, &mut problems);
        problems.sort();
        assert_eq!(
            problems,
            [
                "spec.names [\"A\",\"A\"] has 2 entries; it should have at most 1",
                "spec.names[0] \"A\" has 1 characters; it should have at least 2",
                "spec.names[0] \"A\" should match ^[a-z]+$ (A name)",
                "spec.names[1] \"A\" has 1 characters; it should have at least 2",
                "spec.names[1] \"A\" should match ^[a-z]+$ (A name)",
                "spec.names[1]: \"A\" is there twice",
                "spec.share 6 should be at most 5",
                "spec.word \"c\" should match ^b$",
            ]
        );
    }
}
