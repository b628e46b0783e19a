//! Compiles the protocol files without a protoc binary.

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["felix/felixbackend.proto", "caracal/sync.proto", "caracal/admin.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let encoded = descriptors.encode_to_vec();
    // Maps are ordered so that equal messages have equal bytes and equal JSON.
    tonic_prost_build::configure()
        .btree_map(".")
        .message_attribute(".caracal.admin", "#[derive(::serde::Serialize)]")
        .message_attribute(".caracal.admin", "#[serde(rename_all = \"camelCase\")]")
        .compile_fds(descriptors)?;
    pbjson_build::Builder::new().register_descriptors(&encoded)?.btree_map([".felix"]).build(&[".felix"])?;
    Ok(())
}
