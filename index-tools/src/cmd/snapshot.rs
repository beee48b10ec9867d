//! `pictor snapshot create|list|restore|delete`.

use std::time::Duration;

use anyhow::{Result, bail};
use pictor_proto::v1;
use serde_json::{Value, json};

use crate::context::{Context, with_deadline};
use crate::json::timestamp_text;
use crate::output::{left, right};
use crate::units;

/// How long a server may take to start with a snapshot.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(200);

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Freeze everything that the server holds; writers go on
    Create,
    /// List the snapshots, the oldest first
    List,
    /// Put a snapshot in the place of all data, after a check of every byte; what was written since is gone
    Restore {
        /// As `pictor snapshot list` shows it
        name: String,
        /// Return once the server has the snapshot checked, without waiting until it serves it
        #[arg(long)]
        no_wait: bool,
    },
    /// Remove a snapshot
    Delete {
        /// As `pictor snapshot list` shows it
        name: String,
    },
}

/// Runs the verb.
///
/// # Errors
/// If the server refuses, does not come back, or stdout is closed.
pub async fn run(command: Command, context: &Context) -> Result<()> {
    let mut admin = context.client.admin.clone();
    match command {
        Command::Create => {
            let reply = admin.create_snapshot(unhurried(v1::CreateSnapshotRequest {})).await?.into_inner();
            let snapshot = reply.snapshot.unwrap_or_default();
            let line = format!("{} ({})", snapshot.name, units::bytes(snapshot.bytes));
            context.output.either(&object(&snapshot), &line)?;
        }
        Command::List => {
            let reply = admin.list_snapshots(context.request(v1::ListSnapshotsRequest {})).await?.into_inner();
            if context.output.is_json() {
                return reply.snapshots.iter().try_for_each(|snapshot| Ok(context.output.object(&object(snapshot))?));
            }
            let row = |snapshot: &v1::Snapshot| vec![snapshot.name.clone(), units::bytes(snapshot.bytes)];
            let rows: Vec<_> = reply.snapshots.iter().map(row).collect();
            context.output.table(&[left("SNAPSHOT"), right("BYTES")], &rows)?;
        }
        Command::Restore { name, no_wait } => {
            let before = started(context).await?;
            admin.restore_snapshot(unhurried(v1::RestoreSnapshotRequest { name: name.clone() })).await?;
            if !no_wait {
                wait_for_start(context, before).await?;
            }
            context.output.either(&json!({ "restored": name }), &format!("restored {name}"))?;
        }
        Command::Delete { name } => {
            admin.delete_snapshot(context.request(v1::DeleteSnapshotRequest { name: name.clone() })).await?;
            context.output.either(&json!({ "deleted": name }), &format!("deleted the snapshot {name}"))?;
        }
    }
    Ok(())
}

/// Every byte is read, which takes as long as there are bytes.
fn unhurried<T>(message: T) -> tonic::Request<T> {
    with_deadline(message, Duration::ZERO)
}

async fn started(context: &Context) -> Result<Option<prost_types::Timestamp>, tonic::Status> {
    let request = context.request(v1::GetInfoRequest {});
    Ok(context.client.admin.clone().get_info(request).await?.into_inner().started)
}

/// Waits until the server has started anew.
async fn wait_for_start(context: &Context, before: Option<prost_types::Timestamp>) -> Result<()> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        // While it starts, the server does not answer.
        match started(context).await {
            Ok(now) if now != before => return Ok(()),
            outcome if tokio::time::Instant::now() > until => {
                bail!("the server took the snapshot and has not come back within {PATIENCE:?}: {outcome:?}")
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn object(snapshot: &v1::Snapshot) -> Value {
    let created = snapshot.created.as_ref().map(timestamp_text);
    json!({ "name": snapshot.name, "created": created, "bytes": snapshot.bytes })
}
