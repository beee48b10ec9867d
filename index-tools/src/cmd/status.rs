//! `pictor status`.

use anyhow::Result;
use pictor_proto::v1;
use serde_json::json;

use crate::attention::attention;
use crate::context::Context;
use crate::json::timestamp_text;
use crate::output::{left, right};
use crate::{render, units};

/// No arguments of its own.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Writes what the server says about itself.
///
/// # Errors
/// If the server refuses or stdout is closed.
pub async fn run(_args: Args, context: &Context) -> Result<()> {
    let mut admin = context.client.admin.clone();
    let info = admin.get_info(context.request(v1::GetInfoRequest {})).await?.into_inner();
    let stats = admin.get_stats(context.request(v1::GetStatsRequest {})).await?.into_inner();
    let jobs = context.client.jobs.clone().list_jobs(context.request(v1::ListJobsRequest {})).await?.into_inner().jobs;
    let snapshots = admin.list_snapshots(context.request(v1::ListSnapshotsRequest {})).await?.into_inner().snapshots;
    let attention = attention(&stats, &jobs);
    if context.output.is_json() {
        context.output.object(&object(&info, &stats, (&jobs, &snapshots, &attention)))?;
        return Ok(());
    }
    let in_state = |state: v1::JobState| jobs.iter().filter(|job| job.state() == state).count();
    let newest = snapshots.iter().filter_map(|snapshot| snapshot.created.as_ref()).map(timestamp_text).max();
    let disk = units::bytes(stats.store_bytes);
    let rows = [
        ("version", format!("{} ({})", info.version, info.git_revision)),
        ("server id", info.server_id.clone()),
        ("started", info.started.as_ref().map(timestamp_text).unwrap_or_default()),
        ("device", format!("{}, {}", info.device, units::counted(u64::from(info.threads), "thread"))),
        ("memory", format!("{} of {}", units::bytes(stats.resident_bytes), units::bytes(info.memory_bytes))),
        ("disk", stats.disk_free_bytes.map_or(disk.clone(), |free| format!("{disk}, {} left", units::bytes(free)))),
        (
            "snapshots",
            newest.map_or("none".to_owned(), |newest| format!("{}, the newest of {newest}", snapshots.len())),
        ),
        ("jobs", format!("{} running, {} queued", in_state(v1::JobState::Running), in_state(v1::JobState::Queued))),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    context.output.table(&[left("SERVER"), left("")], &rows)?;
    context.output.say("")?;
    if !attention.is_empty() {
        context.output.say("ATTENTION")?;
        attention.iter().try_for_each(|line| context.output.say(line))?;
        context.output.say("")?;
    }
    let rows: Vec<_> = stats
        .collections
        .iter()
        .map(|collection| {
            let behind = collection.version.saturating_sub(collection.applied_version);
            vec![
                collection.name.clone(),
                units::count(collection.items),
                units::count(collection.vectors),
                units::bytes(collection.index_bytes),
                if behind == 0 {
                    "up to date".to_owned()
                } else {
                    format!("{} behind", units::counted(behind, "write"))
                },
            ]
        })
        .collect();
    let columns = [left("COLLECTION"), right("ITEMS"), right("VECTORS"), right("INDEX"), left("STATE")];
    context.output.table(&columns, &rows)?;
    context.output.say("")?;
    let rows: Vec<_> = stats.collections.iter().flat_map(index_rows).collect();
    let columns = [
        left("INDEX"),
        right("GENERATION"),
        right("VECTORS"),
        right("TAIL"),
        right("WAITING"),
        right("SEGMENTS"),
        right("FILE"),
        right("SELF"),
        left("RECALL AT 10"),
    ];
    context.output.table(&columns, &rows)?;
    context.output.say("")?;
    let rows: Vec<_> = stats
        .encoders
        .iter()
        .map(|encoder| {
            vec![
                encoder.encoder.clone(),
                if encoder.healthy { "healthy" } else { "unhealthy" }.to_owned(),
                format!("{}/{}", encoder.queue_depth, encoder.queue_capacity),
                units::count(encoder.inputs),
                units::count(encoder.failures),
            ]
        })
        .collect();
    let columns = [left("ENCODER"), left("HEALTH"), right("QUEUE"), right("INPUTS"), right("FAILURES")];
    context.output.table(&columns, &rows)?;
    Ok(())
}

/// One row for each generation of each field.
fn index_rows(collection: &v1::CollectionStats) -> impl Iterator<Item = Vec<String>> {
    collection.indexes.iter().map(|index| {
        let kinds = index.kinds.iter().map(|kind| format!("{} {:.3} (ef {})", kind.kind, kind.recall, kind.ef));
        vec![
            format!("{}.{}", collection.name, index.field),
            index.generation.to_string(),
            units::count(index.vectors),
            units::count(index.tail_vectors),
            units::count(index.deferred_vectors),
            units::count(index.segments),
            units::bytes(index.segment_bytes),
            index.self_retrieval.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", 100.0 * share)),
            kinds.collect::<Vec<_>>().join(", "),
        ]
    })
}

fn indexes(collection: &v1::CollectionStats) -> Vec<serde_json::Value> {
    let kind = |kind: &v1::QueryKindStats| json!({"kind": kind.kind, "recall": kind.recall, "ef": kind.ef, "queries": kind.queries});
    let index = |index: &v1::IndexStats| {
        json!({
            "field": index.field, "generation": index.generation, "vectors": index.vectors,
            "tail_vectors": index.tail_vectors, "tail_capacity": index.tail_capacity,
            "deferred_vectors": index.deferred_vectors, "segments": index.segments,
            "segment_bytes": index.segment_bytes, "deleted_vectors": index.deleted_vectors,
            "self_retrieval": index.self_retrieval, "kinds": index.kinds.iter().map(kind).collect::<Vec<_>>(),
        })
    };
    collection.indexes.iter().map(index).collect()
}

fn object(
    info: &v1::GetInfoResponse,
    stats: &v1::GetStatsResponse,
    (jobs, snapshots, attention): (&[v1::Job], &[v1::Snapshot], &[String]),
) -> serde_json::Value {
    let mut n_jobs = std::collections::BTreeMap::<&str, u64>::new();
    jobs.iter().for_each(|job| *n_jobs.entry(render::job_state(job.state())).or_default() += 1);
    let collections: Vec<_> = stats
        .collections
        .iter()
        .map(|collection| {
            json!({
                "name": collection.name, "items": collection.items, "vectors": collection.vectors,
                "index_bytes": collection.index_bytes, "version": collection.version,
                "applied_version": collection.applied_version, "indexes": indexes(collection),
            })
        })
        .collect();
    let encoders: Vec<_> = stats
        .encoders
        .iter()
        .map(|encoder| {
            json!({
                "encoder": encoder.encoder, "healthy": encoder.healthy, "queue_depth": encoder.queue_depth,
                "queue_capacity": encoder.queue_capacity, "batches": encoder.batches, "inputs": encoder.inputs,
                "failures": encoder.failures,
            })
        })
        .collect();
    let features: Vec<_> = info
        .features
        .iter()
        .map(|feature| json!({ "family": feature.family, "name": feature.name, "summary": feature.summary }))
        .collect();
    json!({
        "version": info.version, "git_revision": info.git_revision, "server_id": info.server_id,
        "format": info.format, "device": info.device, "threads": info.threads, "memory_bytes": info.memory_bytes,
        "started": info.started.as_ref().map(timestamp_text), "uptime_seconds": stats.uptime_seconds,
        "store_bytes": stats.store_bytes, "disk_free_bytes": stats.disk_free_bytes,
        "disk_reserve_bytes": stats.disk_reserve_bytes, "attention": attention, "jobs": n_jobs,
        "snapshots": snapshots.len(), "resident_bytes": stats.resident_bytes, "collections": collections,
        "encoders": encoders, "limits": info.limits, "features": features,
    })
}
