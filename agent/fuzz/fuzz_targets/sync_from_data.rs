//! Any bytes from the data half.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_agent::sync::fuzz::from_data(data));
