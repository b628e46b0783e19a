//! Any bytes from the control half.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_agent::sync::fuzz::to_data(data));
