//! The process's memory.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// Records are allocated by one thread and freed by another, which the system's allocator pays for with a fifth of the
/// processor's time and with memory it never gives back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h`, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;
/// How long memory that is free stays the process's, milliseconds. What works in chunks frees and takes tens of
/// mebibytes several times a second, and the kernel clears every page that it gives back; for ten seconds it would keep
/// 30 MiB more of a rebuild and be no faster.
const KEPT_MS: c_long = 2_000;

/// Has memory that is free given back to the system after two seconds at the earliest, unless the environment says
/// another time (`MIMALLOC_PURGE_DELAY`, milliseconds). Called once, before there are other threads.
#[expect(unsafe_code, reason = "an option of a library in C")]
pub fn keep_free_memory() {
    // SAFETY: sets one number in a table of the library, which checks the option's number; no other thread sets it.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "an option of a library in C")]
    fn the_option_that_is_set_is_the_time_until_free_memory_is_given_back() {
        // SAFETY: reads one number in a table of the library.
        let read = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        if std::env::vars_os().any(|(name, _)| name.to_string_lossy().to_lowercase().starts_with("mimalloc_"))
        {
            return;
        }
        // What the library has unless told otherwise: another number would mean another option.
        assert_eq!(read(), 1_000);
        keep_free_memory();
        assert_eq!(read(), KEPT_MS);
    }
}
