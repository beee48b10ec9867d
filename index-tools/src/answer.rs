//! A search's answer on stdout. JSON: a line for each hit, then one for each facet, whose first key is `facet`, and one for the plan, whose
//! only key is `plan`. For people: tables of the same.

use std::io;

use pictor_proto::v1;
use serde_json::{Value, json};

use crate::json::{payload_to_json, short_float, value_to_json};
use crate::output::{Output, left, right, shorten};
use crate::{render, units};

/// Values of one facet that people are shown below hits.
const FACET_VALUES_SHOWN: usize = 20;

/// Writes the answer; `boosts` are the paths that the request's boosts name.
///
/// # Errors
/// If stdout is closed.
pub fn write(reply: &v1::SearchResponse, boosts: &[String], output: &Output) -> io::Result<()> {
    if output.is_json() {
        return write_objects(reply, boosts, output);
    }
    write_hits(reply, boosts, output)?;
    output.say(&summary(reply))?;
    if !reply.facets.is_empty() {
        output.say("")?;
        write_facets(&reply.facets, FACET_VALUES_SHOWN, output)?;
    }
    if let Some(plan) = &reply.plan {
        output.say("")?;
        write_plan(plan, output)?;
    }
    Ok(())
}

fn write_objects(reply: &v1::SearchResponse, boosts: &[String], output: &Output) -> io::Result<()> {
    for (group, hit) in hits(reply) {
        output.object(&hit_object(reply, group, hit, boosts))?;
    }
    for facet in &reply.facets {
        output.object(&render::facet(facet))?;
    }
    if let Some(plan) = &reply.plan {
        output.object(&json!({ "plan": render::plan(plan) }))?;
    }
    Ok(())
}

/// Every hit, with its group if the answer has groups.
fn hits(reply: &v1::SearchResponse) -> impl Iterator<Item = (Option<&v1::HitGroup>, &v1::Hit)> {
    let alone = reply.hits.iter().map(|hit| (None, hit));
    let grouped = reply.groups.iter().flat_map(|group| group.hits.iter().map(move |hit| (Some(group), hit)));
    alone.chain(grouped)
}

fn hit_object(reply: &v1::SearchResponse, group: Option<&v1::HitGroup>, hit: &v1::Hit, boosts: &[String]) -> Value {
    let item = hit.item.clone().unwrap_or_default();
    let mut object = json!({
        "rank": hit.rank, "id": hit.id, "score": short_float(hit.score), "field": reply.field,
        "generation": reply.generation, "part": hit.part.as_ref().map(render::part),
        "version": item.version, "payload": payload_to_json(&item.payload), "texts": render::texts(&item),
    });
    if let Some(group) = group {
        object["group"] = group.value.as_ref().map_or(Value::Null, value_to_json);
    }
    if let Some(explanation) = &hit.explanation {
        object["explanation"] = render::explanation(explanation, boosts);
    }
    object
}

fn write_hits(reply: &v1::SearchResponse, boosts: &[String], output: &Output) -> io::Result<()> {
    let is_grouped = !reply.groups.is_empty();
    let is_explained = hits(reply).any(|(_, hit)| hit.explanation.is_some());
    let mut columns = vec![right("RANK")];
    if is_grouped {
        columns.push(left("GROUP"));
    }
    columns.extend([right("SCORE"), left("ID")]);
    if is_explained {
        columns.push(left("MADE OF"));
    }
    columns.extend([left("MATCHED"), left("PAYLOAD")]);
    let row = |(group, hit): (Option<&v1::HitGroup>, &v1::Hit)| {
        let item = hit.item.clone().unwrap_or_default();
        let part = hit.part.clone().unwrap_or_default();
        let matched = item.texts.get(&part.name).and_then(|texts| texts.chunks.get(part.index as usize));
        let mut row = vec![hit.rank.to_string()];
        row.extend(group.map(|group| group.value.as_ref().map(render::value_label).unwrap_or_default()));
        row.extend([format!("{:.4}", hit.score), hit.id.clone()]);
        if is_explained {
            row.push(hit.explanation.as_ref().map(|explanation| made_of(explanation, boosts)).unwrap_or_default());
        }
        row.push(matched.map_or_else(|| render::part_label(&part), |chunk| shorten(chunk, 60)));
        row.push(Value::from(payload_to_json(&item.payload)).to_string());
        row
    };
    let rows: Vec<_> = hits(reply).map(row).collect();
    output.table(&columns, &rows)
}

/// What a score is made of, like `similarity 0.7100, rating +0.0500` and `similarity 0.0325, image #1 at 0.7100, text none`.
fn made_of(explanation: &v1::HitExplanation, boosts: &[String]) -> String {
    let similarity = std::iter::once(format!("similarity {:.4}", explanation.similarity));
    let boosts = boosts.iter().zip(&explanation.boosts).map(|(path, added)| format!("{path} {added:+.4}"));
    let fields = explanation.fields.iter().map(|field| match field.rank {
        0 => format!("{} none", field.field),
        rank => format!("{} #{rank} at {:.4}", field.field, field.score),
    });
    similarity.chain(boosts).chain(fields).collect::<Vec<_>>().join(", ")
}

fn summary(reply: &v1::SearchResponse) -> String {
    let found = units::counted(hits(reply).count() as u64, "hit");
    let found = match reply.groups.len() {
        0 => found,
        groups => format!("{} with {found}", units::counted(groups as u64, "group")),
    };
    let timings = reply.timings.unwrap_or_default();
    format!(
        "{found} from field {} generation {}{} in {} (encode {}, search {}, fetch {})",
        reply.field,
        reply.generation,
        if reply.exact { ", exact," } else { "" },
        units::micros(timings.total_us),
        units::micros(timings.encode_us),
        units::micros(timings.search_us),
        units::micros(timings.fetch_us),
    )
}

/// Writes the first `shown` values of each facet as a table for people.
///
/// # Errors
/// If stdout is closed.
pub fn write_facets(facets: &[v1::Facet], shown: usize, output: &Output) -> io::Result<()> {
    let mut rows = Vec::new();
    for facet in facets {
        let before = rows.len();
        rows.extend(facet.values.iter().take(shown).map(|counted| {
            let value = counted.value.as_ref().map(render::value_label).unwrap_or_default();
            vec![facet.path.clone(), value, units::count(counted.count)]
        }));
        let more = facet.distinct.saturating_sub((rows.len() - before) as u64);
        if facet.distinct == 0 {
            rows.push(vec![facet.path.clone(), "(no value)".to_owned(), String::new()]);
        } else if more > 0 {
            rows.push(vec![facet.path.clone(), format!("({})", units::counted(more, "more value")), String::new()]);
        }
    }
    output.table(&[left("FACET"), left("VALUE"), right("ITEMS")], &rows)
}

fn write_plan(plan: &v1::FilterPlan, output: &Output) -> io::Result<()> {
    let strategy = match plan.strategy.as_str() {
        "listed" => "listed: every match was compared",
        "walk" => "walk: the graph was walked through the matches",
        "windows" => "windows: more and more of the nearest were judged",
        other => other,
    };
    let mut rows = vec![vec!["strategy".to_owned(), strategy.to_owned()]];
    if let Some(matches) = plan.matches {
        rows.push(vec!["matching items".to_owned(), units::count(matches)]);
    }
    rows.push(vec!["payloads read".to_owned(), units::count(plan.payloads_read)]);
    rows.extend(plan.missing.iter().map(|missing| {
        let kind = if missing.kind.is_empty() { "no kind answers this" } else { &missing.kind };
        vec!["missing index".to_owned(), format!("{} ({kind})", missing.path)]
    }));
    output.table(&[left("PLAN"), left("")], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_fit_in_a_cell() {
        let boosts = ["rating".to_owned(), "made".to_owned()];
        let mut explanation = v1::HitExplanation { similarity: 0.71, boosts: vec![0.05, -0.1], fields: Vec::new() };
        assert_eq!(made_of(&explanation, &boosts), "similarity 0.7100, rating +0.0500, made -0.1000");
        explanation.boosts.clear();
        let rank = |field: &str, rank, score| v1::FieldRank { field: field.to_owned(), rank, score };
        explanation.fields = vec![rank("image", 2, 0.5), rank("text", 0, 0.0)];
        assert_eq!(made_of(&explanation, &[]), "similarity 0.7100, image #2 at 0.5000, text none");
        let expected = json!({
            "similarity": 0.71, "boosts": [],
            "fields": [{"field": "image", "rank": 2, "score": 0.5}, {"field": "text", "rank": null, "score": null}],
        });
        assert_eq!(render::explanation(&explanation, &[]), expected);
    }
}
