//! Argon2 with nothing around it.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use voip_tests::server::PASSWORD;

use super::{LOAD, median};

/// A hash with nothing around it, as the server makes it: with memory that is kept.
fn raw_hash() -> impl FnMut() {
    let params = Params::new(19_456, 2, 1, None).unwrap();
    let mut memory = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    move || {
        let mut output = [0; 32];
        argon2
            .hash_password_into_with_memory(PASSWORD.as_bytes(), &[7; 16], &mut output, &mut memory)
            .unwrap();
        black_box(&output);
    }
}

/// The median of a hash, of so many.
pub fn raw_time(hashes: usize) -> Duration {
    let mut hash = raw_hash();
    let mut times = Vec::new();
    for _ in 0..hashes {
        let started = Instant::now();
        hash();
        times.push(started.elapsed());
    }
    median(&mut times)
}

/// Hashes a second, on so many threads at once.
pub fn raw_rate(threads: usize) -> f64 {
    let rate = || {
        let (mut hash, mut hashes) = (raw_hash(), 0);
        hash();
        let started = Instant::now();
        while started.elapsed() < LOAD {
            hash();
            hashes += 1;
        }
        f64::from(hashes) / started.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(rate)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
