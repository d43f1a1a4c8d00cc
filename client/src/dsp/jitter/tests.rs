//! The buffer on simulated networks, in virtual time.

use proptest::prelude::*;
use voip_protocol::voice::FrameDuration;

use super::*;

const FRAME: u64 = 480;
const START: u64 = 10_000_000;

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u32,
    capture_time: u32,
    last: bool,
    arrival: u64,
}

/// What was heard, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Frame { sequence: u32, at: u64, first: bool, last: bool },
    MadeUp { at: u64, last: bool },
}

/// Bursts of 10 ms frames, back to back but for the silences between; `delay(n)` is the network's for packet n, `None`
/// loses it.
fn sent(bursts: &[(u64, u32)], mut delay: impl FnMut(u32) -> Option<u64>) -> Vec<Sent> {
    let (mut at, mut sequence, mut packets) = (START, 0, Vec::new());
    for (silence, frames) in bursts {
        at += silence;
        for n in 0..*frames {
            if let Some(delay) = delay(sequence) {
                let arrival = at + FRAME + delay;
                // The talker's clock has nothing to do with the listener's, and wraps on the way.
                let capture_time = (at as u32).wrapping_sub(10_100_000);
                packets.push(Sent { sequence, capture_time, last: n + 1 == *frames, arrival });
            }
            at += FRAME;
            sequence += 1;
        }
    }
    packets.sort_by_key(|packet| packet.arrival);
    packets
}

/// Lets a listener hear the packets: time goes on in steps of 2.5 ms, a pull happens when the last one's sound is
/// used up.
fn listen(jitter: &mut Jitter, packets: &[Sent]) -> Vec<Heard> {
    let (mut heard, mut packets) = (Vec::new(), packets.iter().peekable());
    let (mut now, mut ready) = (START, 0u64);
    let end = packets.clone().last().map_or(START, |packet| packet.arrival) + 48_000;
    while now < end {
        while let Some(packet) = packets.next_if(|packet| packet.arrival <= now) {
            insert(jitter, packet);
        }
        if ready == 0 {
            ready = match jitter.pull(now) {
                Pull::Frame(Frame { sequence, first, last, duration, .. }) => {
                    heard.push(Heard::Frame { sequence, at: now, first, last });
                    duration.samples() as u64
                }
                Pull::Conceal { samples, last } => {
                    heard.push(Heard::MadeUp { at: now, last });
                    samples as u64
                }
                Pull::Silence => 0,
            };
        }
        now += 120;
        ready = ready.saturating_sub(120);
    }
    heard
}

fn insert(jitter: &mut Jitter, packet: &Sent) -> Inserted {
    jitter.insert(&Arrival {
        sequence: packet.sequence,
        packets: 1,
        capture_time: packet.capture_time,
        duration: FrameDuration::Ms10,
        last_of_burst: packet.last,
        at: packet.arrival,
        spread: 0,
        opus: &packet.sequence.to_be_bytes(),
    })
}

fn frames(heard: &[Heard]) -> Vec<u32> {
    heard
        .iter()
        .filter_map(|h| if let Heard::Frame { sequence, .. } = h { Some(*sequence) } else { None })
        .collect()
}

fn made_up(heard: &[Heard]) -> usize {
    heard.iter().filter(|h| matches!(h, Heard::MadeUp { .. })).count()
}

/// Ticks between a frame's capture and its being heard.
fn latency(heard: &[Heard], bursts: &[(u64, u32)], sequence: u32) -> u64 {
    let packet = sent(bursts, |_| Some(0))[sequence as usize];
    let at = heard.iter().find_map(|h| match h {
        Heard::Frame { sequence: s, at, .. } if *s == sequence => Some(*at),
        _ => None,
    });
    at.expect("the frame was heard") - (packet.arrival - FRAME)
}

#[test]
fn a_clean_network_is_heard_whole_and_soon() {
    let mut jitter = Jitter::default();
    let bursts = [(0, 200), (30_000, 100), (100_000, 1), (48_000, 300)];
    let heard = listen(&mut jitter, &sent(&bursts, |_| Some(96)));
    assert_eq!(frames(&heard), (0..601).collect::<Vec<_>>());
    assert_eq!(made_up(&heard), 0);
    assert_eq!(jitter.counters(), Counters { received: 601, ..Counters::default() });
    // The first burst starts with a frame's worth of caution, later ones with what a quiet network needs.
    assert!(latency(&heard, &bursts, 0) <= FRAME + 96 + u64::from(13 * MS) + 120);
    assert!(latency(&heard, &bursts, 600) <= FRAME + 96 + u64::from(5 * MS) + 120);
    let firsts: Vec<_> = heard.iter().filter(|h| matches!(h, Heard::Frame { first: true, .. })).collect();
    let lasts: Vec<_> = heard.iter().filter(|h| matches!(h, Heard::Frame { last: true, .. })).collect();
    assert_eq!((firsts.len(), lasts.len()), (4, 4));
    // Within a burst, frames follow each other without a gap.
    for pair in heard.windows(2) {
        if let [Heard::Frame { at, last: false, .. }, Heard::Frame { at: next, .. }] = pair {
            assert_eq!(next - at, FRAME);
        }
    }
}

#[test]
fn a_lost_frame_is_made_up_in_its_place_and_time() {
    let mut jitter = Jitter::default();
    let heard = listen(&mut jitter, &sent(&[(0, 100)], |n| (n != 50 && n != 51).then_some(0)));
    assert_eq!(jitter.counters(), Counters { received: 98, lost: 2, concealed: 2, ..Counters::default() });
    let at = |index: usize| match heard[index] {
        Heard::Frame { at, .. } | Heard::MadeUp { at, .. } => at,
    };
    assert!(matches!(heard[50], Heard::MadeUp { last: false, .. }));
    assert_eq!(at(52) - at(49), 3 * FRAME);
    assert_eq!(frames(&heard).len(), 98);
}

#[test]
fn a_slow_moment_costs_time_but_no_words() {
    let mut jitter = Jitter::default();
    // Packets 100 to 105 are held up, and come together with 106.
    let bursts = [(0, 200), (48_000, 100)];
    let heard = listen(
        &mut jitter,
        &sent(&bursts, |n| Some(if (100..106).contains(&n) { u64::from(106 - n) * FRAME } else { 0 })),
    );
    assert_eq!(frames(&heard), (0..300).collect::<Vec<_>>());
    let counters = jitter.counters();
    assert_eq!((counters.lost, counters.late), (0, 0));
    assert!((4..=6).contains(&counters.concealed), "{counters:?}");
    let (before, after) = (latency(&heard, &bursts, 99), latency(&heard, &bursts, 106));
    assert!(after - before >= 4 * FRAME, "{before} {after}");
    // The next burst starts sooner again, but not as if nothing had happened.
    let next = latency(&heard, &bursts, 250);
    assert!(next < after && next > before, "{before} {after} {next}");
}

#[test]
fn a_late_frame_counts_as_late_not_lost_and_lengthens_the_delay_at_once() {
    let mut jitter = Jitter::default();
    let bursts = [(0, 400)];
    let heard = listen(&mut jitter, &sent(&bursts, |n| Some(if n == 300 { 4 * FRAME } else { 0 })));
    let counters = jitter.counters();
    assert_eq!((counters.received, counters.lost, counters.late), (400, 0, 1));
    assert_eq!(frames(&heard).len(), 399);
    assert_eq!(latency(&heard, &bursts, 350) - latency(&heard, &bursts, 299), FRAME);
}

#[test]
fn silence_and_other_contexts_are_no_loss() {
    let mut jitter = Jitter::default();
    // Burst 2 of 3 is spoken elsewhere: its sequence numbers never come here.
    let packets = sent(&[(0, 50), (48_000, 80), (48_000, 50)], |n| (!(50..130).contains(&n)).then_some(0));
    let heard = listen(&mut jitter, &packets);
    assert_eq!(frames(&heard).len(), 100);
    assert_eq!(jitter.counters(), Counters { received: 100, ..Counters::default() });
    // And far more than the buffer is long.
    let mut jitter = Jitter::default();
    let packets = sent(&[(0, 50), (48_000, 800), (48_000, 50)], |n| (!(50..850).contains(&n)).then_some(0));
    assert_eq!(frames(&listen(&mut jitter, &packets)).len(), 100);
    assert_eq!(jitter.counters(), Counters { received: 100, ..Counters::default() });
}

#[test]
fn a_burst_without_its_end_fades_and_stops() {
    let mut jitter = Jitter::default();
    let heard = listen(&mut jitter, &sent(&[(0, 50), (96_000, 50)], |n| (n != 49).then_some(0)));
    let made_up: Vec<_> = heard.iter().filter(|h| matches!(h, Heard::MadeUp { .. })).collect();
    assert_eq!(made_up.len() as u32, HOLD / HOLD_STEP);
    assert!(matches!(made_up.last(), Some(Heard::MadeUp { last: true, .. })));
    assert_eq!((jitter.counters().lost, frames(&heard).len()), (1, 99));
}

#[test]
fn a_burst_without_its_end_gives_way_to_the_next() {
    let mut jitter = Jitter::default();
    // The next burst comes 30 ms later, while sound is still being made up for the last one's end.
    let heard = listen(&mut jitter, &sent(&[(0, 50), (3 * FRAME, 50)], |n| (n != 49).then_some(0)));
    assert_eq!((jitter.counters().lost, frames(&heard).len()), (1, 99));
    assert!(heard.iter().any(|h| matches!(h, Heard::Frame { sequence: 50, first: true, .. })));
}

#[test]
fn an_outage_in_a_burst_counts_every_frame_of_it() {
    for outage in [15, 100, 1_000] {
        let mut jitter = Jitter::default();
        let packets = sent(&[(0, 100 + outage + 100)], |n| (!(100..100 + outage).contains(&n)).then_some(0));
        let heard = listen(&mut jitter, &packets);
        assert_eq!((jitter.counters().lost, frames(&heard).len()), (u64::from(outage), 200), "{outage}");
        // What is made up ends with the hold.
        assert!(made_up(&heard) as u32 <= HOLD / HOLD_STEP);
    }
}

#[test]
fn reordering_at_the_start_of_a_burst_is_put_right() {
    let mut jitter = Jitter::default();
    let heard = listen(&mut jitter, &sent(&[(0, 50)], |n| Some(if n == 0 { FRAME + 10 } else { 0 })));
    assert_eq!(frames(&heard), (0..50).collect::<Vec<_>>());
    assert!(matches!(heard[0], Heard::Frame { sequence: 0, first: true, .. }));
}

#[test]
fn duplicates_are_told_from_late_ones() {
    let mut jitter = Jitter::default();
    let mut packets = sent(&[(0, 100)], |n| (n != 60).then_some(0));
    let (early, late) = (packets[30], packets[55]);
    packets.push(Sent { arrival: early.arrival + 10, ..early });
    packets.push(Sent { arrival: late.arrival + 20 * FRAME, ..late });
    let missing = Sent { sequence: 60, arrival: START + 80 * FRAME, ..packets[59] };
    packets.extend([missing, Sent { arrival: missing.arrival + 10, ..missing }]);
    packets.sort_by_key(|packet| packet.arrival);
    listen(&mut jitter, &packets);
    let counters = jitter.counters();
    assert_eq!((counters.received, counters.lost, counters.late, counters.duplicates), (100, 0, 1, 3));
}

#[test]
fn what_waits_far_too_long_is_dropped_down_to_the_wanted_delay() {
    let mut jitter = Jitter::default();
    let packets = sent(&[(0, 100)], |_| Some(0));
    // The listener's device stood still for 0.6 s.
    for packet in &packets[..60] {
        assert_eq!(insert(&mut jitter, packet), Inserted::Accepted);
    }
    let now = packets[59].arrival;
    let Pull::Frame(frame) = jitter.pull(now) else { panic!("a frame is there") };
    assert!(frame.first && frame.surplus <= MAX_SURPLUS && frame.sequence > 20, "{frame:?}");
    let skipped = u64::from(frame.sequence);
    assert_eq!(jitter.counters().late, skipped);
}

#[test]
fn a_full_buffer_drops_the_oldest_and_recovers() {
    let mut jitter = Jitter::default();
    let packets = sent(&[(0, 1_000)], |_| Some(0));
    assert!(packets.iter().all(|packet| insert(&mut jitter, packet) == Inserted::Accepted));
    assert_eq!((jitter.filled, jitter.counters().late), (SLOTS, u64::from(1_000 - SLOTS)));
    let mut now = packets[999].arrival;
    let far = Sent { sequence: 5_000, arrival: now, ..packets[0] };
    assert_eq!(insert(&mut jitter, &far), Inserted::Full);
    let mut last = None;
    while !jitter.is_idle() {
        if let Pull::Frame(frame) = jitter.pull(now) {
            last = Some(frame.sequence);
        }
        now += FRAME;
    }
    assert_eq!(last, Some(999));
    assert_eq!(insert(&mut jitter, &far), Inserted::Accepted);
}

/// Frames of a burst that changes between frames as they are, of 10 ms, and such as take several packets, of 20 ms:
/// numbers and capture times of 300 ms each.
fn changing(packets: &[u32]) -> Vec<(u32, u32, u32)> {
    let (mut sequence, mut capture_time, mut frames) = (7, 70_000, Vec::new());
    for packets in packets {
        for _ in 0..if *packets == 1 { 30 } else { 15 } {
            frames.push((sequence, *packets, capture_time));
            sequence += packets;
            capture_time += if *packets == 1 { 480 } else { 960 };
        }
    }
    frames
}

#[test]
fn frames_that_get_lost_where_they_change_break_no_burst() {
    for (before, after) in [(1, 2), (1, 5), (2, 1), (5, 1), (5, 2), (2, 5)] {
        let frames = changing(&[before, after]);
        let first = if before == 1 { 30 } else { 15 };
        for lost in [first - 1, first] {
            let (mut jitter, mut firsts, mut played) = (Jitter::default(), 0, 0);
            for (n, (sequence, packets, capture_time)) in frames.iter().enumerate() {
                if n == lost {
                    continue;
                }
                let duration = if *packets == 1 { FrameDuration::Ms10 } else { FrameDuration::Ms20 };
                let last_of_burst = n + 1 == frames.len();
                let at = 1_000_000 + u64::from(*capture_time);
                let (sequence, packets, capture_time, spread) = (*sequence, *packets, *capture_time, 0);
                let opus = &[1];
                jitter.insert(&Arrival {
                    sequence,
                    packets,
                    capture_time,
                    duration,
                    last_of_burst,
                    at,
                    spread,
                    opus,
                });
            }
            // The first has waited for 150 ms, the others come in time.
            let (mut concealed, mut now) = (0, 1_070_000 + 7_200);
            while !jitter.is_idle() {
                match jitter.pull(now) {
                    Pull::Frame(frame) => {
                        (firsts, played) = (firsts + u32::from(frame.first), played + 1);
                        now += frame.duration.samples() as u64;
                    }
                    Pull::Conceal { samples, .. } => {
                        concealed += samples;
                        now += samples as u64;
                    }
                    Pull::Silence => now += 120,
                }
            }
            let missing = if if lost < first { before } else { after } == 1 { 480 } else { 960 };
            assert_eq!((firsts, played), (1, frames.len() - 1), "{before} to {after}, {lost}");
            assert!(concealed.abs_diff(missing) <= 480, "{before} to {after}, {lost}: {concealed}");
            // Nobody knows that what is missing was one long frame and not two short ones.
            assert!((1..=2).contains(&jitter.counters().lost), "{before} to {after}, {lost}");
        }
    }
}

/// A network with a spread of delays, loss and duplicates, all from one seed.
#[derive(Clone, Debug)]
struct Network {
    seed: u32,
    spread: u64,
    loss: u32,
}

impl Network {
    fn delays(&self) -> impl FnMut(u32) -> Option<u64> + use<> {
        let (mut state, spread, loss) = (self.seed | 1, self.spread, self.loss);
        move |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state % 1_000 >= loss).then_some(u64::from(state >> 10) % (spread + 1))
        }
    }
}

fn networks() -> impl Strategy<Value = Network> {
    (any::<u32>(), 0u64..3_000, 0u32..200).prop_map(|(seed, spread, loss)| Network { seed, spread, loss })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn on_any_network_each_frame_is_heard_once_in_order_or_accounted_for(
        network in networks(),
        bursts in proptest::collection::vec((4_800u64..96_000, 1u32..150), 1..8),
    ) {
        let packets = sent(&bursts, network.delays());
        let mut jitter = Jitter::default();
        let heard = listen(&mut jitter, &packets);
        let played = frames(&heard);
        prop_assert!(played.windows(2).all(|pair| pair[0] < pair[1]));
        let counters = jitter.counters();
        prop_assert_eq!(counters.received, packets.len() as u64);
        prop_assert_eq!(counters.received, played.len() as u64 + counters.late);
        prop_assert_eq!(counters.duplicates + counters.refused, 0);
        // What is not known to have been sent is not counted: frames at either end of a burst may be missing.
        let total: u32 = bursts.iter().map(|(_, frames)| frames).sum();
        prop_assert!(counters.lost + counters.received <= u64::from(total));
        prop_assert_eq!(counters.concealed, made_up(&heard) as u64);
        prop_assert!(jitter.is_idle());
    }

    #[test]
    fn a_steady_spread_is_soon_covered(seed: u32, spread in 0u64..2_400) {
        let network = Network { seed, spread, loss: 0 };
        let bursts: Vec<_> = (0..20).map(|_| (24_000, 100)).collect();
        let packets = sent(&bursts, network.delays());
        let mut jitter = Jitter::default();
        let heard = listen(&mut jitter, &packets);
        let settled = heard.iter().skip_while(|h| !matches!(h, Heard::Frame { sequence, .. } if *sequence >= 1_000));
        let troubles = settled.filter(|h| matches!(h, Heard::MadeUp { .. })).count();
        prop_assert!(troubles <= 60, "{} of 1000 made up, spread {}", troubles, spread);
        prop_assert!(u64::from(jitter.wanted()) <= spread + u64::from(16 * MS), "{}", jitter.wanted());
    }

    #[test]
    fn nothing_that_comes_can_break_it(
        frames in proptest::collection::vec(
            (any::<u32>(), any::<u32>(), 0usize..6, any::<bool>(), 0u64..100_000, 0usize..1_200, 0u8..8),
            1..300,
        ),
    ) {
        let mut jitter = Jitter::default();
        let (mut now, bytes) = (0u64, [0u8; 1_200]);
        let (mut sequence, mut capture) = (0u32, 0u32);
        for (jump, captured, duration, last, step, len, kind) in frames {
            now += step;
            // Mostly near the last one, at times anywhere.
            (sequence, capture) = match kind {
                0 => (jump, captured),
                1 => (sequence.wrapping_add(jump % 300), capture.wrapping_add(captured % 20_000)),
                2 => (sequence.wrapping_sub(jump % 300), capture),
                _ => (sequence.wrapping_add(1), capture.wrapping_add(480)),
            };
            jitter.insert(&Arrival {
                sequence,
                packets: jump % 6,
                capture_time: capture,
                duration: FrameDuration::ALL[duration],
                last_of_burst: last,
                at: now.saturating_sub(u64::from(captured % 5_000)),
                spread: if kind == 4 { jump } else { 0 },
                opus: &bytes[..len],
            });
            for n in 0..jump % 4 {
                match jitter.pull(now + u64::from(n) * 480) {
                    Pull::Frame(frame) => prop_assert!(frame.opus.len() <= MAX_OPUS_FRAME),
                    Pull::Conceal { samples, .. } => {
                        prop_assert!(samples % 120 == 0 && (120..=2_880).contains(&samples));
                    }
                    Pull::Silence => {}
                }
            }
            prop_assert!(jitter.filled <= SLOTS);
            let low = jitter.low.unwrap_or_default();
            prop_assert!(
                jitter.slots.iter().all(|slot| !slot.filled || slot.sequence.wrapping_sub(low) < SLOTS),
                "a frame that nobody will find"
            );
            prop_assert_eq!(jitter.filled, jitter.slots.iter().filter(|slot| slot.filled).count() as u32);
        }
        // Left alone it comes to rest, and takes a new burst.
        for _ in 0..2_000 {
            now += 480;
            let _ = jitter.pull(now);
        }
        prop_assert!(jitter.is_idle());
    }
}
