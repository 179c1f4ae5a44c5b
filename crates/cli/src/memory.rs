//! The allocator's settings.
//!
//! Record buffers of some hundred KiB are allocated on one thread and freed on another, all day. Left to itself, an
//! allocator keeps them for the thread that freed them: the process held 3 to 5 times what it used (docs/adr/0006).

/// Buffers of this size and more are mapped and unmapped one by one, so that freed memory is gone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: libc::c_int = 128 << 10;

/// Tells the system's allocator to give large buffers back at once, and to keep few pools of small ones.
pub(crate) fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "mallopt(3) has no safe form")]
    // SAFETY: called first thing in main, before there is a second thread; an unknown parameter is ignored.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
