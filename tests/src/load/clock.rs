//! The system's clocks, in ns.

use nix::{
    errno::Errno,
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
};

const SECOND_NS: u64 = 1_000_000_000;

/// Since the Unix epoch: the clock of the kernel's stamps.
pub fn realtime_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// Since some moment: the clock that nobody sets.
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Sleeps until a moment of the monotonic clock.
pub fn sleep_until(at_ns: u64) {
    let at = TimeSpec::new((at_ns / SECOND_NS) as i64, (at_ns % SECOND_NS) as i64);
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at)
        == Err(Errno::EINTR)
    {}
}

/// Sleeps for so many seconds.
pub fn sleep(seconds: f64) {
    sleep_until(monotonic_ns() + ns(seconds));
}

/// Seconds as ns.
pub fn ns(seconds: f64) -> u64 {
    (seconds * SECOND_NS as f64) as u64
}

/// A moment as ns.
pub fn ns_of(moment: TimeSpec) -> u64 {
    moment.tv_sec() as u64 * SECOND_NS + moment.tv_nsec() as u64
}

fn read(clock: ClockId) -> u64 {
    ns_of(clock_gettime(clock).expect("Linux has both clocks"))
}
