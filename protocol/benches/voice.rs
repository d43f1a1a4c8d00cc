//! What a voice packet costs its talker, its server and its listener: 50 bytes of Opus, 10 ms at 40 kbit/s.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use voip_protocol::{
    ContextId, Epoch, SessionId,
    secret::{ContextSecret, TagSecret},
    voice::{FrameDuration, HEADER_LEN, Header, OpeningKey, ReplayWindow, SealingKey, TagKey, VoicePacket},
};

const HEADER: Header = Header {
    session: SessionId(7),
    context: ContextId(1),
    epoch: Epoch(1),
    sequence: 4_711,
    capture_time: 1 << 20,
    duration: FrameDuration::Ms10,
    last_of_burst: false,
    share: None,
};

fn packet(bench: &mut Criterion) {
    let secret = ContextSecret::new([1; 32]);
    let sealing = SealingKey::derive(&secret, HEADER.epoch, HEADER.session);
    let opening = OpeningKey::derive(&secret, HEADER.epoch, HEADER.session);
    let tag = TagKey::new(&TagSecret::new([2; 32]));
    let frame = [0x5a; 50];
    let mut out = [0; 128];
    let length = sealing.seal(HEADER, &frame, &mut out);
    let sealed = out;
    let mut tagged = out[..length].to_vec();
    tagged.extend(tag.tag(&out[..length]));

    bench.bench_function("talker: seal", |bench| {
        bench.iter(|| sealing.seal(HEADER, black_box(&frame), &mut out));
    });
    bench.bench_function("talker: tag", |bench| bench.iter(|| tag.tag(black_box(&sealed[..length]))));
    bench.bench_function("server: check the tag", |bench| {
        bench.iter(|| tag.check(black_box(&tagged)).is_some());
    });
    bench.bench_function("server: parse", |bench| {
        bench.iter(|| VoicePacket::parse(black_box(&sealed[..length])));
    });
    bench.bench_function("server: replay window", |bench| {
        let (mut window, mut sequence) = (ReplayWindow::default(), 0);
        bench.iter(|| {
            sequence += 1;
            window.accept(black_box(sequence))
        });
    });
    bench.bench_function("listener: open", |bench| {
        bench.iter(|| {
            let mut packet = sealed;
            opening.open(black_box(&HEADER), &mut packet[HEADER_LEN..length]).map(<[u8]>::len)
        });
    });
    bench.bench_function("listener: derive a talker's key", |bench| {
        bench.iter(|| OpeningKey::derive(black_box(&secret), HEADER.epoch, HEADER.session));
    });
}

criterion_group!(benches, packet);
criterion_main!(benches);
