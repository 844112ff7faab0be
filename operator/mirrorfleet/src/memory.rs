//! How the C library's allocator keeps what a run has freed.
//!
//! By its own choice each thread gets a heap of its own, none of which gives back what it once had, and buffers of a megabyte
//! come out of these heaps as soon as one has been freed. A run has a dozen threads that each work for a moment, so that
//! a fifth of its memory would be such leavings.

/// To be called before threads are started. Other C libraries than GNU's have nothing to choose.
#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "there is no other way to tell the allocator of the C library"
)]
pub fn keep_small() {
    let settings = [
        // Heaps for all threads together: no more of them allocate at once.
        (libc::M_ARENA_MAX, 2),
        // Larger buffers are mapped, and go back when they are freed.
        (libc::M_MMAP_THRESHOLD, 128 << 10),
        // What may lie free at the end of a heap.
        (libc::M_TRIM_THRESHOLD, 1 << 20),
    ];
    for (setting, value) in settings {
        // SAFETY: mallopt(3) takes two numbers, locks what it changes, and leaves alone what is allocated. One that it does
        // not know changes nothing.
        let _ = unsafe { libc::mallopt(setting, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
pub fn keep_small() {}
