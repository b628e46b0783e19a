//! Any bytes from a pod.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_agent::policysync::fuzz::fuzz_one(data));
