//! Any bytes from an external driver.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| caracal_external::fuzz::fuzz_one(data));
