//! Records that are JSON objects: lines of a JSONL file, `.json` sidecars of folders and archives.

use std::collections::BTreeMap;

use pictor_proto::v1;
use serde_json::{Map, Value};

use super::record::{Reject, code};
use super::row_files::RowsOfFile;
use crate::json::{Payload, value_from_json};

/// Which keys of an object are what. Keys that are nothing else go into the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The key or column that holds the id; `None` means `id`, or else the first picture's path.
    pub id: Option<String>,
    /// Keys or columns that become texts of the same name.
    pub texts: Vec<String>,
    /// Keys or columns that hold paths of pictures.
    pub images: Vec<String>,
    /// Keys or columns that hold vectors for the field of the same name.
    pub vectors: Vec<String>,
}

impl Columns {
    /// Every column that is named.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.id.iter().chain(&self.texts).chain(&self.images).chain(&self.vectors)
    }
}

/// An item before its pictures are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub id: Option<String>,
    pub payload: Payload,
    pub texts: BTreeMap<String, v1::TextParts>,
    pub vectors: BTreeMap<String, v1::VectorParts>,
    /// Vectors that are named by file and row.
    pub rows: BTreeMap<String, RowsOfFile>,
    pub paths: Vec<String>,
}

/// Reads one object from its bytes. `takes_paths`: the keys `media` and `image` name pictures, and vectors may
/// be named by file and row.
///
/// # Errors
/// What is wrong with it, naming the key; with the id as soon as that is known.
pub fn read_object(bytes: &[u8], columns: &Columns, takes_paths: bool) -> Result<Draft, Reject> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| Reject::bad(format!("not JSON: {error}")))?;
    let Value::Object(object) = json else { return Err(Reject::bad("expected a JSON object")) };
    from_object(object, columns, takes_paths)
}

/// As [`read_object`], of an object that was read.
///
/// # Errors
/// As [`read_object`].
pub fn from_object(mut object: Map<String, Value>, columns: &Columns, takes_paths: bool) -> Result<Draft, Reject> {
    let mut draft = Draft::default();
    let id_key = columns.id.as_deref().unwrap_or("id");
    draft.id = object.remove(id_key).map(|id| read_id(&id)).transpose()?;
    if columns.id.is_some() && draft.id.is_none() {
        return Err(Reject::new(code::MISSING_ID, format!("there is no key {id_key:?}")));
    }
    let id = draft.id.clone();
    fill(&mut draft, object, columns, takes_paths).map_err(|reject| match &id {
        Some(id) => reject.of(id),
        None => reject,
    })?;
    Ok(draft)
}

fn fill(draft: &mut Draft, mut object: Map<String, Value>, columns: &Columns, takes_paths: bool) -> Result<(), Reject> {
    if let Some(texts) = object.remove("texts") {
        let Value::Object(texts) = texts else { return Err(Reject::bad("texts: expected an object")) };
        for (name, chunks) in texts {
            add_text(draft, name, chunks)?;
        }
    }
    for name in &columns.texts {
        match object.remove(name) {
            None | Some(Value::Null) => {}
            Some(_) if draft.texts.contains_key(name) => return Err(Reject::bad(format!("{name:?} is given twice"))),
            Some(chunks) => add_text(draft, name.clone(), chunks)?,
        }
    }
    if let Some(vectors) = object.remove("vectors") {
        let Value::Object(vectors) = vectors else { return Err(Reject::bad("vectors: expected an object")) };
        for (field, values) in vectors {
            if values.is_object() && takes_paths {
                let rows = RowsOfFile::read(&values).map_err(|why| Reject::bad(format!("vectors.{field}: {why}")))?;
                draft.rows.insert(field, rows);
                continue;
            }
            let vectors = read_vectors(&values).map_err(|why| Reject::bad(format!("vectors.{field}: {why}")))?;
            draft.vectors.insert(field, v1::VectorParts { vectors });
        }
    }
    for name in &columns.vectors {
        match object.remove(name) {
            None | Some(Value::Null) => {}
            Some(_) if draft.vectors.contains_key(name) => return Err(Reject::bad(format!("{name:?} is given twice"))),
            Some(values) => {
                let vectors = read_vectors(&values).map_err(|why| Reject::bad(format!("{name:?}: {why}")))?;
                draft.vectors.insert(name.clone(), v1::VectorParts { vectors });
            }
        }
    }
    let path_keys = ["media", "image"].into_iter().filter(|_| takes_paths);
    for key in path_keys.chain(columns.images.iter().map(String::as_str)) {
        match object.remove(key) {
            None | Some(Value::Null) => {}
            Some(paths) => draft.paths.extend(strings(key, paths)?),
        }
    }
    if let Some(payload) = object.remove("payload") {
        let Value::Object(payload) = payload else { return Err(Reject::bad("payload: expected an object")) };
        add_payload(draft, payload)?;
    }
    add_payload(draft, object)
}

fn read_id(id: &Value) -> Result<String, Reject> {
    match id {
        Value::String(id) => Ok(id.clone()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        other => Err(Reject::bad(format!("an id is a string or a whole number, got {other}"))),
    }
}

fn add_text(draft: &mut Draft, name: String, chunks: Value) -> Result<(), Reject> {
    let chunks = strings(&name, chunks)?;
    if !chunks.is_empty() {
        draft.texts.insert(name, v1::TextParts { chunks });
    }
    Ok(())
}

/// One string, or a list of them.
fn strings(key: &str, value: Value) -> Result<Vec<String>, Reject> {
    let wrong = || Reject::bad(format!("{key}: expected a string or a list of strings"));
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(values) => values
            .into_iter()
            .map(|value| if let Value::String(text) = value { Ok(text) } else { Err(wrong()) })
            .collect(),
        _ => Err(wrong()),
    }
}

/// One vector, or a list of them.
fn read_vectors(values: &Value) -> Result<Vec<v1::Vector>, &'static str> {
    const EXPECTED: &str = "expected a list of numbers or a list of such lists";
    let list = values.as_array().ok_or(EXPECTED)?;
    let vector = |values: &[Value]| {
        let values = values.iter().map(|value| value.as_f64().map(|value| value as f32));
        values.collect::<Option<Vec<f32>>>().map(|values| v1::Vector { values }).ok_or(EXPECTED)
    };
    if list.first().is_some_and(Value::is_array) {
        list.iter().map(|values| vector(values.as_array().ok_or(EXPECTED)?)).collect()
    } else if list.is_empty() {
        Ok(Vec::new())
    } else {
        Ok(vec![vector(list)?])
    }
}

fn add_payload(draft: &mut Draft, entries: Map<String, Value>) -> Result<(), Reject> {
    for (key, json) in entries {
        let value = value_from_json(&json).map_err(|error| Reject::bad(format!("payload {key:?}: {error:#}")))?;
        if draft.payload.insert(key.clone(), value).is_some() {
            return Err(Reject::bad(format!("{key:?} stands in the payload and beside it")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::payload_to_json;

    fn read(text: &str, columns: &Columns) -> Result<Draft, Reject> {
        read_object(text.as_bytes(), columns, true)
    }

    #[test]
    fn every_key_has_its_place() {
        let columns = Columns {
            texts: vec!["title".into()],
            images: vec!["photo".into()],
            vectors: vec!["u".into()],
            ..Columns::default()
        };
        let draft = read(
            r#"{"id": 7, "texts": {"a": "x", "b": ["y", "z"], "c": []}, "title": "t", "media": ["1.png"],
                "image": "2.png", "photo": "3.png", "payload": {"n": 1}, "price": 2.5, "vectors": {"v": [[1, 2]], "w": [3]}, "u": [4]}"#,
            &columns,
        )
        .expect("a record");
        assert_eq!(draft.id.as_deref(), Some("7"));
        assert_eq!(draft.paths, ["1.png", "2.png", "3.png"]);
        assert_eq!(draft.texts.keys().collect::<Vec<_>>(), ["a", "b", "title"]);
        assert_eq!(Value::from(payload_to_json(&draft.payload)).to_string(), r#"{"n":1,"price":2.5}"#);
        assert_eq!(draft.vectors["v"].vectors[0].values, [1.0, 2.0]);
        assert_eq!(draft.vectors["w"].vectors[0].values, [3.0]);
        assert_eq!(draft.vectors["u"].vectors[0].values, [4.0]);
    }

    #[test]
    fn wrong_objects_say_why() {
        let check = |text: &str, expected: &str| {
            let reject = read(text, &Columns::default()).expect_err(text);
            assert!(reject.reason.contains(expected), "{text}: {}", reject.reason);
        };
        check("{", "not JSON");
        check("[]", "expected a JSON object");
        check(r#"{"id": 1.5}"#, "an id is");
        check(r#"{"texts": "x"}"#, "texts: expected an object");
        check(r#"{"texts": {"a": 5}}"#, "a: expected a string");
        check(r#"{"media": [5]}"#, "media: expected");
        check(r#"{"payload": {"a": 1}, "a": 2}"#, "beside it");
        check(r#"{"vectors": {"v": ["x"]}}"#, "vectors.v");
        check(r#"{"big": 18446744073709551615}"#, "64-bit");
        let named = Columns { id: Some("key".into()), ..Columns::default() };
        assert_eq!(read("{}", &named).expect_err("no id").code, code::MISSING_ID);
        assert_eq!(read(r#"{"id":"x","media":5}"#, &Columns::default()).expect_err("bad").id.as_deref(), Some("x"));
    }
}
