//! What one datagram costs the voice thread, the system's calls aside, in instructions. On a busy machine they are as
//! many as on an idle one, so that a change that makes rejecting dearer fails here and not first under an attack.
//!
//! What is rejected may take 300 ns. `voice.rs` times the same packets; on a server's core of 2.6 GHz (AMD EPYC, Zen 4),
//! shared with other work, that was:
//!
//! | packet | ns | instructions counted here |
//! |---|---|---|
//! | no packet | 17 | 65 |
//! | of a session that is not there | 19 | 129 |
//! | with a wrong tag, 94 bytes | 191 | 10,706 |
//! | with a wrong tag, 1,200 bytes | 840 | 67,350 |
//! | seen before | 200 | 10,787 |
//!
//! Valgrind's processor has no instructions for SHA, and a tag of three blocks costs it 10,100 instructions that take
//! some 170 ns where a processor has them. Of all else, about six instructions are a nanosecond: so a limit leaves
//! each packet with a tag some 500 instructions or 80 ns of room, and 300 ns are kept. The longest packet is above
//! that by the hash of its bytes alone: 1,200 bytes of a gigabit a second are a hundred thousand packets, or a tenth
//! of a core.

#![allow(missing_docs)]

mod packets;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use packets::Rig;

/// No hash, no look-up.
const MALFORMED: u64 = 120;
/// One look-up. Its hash has another seed at every run, which makes a difference of some twenty instructions.
const UNKNOWN_SESSION: u64 = 200;
/// A look-up and a tag, as all that follow.
const BAD_TAG: u64 = 11_200;
/// A tag of 20 blocks.
const LONGEST_BAD_TAG: u64 = 68_000;
const REPLAYED: u64 = 11_300;
const CLIPPED: u64 = 11_300;
/// All checks, and none that rejects.
const ACCEPTED: u64 = 11_400;

fn at_most(instructions: u64) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    callgrind.hard_limits([(EventKind::Ir, instructions)]);
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// Gives the rig back, or its end would be counted, too.
macro_rules! counted {
    ($($group:ident: $name:ident, $rig:path, $limit:expr, $sent:literal;)*) => {
        $(
            #[library_benchmark(config = at_most($limit))]
            #[bench::one($rig())]
            fn $name(mut rig: Box<Rig>) -> Box<Rig> {
                assert_eq!(rig.handle(), $sent);
                rig
            }
            library_benchmark_group!(name = $group, benchmarks = $name);
        )*
        main!(library_benchmark_groups = [$($group),*]);
    };
}

counted! {
    garbage: malformed, Rig::garbage, MALFORMED, false;
    stranger: unknown_session, Rig::unknown_session, UNKNOWN_SESSION, false;
    forged: bad_tag, Rig::bad_tag, BAD_TAG, false;
    forged_long: longest_bad_tag, Rig::longest_bad_tag, LONGEST_BAD_TAG, false;
    repeated: replayed, Rig::replayed, REPLAYED, false;
    above_limits: clipped, Rig::clipped, CLIPPED, false;
    voice: accepted, Rig::accepted, ACCEPTED, true;
}
