//! Whether a live object still is what we want, so that a converged world is not written to.
//!
//! The API server fills in defaults and writes quantities its own way (`2048Gi` comes back as `2Ti`), so equality is
//! no test. An object is as wanted if it carries the digest of exactly what we would apply (a field that we no longer
//! set changes it) and if every field, label and annotation that we set still has our value (an edit by hand does not).

use fleet_api::labels;
use serde::Serialize;
use serde_json::Value;

use crate::names;
use crate::object::Object;
use crate::observed::SeenApplied;

/// The digest that is put on an applied object, over its spec and labels.
pub fn fingerprint(spec: &impl Serialize, labels: &impl Serialize) -> String {
    let text = |value: Result<Value, serde_json::Error>| {
        value
            .map(|value| tidy(value).to_string())
            .unwrap_or_default()
    };
    let hash = names::hash(&[
        &text(serde_json::to_value(spec)),
        &text(serde_json::to_value(labels)),
    ]);
    hash.chars().take(16).collect()
}

/// Whether `live` needs no write to become `wanted`.
pub fn is_as_wanted(live: &SeenApplied, wanted: &Object) -> bool {
    let same_digest = live.meta.annotation(labels::APPLIED) == wanted.applied();
    let mut annotations = wanted.meta().annotations.iter().flatten();
    let same_annotations = annotations.all(|(key, value)| live.meta.annotation(key) == Some(value));
    let mut labels = wanted.meta().labels.iter().flatten();
    let same_labels = labels.all(|(key, value)| live.meta.label(key) == Some(value));
    let Ok(live) = serde_json::from_str::<Value>(&live.spec) else {
        return false;
    };
    same_digest && same_annotations && same_labels && covers(&tidy(live), &tidy(wanted.spec()), "")
}

/// Drops nulls, empty lists and empty maps: for the API server they are the same as nothing.
fn tidy(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| (key, tidy(value)));
            Value::Object(kept.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(tidy).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        // `emptyDir: {}` and `matchLabels: {}` mean something only where they alone say what is meant; ours never do.
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The list to whose end the API server adds what `ipFamilyPolicy` asks for.
const FILLED_UP: &str = "ipFamilies";

/// Fields that are replaced as a whole, so that an entry too many is a difference.
const ATOMIC_MAPS: [&str; 3] = ["nodeSelector", "matchLabels", "selector"];

fn covers(live: &Value, wanted: &Value, field: &str) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            let atomic = ATOMIC_MAPS.contains(&field) && wanted.values().all(Value::is_string);
            (!atomic || live.len() == wanted.len())
                && wanted.iter().all(|(key, value)| {
                    let below = if matches!(field, "requests" | "limits") {
                        field
                    } else {
                        key.as_str()
                    };
                    live.get(key).is_some_and(|live| covers(live, value, below))
                })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            let more = field == FILLED_UP && live.len() > wanted.len();
            (more || live.len() == wanted.len())
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| covers(live, wanted, field))
        }
        (Value::String(live), Value::String(wanted)) if matches!(field, "requests" | "limits") => {
            live == wanted || quantity(live).is_some_and(|value| Some(value) == quantity(wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// A quantity in thousandths. <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
pub fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 14] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("m", 0),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("", 1),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole)
        || !digits(fraction)
        || whole.len() + fraction.len() == 0
        || whole.len() > 18
        || fraction.len() > 9
    {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(if factor == 0 {
        value / scale
    } else {
        value * factor * 1000 / scale
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_compared_by_value() {
        assert_eq!(quantity("2048Gi"), quantity("2Ti"));
        assert_eq!(quantity("0.5"), quantity("500m"));
        assert_eq!(quantity("1.5Gi"), quantity("1536Mi"));
        assert_ne!(quantity("1G"), quantity("1Gi"));
        assert_eq!(quantity("1e3x"), None);
    }

    #[test]
    fn defaults_of_the_server_are_no_difference_and_edits_by_hand_are() {
        let wanted = json!({"a": 1, "containers": [{"name": "x", "resources": {"limits": {"cpu": "500m"}}}], "nodeSelector": {"r": "1"}});
        let live = json!({"a": 1, "containers": [{"name": "x", "resources": {"limits": {"cpu": "0.5"}}, "dns": "y"}], "nodeSelector": {"r": "1"}, "b": 2});
        assert!(covers(&live, &wanted, ""));
        for (pointer, value) in [
            ("/a", json!(2)),
            ("/containers/0/name", json!("z")),
            ("/nodeSelector/r", json!("2")),
        ] {
            let mut edited = live.clone();
            *edited.pointer_mut(pointer).unwrap() = value;
            assert!(!covers(&edited, &wanted, ""), "{pointer}");
        }
        let mut more = live.clone();
        more["nodeSelector"]["extra"] = json!("x");
        assert!(!covers(&more, &wanted, ""));
        more = live;
        more["containers"]
            .as_array_mut()
            .unwrap()
            .push(json!({"name": "sidecar"}));
        assert!(!covers(&more, &wanted, ""));
    }
}
