#![no_main]
#![allow(dead_code, reason = "one claim of many")]

#[path = "../claims.rs"]
mod claims;

libfuzzer_sys::fuzz_target!(|data: &[u8]| claims::checkpoint(data));
