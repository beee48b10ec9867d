//! Indexes on payloads, counts of values, orders, and searches whose hits are ranked.

use pictor_proto::v1;
use serde_json::{Value, json};

use super::fixture::{Running, Server, pictor, run};

/// Seven items, of which one has no number and two have no colour.
const GOODS: &str = r#"{"id": "a", "texts": {"t": "text a"}, "color": "red", "n": 3, "tags": ["x", "y"]}
{"id": "b", "texts": {"t": "text b"}, "color": "blue", "n": 1, "tags": ["x"]}
{"id": "c", "texts": {"t": "text c"}, "color": "red", "n": 2}
{"id": "d", "texts": {"t": "text d"}, "color": "green", "n": 6, "tags": ["y"]}
{"id": "e", "texts": {"t": "text e"}, "color": "red", "n": 5, "tags": ["y", "z"]}
{"id": "f", "texts": {"t": "text f"}, "n": 4}
{"id": "g", "texts": {"t": "text g"}}
"#;

/// A server with the goods, and the binary.
struct Shop {
    home: tempfile::TempDir,
    server: Server,
    _running: Running,
}

impl Shop {
    fn empty() -> Self {
        let (server, running) = Server::new();
        Self { home: tempfile::tempdir().expect("a folder"), server, _running: running }
    }

    fn new() -> Self {
        let shop = Self::empty();
        let source = shop.home.path().join("goods.jsonl");
        std::fs::write(&source, GOODS).expect("a file");
        let mut command = pictor(shop.server.address, shop.home.path());
        let (code, _, stderr) = run(command.args(["--json", "ingest", "c", "--batch", "7"]).arg(&source));
        assert_eq!(code, 0, "{stderr}");
        shop
    }

    fn call(&self, words: &[&str]) -> (i32, Vec<Value>, String) {
        run(pictor(self.server.address, self.home.path()).arg("--json").args(words))
    }

    /// The JSON lines of a call that succeeds.
    #[track_caller]
    fn lines(&self, words: &[&str]) -> Vec<Value> {
        let (code, lines, stderr) = self.call(words);
        assert_eq!(code, 0, "{words:?}: {stderr}");
        lines
    }

    #[track_caller]
    fn check_failure(&self, words: &[&str], expected: i32, text: &str) {
        let (code, lines, stderr) = self.call(words);
        assert_eq!((code, lines.len()), (expected, 0), "{words:?}: {stderr}");
        assert!(stderr.contains(text), "{words:?}: {stderr}");
    }

    /// What people see of a call that succeeds.
    #[track_caller]
    fn text(&self, words: &[&str]) -> String {
        let output = pictor(self.server.address, self.home.path()).args(words).output().expect("it runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The request of a search that succeeds.
    #[track_caller]
    fn request(&self, flags: &[&str]) -> v1::SearchRequest {
        self.lines(&[&["search", "c"][..], flags].concat());
        self.server.with(|state| state.searches.remove(0))
    }
}

/// The words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn index(path: &str, kind: &str, is_ready: bool, values: u64, job: Option<&str>) -> Value {
    json!({"path": path, "kind": kind, "ready": is_ready, "values": values, "bytes": 8 * values, "job": job})
}

#[test]
fn indexes_are_created_listed_and_dropped() {
    let shop = Shop::new();
    let number = index("n", "number", true, 6, Some("job-1"));
    assert_eq!(shop.lines(&["index", "create", "c", "n", "--kind", "number"]), std::slice::from_ref(&number));
    let queued = shop.lines(&["index", "create", "c", "color", "--kind", "keyword", "--no-wait"]);
    assert_eq!((queued.len(), &queued[0]["id"], &queued[0]["state"]), (1, &json!("job-2"), &json!("queued")));
    let unfilled = index("color", "keyword", false, 0, Some("job-2"));
    assert_eq!(shop.lines(&["index", "list", "c"]), [number.clone(), unfilled.clone()]);
    assert_eq!(shop.lines(&["collection", "info", "c"])[0]["payload_indexes"], json!([number, unfilled]));
    let text = shop.text(&["index", "list", "c"]);
    let expected = [
        vec!["PAYLOAD", "INDEX", "KIND", "STATE", "VALUES", "MEMORY"],
        vec!["n", "number", "ready", "6", "48", "B"],
        vec!["color", "keyword", "filled", "by", "job-2", "0", "0", "B"],
    ];
    assert_eq!(words(&text), expected, "{text}");
    assert!(shop.text(&["collection", "info", "c"]).contains("PAYLOAD INDEX"));
    assert_eq!(shop.lines(&["job", "watch", "job-2"]).last().map(|job| &job["state"]), Some(&json!("succeeded")));
    assert_eq!(shop.lines(&["index", "list", "c"])[1], index("color", "keyword", true, 3, Some("job-2")));
    let text = shop.text(&["index", "create", "c", "tags", "--kind", "keyword"]);
    assert!(text.contains("job-3 succeeded") && text.contains("tags"), "{text}");

    let dropped = shop.lines(&["index", "drop", "c", "n", "--kind", "number"]);
    assert_eq!(dropped, [json!({"dropped": "n", "kind": "number"})]);
    assert_eq!(shop.lines(&["index", "list", "c"]).len(), 2);
    shop.check_failure(&["index", "drop", "c", "n", "--kind", "number"], 1, "NOT_FOUND");
    shop.check_failure(&["index", "create", "c", "color", "--kind", "keyword"], 1, "ALREADY_EXISTS");
    shop.check_failure(&["index", "create", "c", "color", "--kind", "text"], 2, "keyword, number, bool, time, prefix");
    shop.check_failure(&["index", "create", "c", "color"], 2, "--kind");
    shop.check_failure(&["index", "list", "nothing"], 1, "NOT_FOUND");
}

#[test]
fn an_index_without_items_is_ready_at_once() {
    let shop = Shop::empty();
    let made = index("made", "time", true, 0, None);
    assert_eq!(shop.lines(&["index", "create", "c", "made", "--kind", "time"]), std::slice::from_ref(&made));
    assert_eq!(shop.lines(&["index", "list", "c"]), [made]);
}

#[test]
fn values_are_counted() {
    let shop = Shop::new();
    let facet = |path: &str, items: u64, distinct: u64, counts: &[(&str, u64)]| {
        let value = |(value, count): &(&str, u64)| json!({"value": value, "count": count});
        let values: Vec<_> = counts.iter().map(value).collect();
        json!({"facet": path, "distinct": distinct, "values": values, "items": items})
    };
    let colors = facet("color", 7, 3, &[("red", 3), ("blue", 1), ("green", 1)]);
    let tags = facet("tags", 7, 3, &[("y", 3), ("x", 2), ("z", 1)]);
    assert_eq!(shop.lines(&["facets", "c", "color", "tags"]), [colors, tags]);
    let (code, lines, stderr) = shop.call(&["facets", "c", "color", "--filter", "n < 4", "--limit", "1"]);
    assert_eq!((code, lines), (0, vec![facet("color", 3, 2, &[("red", 2)])]));
    assert!(stderr.contains("warning: filter: 7 payloads were read to judge n"), "{stderr}");
    let text = shop.text(&["facets", "c", "color", "nothing", "--limit", "2"]);
    let expected = [
        vec!["FACET", "VALUE", "ITEMS"],
        vec!["color", "red", "3"],
        vec!["color", "blue", "1"],
        vec!["color", "(1", "more", "value)"],
        vec!["nothing", "(no", "value)"],
        vec!["7", "items", "counted"],
    ];
    assert_eq!(words(&text), expected, "{text}");
    shop.check_failure(&["facets", "c"], 2, "<PATH>");
    shop.check_failure(&["facets", "c", "color", "--limit", "0"], 2, "--limit");
}

#[test]
fn a_ranking_is_sent_as_given() {
    use v1::boost::Shape;
    use v1::fusion::Method;
    let shop = Shop::new();
    let plain = shop.request(&["--text", "shoe"]);
    let parts = plain.parts.clone();
    assert_eq!(plain, v1::SearchRequest { parts, ..unranked() });

    let flags = [
        "--boost",
        "n=0..6*0.5",
        "--boost",
        "made~30d*-0.25",
        "--diversity",
        "0.75",
        "--distinct",
        "-0.5",
        "--distinct-pictures",
        "6",
    ];
    let more = ["--group-by", "color=2", "--facet", "color", "--facet", "tags", "--candidates", "300", "--explain"];
    let examples = ["--like", "a", "--like", "b", "--unlike", "c", "--prefetch", "text:200"];
    let ranked = shop.request(&[&flags[..], &more, &examples].concat());
    let number = Shape::Number(v1::NumberRamp { from: 0.0, to: 6.0 });
    let half_life = Some(prost_types::Duration { seconds: 30 * 24 * 3600, nanos: 0 });
    let recency = Shape::Recency(v1::Recency { half_life });
    let expected = v1::SearchRequest {
        candidates: 300,
        boosts: vec![
            v1::Boost { path: "n".into(), weight: 0.5, shape: Some(number) },
            v1::Boost { path: "made".into(), weight: -0.25, shape: Some(recency) },
        ],
        distinct: Some(-0.5),
        distinct_pictures: Some(6),
        diversity: Some(0.75),
        group_by: Some(v1::GroupBy { path: "color".into(), size: 2 }),
        prefetch: Some(v1::Prefetch { field: "text".into(), limit: 200 }),
        recommend: Some(v1::Recommend {
            positive: vec!["a".into(), "b".into()],
            negative: vec!["c".into()],
            strategy: v1::RecommendStrategy::Unspecified.into(),
        }),
        facets: vec!["color".into(), "tags".into()],
        explain: v1::Explain::Plan.into(),
        ..unranked()
    };
    assert_eq!(ranked, expected);

    let fused = shop.request(&["--text", "shoe", "--fields", "image=0.5,text", "--fusion", "rrf:10"]);
    let field = |field: &str, weight| v1::FusedField { field: field.into(), weight };
    assert_eq!(fused.fields, [field("image", Some(0.5)), field("text", None)]);
    let method = |fusion: Option<v1::Fusion>| fusion.and_then(|fusion| fusion.method);
    assert_eq!(method(fused.fusion), Some(Method::ReciprocalRank(v1::ReciprocalRank { k: Some(10.0) })));
    let fused = shop.request(&["--text", "shoe", "--fields", "image", "--fields", "text", "--fusion", "weighted"]);
    assert_eq!((fused.fields.len(), method(fused.fusion)), (2, Some(Method::WeightedScores(v1::WeightedScores {}))));
    let best = shop.request(&["--unlike", "a", "--strategy", "best-score"]).recommend.unwrap_or_default();
    assert_eq!((best.negative, best.strategy), (vec!["a".to_owned()], v1::RecommendStrategy::BestScore.into()));
}

/// A search for nothing yet, with the flags' default values.
fn unranked() -> v1::SearchRequest {
    let select = v1::ItemSelection { payload: Some(true), texts: true, ..Default::default() };
    v1::SearchRequest { collection: "c".into(), limit: 10, select: Some(select), ..Default::default() }
}

/// A search with everything that an answer can carry.
fn grouped() -> Vec<&'static str> {
    let words = "search c --text x --group-by color=2 --limit 2 --facet tags --boost n=0..6*0.5 --explain --filter";
    words.split(' ').chain(["n < 9"]).collect()
}

#[test]
fn groups_facets_and_plans_have_lines_of_their_own() {
    let shop = Shop::new();
    let lines = shop.lines(&grouped());
    assert_eq!(
        lines[0],
        json!({"rank": 1, "id": "a", "score": 0.1, "field": "text", "generation": 0,
            "part": {"kind": "text", "name": "t", "index": 0}, "version": 1,
            "payload": {"color": "red", "n": 3, "tags": ["x", "y"]}, "texts": {"t": ["text a"]}, "group": "red",
            "explanation": {"similarity": 0.1, "boosts": [{"path": "n", "added": 0.25}], "fields": []}})
    );
    let hits: Vec<_> = lines[..3].iter().map(|hit| json!([hit["rank"], hit["group"], hit["id"]])).collect();
    assert_eq!(hits, [json!([1, "red", "a"]), json!([1, "red", "c"]), json!([2, "blue", "b"])]);
    let values = json!([{"value": "y", "count": 3}, {"value": "x", "count": 2}, {"value": "z", "count": 1}]);
    let missing = json!([{"path": "n", "kind": "number"}]);
    let behind = [
        json!({"facet": "tags", "distinct": 3, "values": values}),
        json!({"plan": {"strategy": "listed", "matches": 6, "payloads_read": 7, "missing": missing}}),
    ];
    assert_eq!(lines[3..], behind);

    let fused = shop.lines(&["search", "c", "--text", "x", "--fields", "image,text", "--explain", "--limit", "1"]);
    let fields = json!([{"field": "image", "rank": 2, "score": 0.5}, {"field": "text", "rank": null, "score": null}]);
    assert_eq!(fused.len(), 1);
    assert_eq!(fused[0]["explanation"], json!({"similarity": 0.1, "boosts": [], "fields": fields}));
    assert_eq!(fused[0].get("group"), None);
}

#[test]
fn people_see_groups_facets_and_plans() {
    let shop = Shop::new();
    let text = shop.text(&grouped());
    let lines = words(&text);
    assert_eq!(lines[0], ["RANK", "GROUP", "SCORE", "ID", "MADE", "OF", "MATCHED", "PAYLOAD"]);
    assert_eq!(lines[1][..9], ["1", "red", "0.1000", "a", "similarity", "0.1000,", "n", "+0.2500", "text"], "{text}");
    assert_eq!(lines[4][..7], ["2", "groups", "with", "3", "hits", "from", "field"], "{text}");
    let behind = [
        vec!["FACET", "VALUE", "ITEMS"],
        vec!["tags", "y", "3"],
        vec!["tags", "x", "2"],
        vec!["tags", "z", "1"],
        vec![],
        vec!["PLAN"],
        vec!["strategy", "listed:", "every", "match", "was", "compared"],
        vec!["matching", "items", "6"],
        vec!["payloads", "read", "7"],
        vec!["missing", "index", "n", "(number)"],
    ];
    assert_eq!(lines[6..], behind, "{text}");
}

#[test]
fn an_export_goes_by_values() {
    let shop = Shop::new();
    let ids = |flags: &[&str]| -> Vec<String> {
        let lines = shop.lines(&[&["export", "c"][..], flags].concat());
        lines.iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(ids(&[]), ["a", "b", "c", "d", "e", "f", "g"]);
    assert_eq!(ids(&["--order-by", "n"]), ["b", "c", "a", "f", "e", "d"]);
    assert_eq!(ids(&["--order-by", "n:desc"]), ["d", "e", "f", "a", "c", "b"]);
    shop.check_failure(&["export", "c", "--order-by", "n:up"], 2, "expected PATH or PATH:desc");
    shop.check_failure(&["export", "c", "--order-by", ":desc"], 2, "expected PATH or PATH:desc");
}

#[test]
fn senseless_flags_are_refused() {
    let shop = Shop::new();
    let check = |flags: &[&str], expected: &str| {
        shop.check_failure(&[&["search", "c", "--text", "x"][..], flags].concat(), 2, expected);
    };
    check(&["--boost", "rating"], "expected PATH=FROM..TO*WEIGHT like rating=0..5*0.1");
    check(&["--boost", "rating=5..5*1"], "expected two different numbers");
    check(&["--boost", "rating=0..5*0"], "a weight is a number other than 0");
    check(&["--boost", "made~soon*1"], "expected a duration like 30s");
    check(&["--group-by", "color=0"], "expected PATH, or PATH=SIZE");
    check(&["--diversity", "1.5"], "expected a number from 0 to 1");
    check(&["--distinct", "-2"], "expected a number from -1 to 1");
    check(&["--fields", "image,=2"], "expected FIELD or FIELD=WEIGHT");
    check(&["--fields", "image", "--field", "text"], "cannot be used with");
    check(&["--fields", "image", "--fusion", "sum"], "expected rrf, rrf:K");
    check(&["--fusion", "rrf"], "--fields");
    check(&["--prefetch", "text"], "expected FIELD:N");
    check(&["--candidates", "0"], "--candidates");
    check(&["--strategy", "average"], "give at least one of them");
    check(&["--like", "a", "--strategy", "best-score"], "compares with --like and --unlike alone");
    check(&["--like", "a", "--strategy", "worst"], "average, best-score");
    shop.check_failure(&["search", "c", "--facet", "color"], 2, "give something to look for");
}
