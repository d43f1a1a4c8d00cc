//! Memory after a rush. The allocator keeps what was freed for its own next time, in pieces that others are too large
//! for; after thousands of connections that is worth giving back.

/// So many connections at a time are a rush, and it is over when a quarter of them are left.
const RUSH: usize = 1_000;

/// Sees rushes come and go.
#[derive(Debug, Default)]
pub(super) struct Tide {
    high: usize,
}

impl Tide {
    /// There are so many connections now. Whether a rush is over with that.
    pub(super) fn is_out(&mut self, open: usize) -> bool {
        self.high = self.high.max(open);
        let out = self.high >= RUSH && open <= self.high / 4;
        if out {
            self.high = open;
        }
        out
    }
}

/// Gives what is free back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library")]
pub(super) fn give_back() {
    // SAFETY: it takes no pointer, and may be called by any thread at any time (malloc_trim(3): MT-Safe).
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_after_each_rush() {
        let mut tide = Tide::default();
        let outs = |tide: &mut Tide, counts: &mut dyn Iterator<Item = usize>| {
            counts.filter(|count| tide.is_out(*count)).collect::<Vec<_>>()
        };
        assert!(outs(&mut tide, &mut (0..900).chain((0..900).rev())).is_empty(), "a busy evening");
        assert_eq!(outs(&mut tide, &mut (0..=4_000).chain((0..4_000).rev())), [1_000, 250]);
        assert_eq!(outs(&mut tide, &mut (0..=2_000).chain((0..2_000).rev())), [500]);
    }
}
