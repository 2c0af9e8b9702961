#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| audiostreamer_fuzz::found(bytes));
