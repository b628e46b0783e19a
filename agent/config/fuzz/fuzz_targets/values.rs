//! Any bytes as a file, a resource and an environment of parameters.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_config::fuzz::fuzz_one(data));
