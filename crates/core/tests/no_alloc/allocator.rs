//! Notices every allocation and every free inside of a real-time section.
//!
//! It stands in for glibc's `malloc` and its kin, so it sees Rust's allocations and those of C
//! libraries alike. Other tests include this file by its path.

#![expect(unsafe_code, reason = "an allocator is unsafe by its nature")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};

/// Runs `section` as a sound card's callback runs: panics when it has allocated or freed on this
/// thread, after printing where it did so first.
pub fn real_time<T>(section: impl FnOnce() -> T) -> T {
    OFFENCES.set(0);
    FORBIDDEN.set(true);
    let result = section();
    FORBIDDEN.set(false);
    assert!(OFFENCES.get() == 0, "{} allocations and frees in a real-time section", OFFENCES.get());
    result
}

thread_local! {
    // Constant and without a destructor: to read them allocates nothing.
    static FORBIDDEN: Cell<bool> = const { Cell::new(false) };
    static OFFENCES: Cell<u32> = const { Cell::new(0) };
}

fn check() {
    // Off meanwhile: to print allocates.
    if FORBIDDEN.replace(false) {
        if OFFENCES.replace(OFFENCES.get() + 1) == 0 {
            eprintln!("allocator called from:\n{}", std::backtrace::Backtrace::force_capture());
        }
        FORBIDDEN.set(true);
    }
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
}

// SAFETY, for all that follow: each has the contract of the C function of its name and hands its
// arguments on to glibc's own.

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    check();
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    check();
    unsafe { __libc_calloc(count, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    check();
    unsafe { __libc_realloc(memory, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    const ENOMEM: c_int = 12;
    check();
    let memory = unsafe { __libc_memalign(align, size) };
    if memory.is_null() {
        return ENOMEM;
    }
    unsafe { *out = memory };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(memory: *mut c_void) {
    if !memory.is_null() {
        check();
    }
    unsafe { __libc_free(memory) }
}
