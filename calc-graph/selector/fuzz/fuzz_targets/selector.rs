//! Any bytes as a selector.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_selector::fuzz::fuzz_one(data));
