//! Encoders.

use pictor_proto::v1;

use crate::encode::{EncoderInfo, Role};
use crate::engine::{EncoderListing, EncoderState};

pub(in crate::rpc) fn role_from_proto(role: v1::EncodeRole) -> Role {
    match role {
        v1::EncodeRole::Query => Role::Query,
        v1::EncodeRole::Unspecified | v1::EncodeRole::Document => Role::Document,
    }
}

pub(in crate::rpc) fn info_to_proto(info: &EncoderInfo) -> v1::Encoder {
    v1::Encoder {
        name: info.name.clone(),
        revision: info.revision.clone(),
        architecture: info.architecture.clone(),
        state: v1::EncoderState::Ready as i32,
        problem: String::new(),
        fingerprint: info.fingerprint.clone(),
        space: info.space.clone(),
        dimension: info.dimension as u32,
        encodes_text: info.encodes_text,
        encodes_image: info.encodes_image,
        max_tokens: info.max_tokens as u32,
        dtype: info.dtype.to_owned(),
        device: info.device.clone(),
        prompts: info.prompts.keys().cloned().collect(),
    }
}

pub(in crate::rpc) fn encoder_to_proto(listing: EncoderListing) -> v1::Encoder {
    let described = v1::Encoder {
        name: listing.name,
        revision: listing.revision,
        architecture: listing.architecture,
        ..Default::default()
    };
    match listing.state {
        EncoderState::Ready(info) => info_to_proto(&info),
        EncoderState::Available => v1::Encoder { state: v1::EncoderState::Available as i32, ..described },
        EncoderState::Failed(problem) => v1::Encoder { state: v1::EncoderState::Failed as i32, problem, ..described },
    }
}
