//! What one datagram costs the voice thread, the system's calls aside, in instructions: the same at every run and on
//! every busy machine, so that a change that makes rejecting dearer fails here and not first under an attack.
//!
//! Valgrind counts them. Its processor has AVX2 and no instructions for SHA, so that a tag costs it 6,400 instructions
//! more than it costs one that has them.

#![allow(missing_docs)]

mod packets;

use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main,
};
use packets::Rig;

const MALFORMED: u64 = 1;
const UNKNOWN_SESSION: u64 = 1;
const BAD_TAG: u64 = 1;
const LONGEST_BAD_TAG: u64 = 1;
const REPLAYED: u64 = 1;
const CLIPPED: u64 = 1;
const ACCEPTED: u64 = 1;

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
