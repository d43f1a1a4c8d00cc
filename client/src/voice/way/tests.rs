use proptest::prelude::*;

use super::*;

/// A network in virtual time: a client that ticks, a server that answers, and what becomes of packets in between.
struct Net {
    now: Instant,
    ways: Ways,
    /// Pings under way: when the answer arrives, and what it says.
    answers: Vec<(Instant, u32, u32)>,
    received: u32,
    /// There and back, each way's half.
    rtt: Duration,
    /// Of each direction by UDP, 0 to 1.
    loss: f64,
    udp: bool,
    random: u64,
    /// What was ordered, newest last.
    orders: Vec<(Instant, Order)>,
    changes: Vec<(Instant, Way)>,
}

const TICK: Duration = Duration::from_millis(10);

impl Net {
    fn new(seed: u64, rtt_ms: u64) -> Self {
        Self {
            now: Instant::now(),
            ways: Ways::new(Way::Udp, true),
            answers: Vec::new(),
            received: 0,
            rtt: Duration::from_millis(rtt_ms),
            loss: 0.0,
            udp: true,
            random: seed | 1,
            orders: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// `SplitMix64`, which is random enough for dropping packets.
    fn lost(&mut self) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 <= self.loss
    }

    /// Lets time pass; voice goes all the while if `talking`.
    fn run(&mut self, time: Duration, talking: bool) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            if talking {
                self.ways.spoke(self.now);
            }
            let (arrived, waiting) =
                std::mem::take(&mut self.answers).into_iter().partition(|it| it.0 <= self.now);
            self.answers = waiting;
            let arrived: Vec<_> = arrived;
            for (_, sequence, received) in arrived {
                self.ways.pong(sequence, received, self.now);
            }
            let before = self.ways.way();
            while let Some(order) = self.ways.due(self.now) {
                self.orders.push((self.now, order));
                let udp = order.way == Way::Udp;
                if udp && (!self.udp || self.lost()) {
                    continue;
                }
                self.received += 1;
                if !udp || !self.lost() {
                    self.answers.push((self.now + self.rtt, order.sequence, self.received));
                }
            }
            if self.ways.way() != before {
                self.changes.push((self.now, self.ways.way()));
            }
        }
    }

    /// How long it takes until this way is in use.
    fn until(&mut self, way: Way, limit: Duration) -> Option<Duration> {
        let start = self.now;
        while self.ways.way() != way {
            if self.now - start > limit {
                return None;
            }
            self.run(TICK, true);
        }
        Some(self.now - start)
    }
}

const LIMIT: Duration = Duration::from_secs(60);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Blocked at any moment: the tunnel is taken within 0.95 s and two round trips; and UDP within 5 s of its return, never before it.
    #[test]
    fn a_blocked_way_is_left_and_taken_again(
        seed: u64, rtt in 0u64..200, calm in 0u64..5_000, away in 0u64..20_000, talking: bool,
    ) {
        let mut net = Net::new(seed, rtt);
        net.run(Duration::from_millis(calm), talking);
        prop_assert!(net.changes.is_empty());
        net.run(Duration::from_secs(1), true);
        net.udp = false;
        let left = net.until(Way::Tunnel, LIMIT).unwrap();
        // Answers that were under way when it was cut are answers.
        prop_assert!(left <= Duration::from_millis(950 + 2 * rtt), "{:?}", left);
        net.run(Duration::from_millis(away), talking);
        prop_assert_eq!(net.ways.way(), Way::Tunnel);
        net.udp = true;
        let back = net.until(Way::Udp, LIMIT).unwrap();
        prop_assert!(back < Duration::from_secs(5), "{:?}", back);
    }

    /// A network that loses a fifth of all packets each way keeps its voice on UDP for ten minutes.
    #[test]
    fn loss_alone_changes_nothing(seed: u64, rtt in 0u64..300, talking: bool) {
        let mut net = Net::new(seed, rtt);
        net.loss = 0.2;
        net.run(Duration::from_secs(600), talking);
        prop_assert!(net.changes.is_empty(), "{} changes", net.changes.len());
        let quality = net.ways.quality(net.now);
        prop_assert!((0.1..0.6).contains(&quality.loss), "{:?}", quality);
    }

    /// However bad a network is, the way does not change all the time.
    #[test]
    fn a_network_that_comes_and_goes_is_trusted_less_each_time(seed: u64, up in 50u64..6_000, down in 1_000u64..6_000) {
        let mut net = Net::new(seed, 40);
        for _ in 0..60 {
            net.run(Duration::from_millis(up), true);
            net.udp = false;
            net.run(Duration::from_millis(down), true);
            net.udp = true;
        }
        let minutes = 60 * (up + down) / 60_000 + 1;
        prop_assert!(net.changes.len() as u64 <= 8 + 4 * minutes, "{} changes in {} min", net.changes.len(), minutes);
    }

    /// Whatever comes, sequences rise by one, probes are sent in the tunnel alone, and pings are no storm.
    #[test]
    fn pings_are_in_order_and_few(seed: u64, rtt in 0u64..2_000, loss in 0.0f64..1.0, steps in proptest::collection::vec((0u64..4_000, any::<bool>(), any::<bool>()), 1..30)) {
        let mut net = Net::new(seed, rtt);
        net.loss = loss;
        for (time, udp, talking) in steps {
            net.udp = udp;
            net.run(Duration::from_millis(time), talking);
        }
        for (number, (_, order)) in net.orders.iter().enumerate() {
            prop_assert_eq!(order.sequence as usize, number);
            prop_assert!(order.follow || order.way == Way::Udp);
        }
        for several in net.orders.windows(80) {
            prop_assert!(several[79].0 - several[0].0 > Duration::from_millis(1_800), "a storm of pings");
        }
    }
}

#[test]
fn eager_first_then_every_second() {
    let mut net = Net::new(1, 10);
    let start = net.now;
    net.run(Duration::from_millis(3_000), false);
    let sent: Vec<_> = net.orders.iter().map(|(at, _)| (*at - start).as_millis()).collect();
    assert_eq!(sent, [10, 110, 210, 310, 410, 510, 1_510, 2_510]);
}

#[test]
fn without_a_tunnel_there_is_one_way() {
    let mut net = Net::new(1, 10);
    net.ways.set_tunnel(false);
    net.udp = false;
    net.run(Duration::from_secs(10), true);
    assert_eq!(net.ways.way(), Way::Udp);
    // And one that turns out not to be there is left.
    net.ways.set_tunnel(true);
    net.run(Duration::from_secs(2), true);
    assert_eq!(net.ways.way(), Way::Tunnel);
    net.ways.set_tunnel(false);
    assert_eq!(net.ways.way(), Way::Udp);
}

#[test]
fn a_burst_that_breaks_off_is_asked_for() {
    let mut net = Net::new(1, 10);
    net.run(Duration::from_secs(3), false);
    let frame = Duration::from_millis(10);
    net.ways.heard(frame, false, net.now);
    let (from, before) = (net.now, net.orders.len());
    net.run(Duration::from_millis(240), false);
    let sent: Vec<_> = net.orders[before..].iter().map(|(at, _)| (*at - from).as_millis()).collect();
    // The one that is due each second may be among them.
    assert!((NUDGES as usize..=NUDGES as usize + 1).contains(&sent.len()), "{sent:?}");
    assert!(sent[0] <= 60, "{sent:?}");
    net.ways.heard(frame, true, net.now);
    let before = net.orders.len();
    net.run(Duration::from_millis(200), false);
    assert!(net.orders.len() <= before + 1, "the burst was over");
}

#[test]
fn a_program_that_slept_does_not_blame_the_network() {
    let mut net = Net::new(1, 30);
    net.run(Duration::from_secs(5), true);
    for _ in 0..20 {
        net.now += Duration::from_secs(3);
        net.run(Duration::from_millis(500), true);
    }
    assert!(net.changes.is_empty(), "{:?}", net.changes);
}

#[test]
fn loss_is_told_by_direction() {
    let start = Instant::now();
    let mut ways = Ways::new(Way::Udp, false);
    let mut received = 0;
    for n in 0..60u32 {
        let now = start + IDLE_EVERY * n;
        let order = ways.due(now).map(|order| order.sequence);
        assert_eq!(order, Some(n));
        // Each fifth is lost on its way up, each tenth on its way down.
        if n % 5 != 1 {
            received += 1;
            if n % 10 != 3 {
                assert_eq!(ways.pong(n, received, now), Some(Duration::ZERO));
                assert_eq!(ways.pong(n, received, now), None, "answered already");
            }
        }
    }
    assert_eq!(ways.pong(700, 1, start), None, "never sent");
    let quality = ways.quality(start + IDLE_EVERY * 60);
    assert!((quality.loss - 0.3).abs() < 0.01, "{quality:?}");
    assert!((quality.loss_up - 0.2).abs() < 0.02, "{quality:?}");
    assert!((quality.loss_down - 0.125).abs() < 0.02, "{quality:?}");
    assert_eq!(quality.rtt_min, Some(Duration::ZERO));
}
