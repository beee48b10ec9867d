//! Compiles the protos with protox, so that nobody needs `protoc`.

use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 9] = [
    "pictor/v1/values.proto",
    "pictor/v1/filter.proto",
    "pictor/v1/collections.proto",
    "pictor/v1/items.proto",
    "pictor/v1/search.proto",
    "pictor/v1/encoders.proto",
    "pictor/v1/jobs.proto",
    "pictor/v1/training.proto",
    "pictor/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=pictor");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("pictor_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".pictor.v1.Media.data")
        .bytes(".pictor.v1.StoredMedia.data")
        .bytes(".pictor.v1.QueryPart.image")
        .bytes(".pictor.v1.EmbedInput.image")
        .compile_fds(descriptors)?;
    Ok(())
}
