//! Values that replace a recipe's, by dotted key: `optimiser.lr`, `objective.0.weight`.

use serde_json::Value;

use crate::{Error, Result};

/// Puts each value in its place. A table on the way that is missing is made; a list has to have the place already.
///
/// # Errors
/// `InvalidArgument` naming the key that leads nowhere, or the value that TOML cannot hold.
pub fn apply(recipe: &mut toml::Table, values: serde_json::Map<String, Value>) -> Result<()> {
    for (key, value) in values {
        let value = from_json(&key, value)?;
        let steps: Vec<&str> = key.split('.').collect();
        if steps.iter().any(|step| step.is_empty()) {
            return Err(wrong(&key, "expected words with dots between, such as optimiser.lr"));
        }
        put(recipe, &key, &steps, value)?;
    }
    Ok(())
}

fn put(table: &mut toml::Table, key: &str, steps: &[&str], value: toml::Value) -> Result<()> {
    match steps {
        [] => Ok(()),
        [last] => {
            table.insert((*last).to_owned(), value);
            Ok(())
        }
        [first, rest @ ..] => {
            let entry = table.entry((*first).to_owned()).or_insert_with(|| toml::Table::new().into());
            put_below(entry, key, rest, value)
        }
    }
}

fn put_below(entry: &mut toml::Value, key: &str, steps: &[&str], value: toml::Value) -> Result<()> {
    match (entry, steps) {
        (toml::Value::Table(table), steps) => put(table, key, steps, value),
        (toml::Value::Array(values), [first, rest @ ..]) => {
            let n = values.len();
            let place = first.parse().ok().and_then(|place: usize| values.get_mut(place));
            let place = place.ok_or_else(|| {
                wrong(key, &format!("expected a place of the list below {n} at {first:?}, counted from 0"))
            })?;
            if rest.is_empty() {
                *place = value;
                return Ok(());
            }
            put_below(place, key, rest, value)
        }
        (other, _) => Err(wrong(key, &format!("leads through {other}, which is neither a table nor a list"))),
    }
}

fn from_json(key: &str, value: Value) -> Result<toml::Value> {
    Ok(match value {
        Value::Bool(is) => is.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(number)) if number.is_finite() => number.into(),
            _ => return Err(wrong(key, &format!("{number} is no number that a recipe can hold"))),
        },
        Value::Array(values) => {
            toml::Value::Array(values.into_iter().map(|value| from_json(key, value)).collect::<Result<_>>()?)
        }
        Value::Object(entries) => {
            let entries = entries.into_iter().map(|(name, value)| Ok((name, from_json(key, value)?)));
            toml::Value::Table(entries.collect::<Result<_>>()?)
        }
        Value::Null => return Err(wrong(key, "expected a value, found null")),
    })
}

fn wrong(key: &str, message: &str) -> Error {
    Error::invalid(format!("overrides.{key}"), message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(value: Value) -> Result<toml::Table> {
        let mut recipe: toml::Table =
            "seed = 1\noptimiser = { lr = 0.1 }\nobjective = [{ weight = 1.0 }, { weight = 2.0 }]\nk = [1, 5]"
                .parse()
                .expect("TOML");
        let Value::Object(values) = value else { panic!("an object") };
        apply(&mut recipe, values).map(|()| recipe)
    }

    #[test]
    fn values_go_to_their_places() {
        let recipe = applied(json!({
            "seed": 7, "optimiser.lr": 0.5, "objective.1.weight": 3, "k.0": 2, "ema.decay": 0.9, "captions.from": [{"path": "texts.a"}],
        }))
        .expect("values");
        let expected: toml::Table = r#"
            seed = 7
            optimiser = { lr = 0.5 }
            objective = [{ weight = 1.0 }, { weight = 3 }]
            k = [2, 5]
            ema = { decay = 0.9 }
            captions = { from = [{ path = "texts.a" }] }
        "#
        .parse()
        .expect("TOML");
        assert_eq!(recipe, expected);
    }

    #[test]
    fn keys_that_lead_nowhere_are_named() {
        for (value, expected) in [
            (json!({"objective.2.weight": 1}), "below 2"),
            (json!({"objective.x": 1}), "below 2"),
            (json!({"seed.x": 1}), "neither a table nor a list"),
            (json!({"a..b": 1}), "words with dots"),
            (json!({"seed": null}), "found null"),
        ] {
            let error = applied(value.clone()).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("overrides."), "{value}: {error}");
        }
    }
}
