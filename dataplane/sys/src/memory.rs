//! The memory of this process.

/// Gives memory that was freed back to the system. glibc keeps what lies below
/// something that is in use; other allocators do as they like.
#[cfg_attr(all(target_env = "gnu", not(test)), expect(unsafe_code, reason = "no library calls it"))]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: any thread may call it at any time (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
