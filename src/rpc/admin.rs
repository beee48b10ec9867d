//! The `Admin` service.

use pictor_proto::v1;
use pictor_proto::v1::admin_server::Admin;
use tonic::{Request, Response, Status};

use super::convert::values::timestamp_to_proto;
use super::status::answer;
use crate::collection::backend::{IndexReport, KindReport};
use crate::engine::Engine;
use crate::store::SnapshotInfo;
use crate::types::limits;

pub(super) struct AdminService(pub Engine);

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_info(&self, _: Request<v1::GetInfoRequest>) -> Result<Response<v1::GetInfoResponse>, Status> {
        let info = self.0.info();
        Ok(Response::new(v1::GetInfoResponse {
            version: info.version.to_owned(),
            git_revision: info.git_revision.to_owned(),
            server_id: info.server_id,
            format: info.format,
            device: info.device,
            threads: info.threads as u32,
            memory_bytes: info.memory_bytes,
            limits: limits::ALL.iter().map(|limit| (limit.name.to_owned(), limit.cap)).collect(),
            features: info
                .features
                .into_iter()
                .map(|feature| v1::Feature {
                    family: feature.family.to_owned(),
                    name: feature.name.to_owned(),
                    summary: feature.summary.to_owned(),
                })
                .collect(),
            started: Some(timestamp_to_proto(info.started)),
        }))
    }

    async fn get_stats(&self, _: Request<v1::GetStatsRequest>) -> Result<Response<v1::GetStatsResponse>, Status> {
        answer(self.0.stats().await, |stats| v1::GetStatsResponse {
            collections: stats
                .collections
                .into_iter()
                .map(|(name, stats)| v1::CollectionStats {
                    name,
                    items: stats.items,
                    vectors: stats.vectors.values().sum(),
                    index_bytes: stats.index_bytes,
                    version: stats.version,
                    applied_version: stats.applied_version,
                    indexes: stats.indexes.into_iter().map(index_to_proto).collect(),
                })
                .collect(),
            encoders: stats
                .encoders
                .into_iter()
                .map(|(encoder, stats)| v1::EncoderStats {
                    encoder,
                    queue_depth: stats.queue_depth as u64,
                    queue_capacity: stats.queue_capacity as u64,
                    batches: stats.batches,
                    inputs: stats.inputs,
                    failures: stats.failures,
                    healthy: stats.is_healthy,
                })
                .collect(),
            store_bytes: stats.store_bytes,
            resident_bytes: stats.resident_bytes,
            uptime_seconds: stats.uptime_seconds,
            problems: stats.problems,
            disk_free_bytes: stats.disk_left.map(|(free, _)| free),
            disk_reserve_bytes: stats.disk_left.map_or(0, |(_, reserve)| reserve),
        })
    }

    async fn create_snapshot(
        &self,
        _: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::CreateSnapshotResponse>, Status> {
        answer(self.0.create_snapshot().await, |snapshot| v1::CreateSnapshotResponse {
            snapshot: Some(snapshot_to_proto(snapshot)),
        })
    }

    async fn list_snapshots(
        &self,
        _: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        answer(self.0.list_snapshots().await, |snapshots| v1::ListSnapshotsResponse {
            snapshots: snapshots.into_iter().map(snapshot_to_proto).collect(),
        })
    }

    async fn restore_snapshot(
        &self,
        request: Request<v1::RestoreSnapshotRequest>,
    ) -> Result<Response<v1::RestoreSnapshotResponse>, Status> {
        answer(self.0.restore_snapshot(request.into_inner().name).await, |()| v1::RestoreSnapshotResponse {})
    }

    async fn delete_snapshot(
        &self,
        request: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotResponse>, Status> {
        answer(self.0.delete_snapshot(request.into_inner().name).await, |()| v1::DeleteSnapshotResponse {})
    }
}

fn index_to_proto(index: IndexReport) -> v1::IndexStats {
    let kind = |report: KindReport| v1::QueryKindStats {
        kind: report.kind.name().to_owned(),
        recall: report.recall,
        ef: u32::try_from(report.ef).unwrap_or(u32::MAX),
        queries: u32::try_from(report.queries).unwrap_or(u32::MAX),
    };
    v1::IndexStats {
        field: index.field,
        generation: index.generation,
        vectors: index.vectors,
        tail_vectors: index.tail_vectors,
        segment_bytes: index.segment_bytes,
        segments: index.segments,
        deleted_vectors: index.deleted_vectors,
        tail_capacity: index.tail_capacity,
        deferred_vectors: index.deferred_vectors,
        self_retrieval: index.self_retrieval,
        kinds: index.kinds.into_iter().map(kind).collect(),
    }
}

fn snapshot_to_proto(snapshot: SnapshotInfo) -> v1::Snapshot {
    let SnapshotInfo { name, created, bytes } = snapshot;
    v1::Snapshot { name, created: Some(timestamp_to_proto(created)), bytes }
}
