//! Compiles the `.proto` files with a pure-Rust compiler: no `protoc` binary is needed.
use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["quorate/v1/link.proto", "quorate/v1/api.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::Compiler::new(["proto"])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(files)?
        .encode_file_descriptor_set();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), &descriptors)?;
    let descriptors: prost_types::FileDescriptorSet = prost::Message::decode(&descriptors[..])?;
    tonic_prost_build::configure()
        .build_transport(true)
        .bytes(".")
        .boxed("quorate.v1.Failure.sharing")
        .compile_fds(descriptors)?;
    Ok(())
}
