//! Any bytes as a file of manifests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_datastore::admit::fuzz::fuzz_one(data));
