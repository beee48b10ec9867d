use proptest::prelude::*;

use super::*;
use crate::types::json::{payload_from_json, payload_to_json, value_to_json};
use crate::types::{Error, Payload, Timestamp, Value};

fn payload(json: &serde_json::Value) -> Payload {
    payload_from_json(json.as_object().expect("an object")).expect("a payload")
}

#[track_caller]
fn check(filter: &str, json: &serde_json::Value, expected: bool) {
    let parsed = parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    assert_eq!(matches(&parsed, &payload(json), &mut Mismatches::default()), expected, "{filter}");
}

#[test]
fn a_filter_selects_by_value() {
    let item = serde_json::json!({"group": "Food", "n": 3, "price": 2.5, "tags": ["a", "b"], "on": true, "none": null,
        "made": {"$timestamp": "2026-01-02T00:00:00Z"}, "dim": {"w": 10, "parts": [{"k": 1}, {"k": 2}]}, "odd key": 1});
    for (filter, expected) in [
        (r#"group = "Food""#, true),
        (r#"group != "Food""#, false),
        (r#"group ^= "Fo""#, true),
        ("n = 3.0", true),
        ("n < 3.5 and price >= 2", true),
        ("not n = 3 or on = true", true),
        ("not (n = 3 or on = true)", false),
        (r#"tags = "b""#, true),
        (r#"tags != "b""#, true),
        (r#"tags in ["x", "b"]"#, true),
        ("n in []", false),
        ("none = null", true),
        ("exists(none)", true),
        ("exists(missing)", false),
        ("missing = 1", false),
        ("missing != 1", true),
        ("not missing = 1", true),
        ("missing < 1", false),
        ("dim.w = 10", true),
        ("dim.parts.k = 2", true),
        (r#""odd key" = 1"#, true),
        ("made > 2026-01-01T23:59:59+00:00", true),
        ("made = 2026-01-02T01:00:00+01:00", true),
        (r#"n = "3""#, false),
        (r#"n != "3""#, false),
    ] {
        check(filter, &item, expected);
    }
}

#[test]
fn different_types_are_warned_of_once() {
    let filter = parse(r#"n = "3" or n = "4""#).expect("a filter");
    let mut mismatches = Mismatches::default();
    for _ in 0..3 {
        assert!(!matches(&filter, &payload(&serde_json::json!({"n": 3})), &mut mismatches));
    }
    expect_test::expect![[r#"
        [
            "filter: n holds a int in some items and was compared with a string; that comparison is false",
        ]
    "#]]
    .assert_debug_eq(&mismatches.warnings());
}

#[test]
fn a_bad_filter_is_refused_with_its_position() {
    for (text, expected) in [
        ("", "filter: expected a field's name at byte 0, found the end"),
        ("a", "filter: expected one of = != < <= > >= ^= in at byte 1, found the end"),
        (
            "a = ",
            "filter: expected a string in double quotes, a number, a time, true, false or null at byte 4, found the end",
        ),
        (
            "a = 'x'",
            "filter: expected a string in double quotes, a number, a time, true, false or null at byte 4, found \"'x'\"",
        ),
        ("a = 1 b", "filter: expected `and`, `or` or the end at byte 6, found \"b\""),
        ("(a = 1", "filter: expected `)` at byte 6, found the end"),
        (
            "a = 99999999999999999999",
            "filter: expected a string in double quotes, a number, a time, true, false or null at byte 4, found \"99999999999999999999\"",
        ),
        ("a = \"x", "filter: expected a closing double quote at byte 4, found \"\\\"x\""),
        ("a in [1 2]", "filter: expected `,` at byte 8, found \"2]\""),
        ("in = 1", "filter: expected a field's name at byte 0, found \"in = 1\""),
        ("a ^= 3", "filter: expected a string in double quotes at byte 5, found \"3\""),
    ] {
        assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text}");
    }
    let deep = format!("{}a = 1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(matches!(parse(&deep), Err(Error::LimitExceeded { name: "FILTER_DEPTH", .. })));
    let wide = format!("a in [{}1]", "1,".repeat(5000));
    assert!(matches!(parse(&wide), Err(Error::LimitExceeded { name: "FILTER_NODES", .. })));
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Double),
        ".*".prop_map(Value::String),
        (-62_135_596_800..253_402_207_200_i64, 0..1_000_000_000_i32)
            .prop_map(|(seconds, nanos)| Value::Timestamp(Timestamp::new(seconds, nanos).expect("in range"))),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    let component = prop_oneof!["[a-z]{1,5}", Just("and".to_owned()), Just("exists".to_owned()), ".{1,5}"];
    prop::collection::vec(component, 1..4).prop_map(|components| Path::new(components).expect("a path"))
}

fn filter() -> impl Strategy<Value = Filter> {
    let operator = prop::sample::select(vec![
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ]);
    let leaf = prop_oneof![
        (path(), operator, scalar()).prop_map(|(path, operator, value)| Filter::Compare(path, operator, value)),
        (path(), prop::collection::vec(scalar(), 0..4)).prop_map(|(path, values)| Filter::In(path, values)),
        path().prop_map(Filter::Exists),
        (path(), ".*").prop_map(|(path, prefix)| Filter::Prefix(path, prefix)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map("[a-z$]{1,6}", inner, 0..4).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_what_was_printed_gives_the_same_filter(filter in filter()) {
        prop_assert_eq!(parse(&filter.to_string()).expect("parses"), filter);
    }

    #[test]
    fn json_keeps_every_payload(payload in prop::collection::btree_map("[a-z]{1,6}", value(), 0..5)) {
        let text = serde_json::Value::Object(payload_to_json(&payload)).to_string();
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(payload_from_json(json.as_object().expect("an object")).expect("a payload"), payload);
    }

    #[test]
    fn any_text_parses_or_fails_cleanly(text in ".*") {
        let _ = parse(&text).map(|filter| filter.to_string());
    }

    #[test]
    fn negation_inverts(filter in filter(), payload in prop::collection::btree_map("[a-z]{1,2}", value(), 0..5)) {
        let mut mismatches = Mismatches::default();
        let holds = matches(&filter, &payload, &mut mismatches);
        prop_assert_eq!(matches(&Filter::Not(Box::new(filter)), &payload, &mut mismatches), !holds);
    }
}

#[test]
fn lists_are_entered_on_the_way_and_at_the_end() {
    let payload = payload(&serde_json::json!({
            "stars": 4, "none": null, "tags": ["a", ["b", ["c"]], []], "shop": {"city": "Ulm", "open": true},
            "offers": [{"price": 1}, {"price": [2, 3.5]}, {"other": 9}, 7, [{"price": 4}], {"price": {"net": 5}}]
    }));
    let check = |path: &str, expected: &[&str]| {
        let path = parse_path(path).expect(path);
        let mut found = Vec::new();
        values_at(&payload, &path, &mut |value| found.push(value));
        let texts: Vec<String> = found.iter().map(|value| value_to_json(value).to_string()).collect();
        assert_eq!(texts, expected, "{path}");
        // A filter must find what is visited, and say that nothing is there if nothing is.
        let is_match = |filter: &Filter| matches(filter, &payload, &mut Mismatches::default());
        for value in found.into_iter().filter(|value| !matches!(value, Value::Map(_))) {
            assert!(is_match(&Filter::Compare(path.clone(), Operator::Equal, value.clone())), "{path}: {value:?}");
        }
        assert_eq!(is_match(&Filter::Exists(path.clone())), !expected.is_empty(), "{path}");
    };
    check("stars", &["4"]);
    check("none", &["null"]);
    check("tags", &["\"a\"", "\"b\"", "\"c\""]);
    check("shop", &[r#"{"city":"Ulm","open":true}"#]);
    check("shop.city", &["\"Ulm\""]);
    check("offers.price", &["1", "2", "3.5", "4", r#"{"net":5}"#]);
    check("offers.price.net", &["5"]);
    check("missing", &[]);
    check("stars.more", &[]);
    check("shop.city.more", &[]);
    check("tags.more", &[]);
}
