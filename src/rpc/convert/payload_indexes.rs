//! Indexes on payloads.

use pictor_proto::v1;

use super::filter::path_from_proto;
use crate::collection::PayloadIndexState;
use crate::collection::backend::PayloadIndexReport;
use crate::types::payload_index::{PayloadIndexSpec, PayloadKind};
use crate::types::{Error, Result};

pub(in crate::rpc) fn payload_index_from_proto(index: Option<v1::PayloadIndexSpec>) -> Result<PayloadIndexSpec> {
    let index = index.ok_or_else(|| Error::invalid("index", "an index is of a path and a kind"))?;
    let kind = match index.kind() {
        v1::PayloadKind::Keyword => PayloadKind::Keyword,
        v1::PayloadKind::Number => PayloadKind::Number,
        v1::PayloadKind::Bool => PayloadKind::Bool,
        v1::PayloadKind::Time => PayloadKind::Time,
        v1::PayloadKind::Prefix => PayloadKind::Prefix,
        v1::PayloadKind::Unspecified => {
            return Err(Error::invalid("index.kind", "an index is of kind keyword, number, bool, time or prefix"));
        }
    };
    let path = path_from_proto(&index.path).map_err(|error| error.within("index"))?;
    Ok(PayloadIndexSpec { path, kind })
}

pub(in crate::rpc) fn payload_index_to_proto(report: PayloadIndexReport) -> v1::PayloadIndexInfo {
    let PayloadIndexReport { index, values, bytes } = report;
    let kind = match index.spec.kind {
        PayloadKind::Keyword => v1::PayloadKind::Keyword,
        PayloadKind::Number => v1::PayloadKind::Number,
        PayloadKind::Bool => v1::PayloadKind::Bool,
        PayloadKind::Time => v1::PayloadKind::Time,
        PayloadKind::Prefix => v1::PayloadKind::Prefix,
    };
    v1::PayloadIndexInfo {
        spec: Some(v1::PayloadIndexSpec { path: index.spec.path.to_string(), kind: kind as i32 }),
        is_ready: index.state == PayloadIndexState::Ready,
        job: index.job,
        values,
        bytes,
    }
}
