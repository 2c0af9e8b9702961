//! What the bench asks of Linux and std has no word for.

#![expect(unsafe_code, reason = "these are system calls that no safe crate wraps as needed")]

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicI64;

/// Gives the calling thread real-time priority; false where the system refuses it.
pub fn raise_thread(priority: i32) -> bool {
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: `param` outlives the call; 0 names the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &param) == 0 }
}

/// Lets the calling thread run only when nothing else would.
pub fn sink_thread() -> bool {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: as above.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) == 0 }
}

/// Keeps this thread, and what it starts, on one core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: all-zero is a valid, empty cpu_set_t, and CPU_SET checks the bounds.
    let done = unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(0, size_of_val(&cores), &cores)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A number that lives in a file of eight bytes or more, for good.
pub fn share_number(file: &Path) -> io::Result<&'static AtomicI64> {
    let file = OpenOptions::new().read(true).write(true).open(file)?;
    let (length, access) = (size_of::<AtomicI64>(), libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping, which is never taken back; a page is aligned as the number must be.
    unsafe {
        let mapped = libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, file.as_raw_fd(), 0);
        if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(&*mapped.cast::<AtomicI64>()) }
    }
}

/// Whether threads of this user can have real-time priority.
pub fn grants_realtime() -> bool {
    std::thread::spawn(|| raise_thread(10)).join().unwrap_or(false)
}

/// Has the kernel end the child when the bench dies, however it dies.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is a bare system call, allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
}

/// Sets an environment variable of this process. Call before any thread is there.
pub fn set_environment(key: &str, value: &str) {
    // SAFETY: `main` comes here before it starts any thread.
    unsafe { std::env::set_var(key, value) };
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    // SAFETY: kill touches no memory of ours; `pid` is a child that has not been waited for.
    unsafe { libc::kill(pid as i32, libc::SIGTERM) };
}

/// Gives this process and its children a /dev/shm of their own. Call before any thread is there.
pub fn own_shared_memory() -> io::Result<()> {
    let succeeded = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let (none, tmpfs) = (c"none".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: all strings are literals, which outlive the calls; null data is allowed.
    unsafe {
        succeeded(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        succeeded(libc::mount(none, c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()))?;
        succeeded(libc::mount(tmpfs, c"/dev/shm".as_ptr(), tmpfs, 0, std::ptr::null()))
    }
}

/// The monotonic clock of the kernel, whatever stands in front of the C library's.
pub fn true_monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which `now` is; it can't fail with this clock.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Creates a TUN device of this name: one IP packet per read and per write, no header before it.
pub fn open_tun(name: &CStr) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.to_bytes();
    assert!(bytes.len() < request.ifr_name.len(), "interface names have at most 15 bytes");
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}
