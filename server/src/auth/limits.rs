//! How often somebody may try: by address and by account (generic cell rate algorithm).

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock, clock::DefaultClock};

use voip_protocol::{OrganizationId, limits::USERNAME_CHARS};

use crate::config::SecurityConfig;

/// Limits of attempts. A limit of 0 is none.
pub struct Limits {
    logins_by_address: Option<DefaultKeyedRateLimiter<IpAddr>>,
    logins_by_account: Option<DefaultKeyedRateLimiter<(OrganizationId, String)>>,
    registrations_by_address: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
}

impl Limits {
    /// As configured.
    pub fn new(config: &SecurityConfig) -> Self {
        fn keyed<K: std::hash::Hash + Eq + Clone>(
            most: u32,
            quota: impl Fn(NonZeroU32) -> Quota,
        ) -> Option<DefaultKeyedRateLimiter<K>> {
            NonZeroU32::new(most).map(|most| DefaultKeyedRateLimiter::keyed(quota(most)))
        }
        Self {
            logins_by_address: keyed(config.logins_per_minute_by_address, Quota::per_minute),
            logins_by_account: keyed(config.logins_per_minute_by_account, Quota::per_minute),
            registrations_by_address: keyed(config.registrations_per_hour_by_address, Quota::per_hour),
            clock: DefaultClock::default(),
        }
    }

    /// A login, a refresh or a password change from an address; or how long to wait.
    pub fn attempt(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.check(self.logins_by_address.as_ref(), address.map(network).as_ref())
    }

    /// A login of a name, whether there is one or not; or how long to wait.
    pub fn login(&self, organization: OrganizationId, username: &str) -> Result<(), Duration> {
        // What is longer than any name is nobody's.
        let name = username.trim().chars().take(*USERNAME_CHARS.end() + 1).collect::<String>();
        self.check(self.logins_by_account.as_ref(), Some(&(organization, name.to_lowercase())))
    }

    /// A registration from an address; or how long to wait.
    pub fn registration(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.check(self.registrations_by_address.as_ref(), address.map(network).as_ref())
    }

    /// Forgets those who have not tried for a while.
    pub fn sweep(&self) {
        if let Some(limiter) = &self.logins_by_address {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.logins_by_account {
            limiter.retain_recent();
        }
        if let Some(limiter) = &self.registrations_by_address {
            limiter.retain_recent();
        }
    }

    fn check<K: std::hash::Hash + Eq + Clone>(
        &self,
        limiter: Option<&DefaultKeyedRateLimiter<K>>,
        key: Option<&K>,
    ) -> Result<(), Duration> {
        match (limiter, key) {
            (Some(limiter), Some(key)) => {
                limiter.check_key(key).map_err(|until| until.wait_time_from(self.clock.now()))
            }
            _ => Ok(()),
        }
    }
}

/// One subscriber has a whole /64 of IPv6 (RFC 6177), and is one to the limits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn limits(by_address: u32, by_account: u32) -> Limits {
        Limits::new(&SecurityConfig {
            logins_per_minute_by_address: by_address,
            logins_per_minute_by_account: by_account,
            ..SecurityConfig::default()
        })
    }

    #[test]
    fn one_address_does_not_use_up_anothers() {
        let limits = limits(2, 0);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(limits.attempt(Some(one)).is_ok() && limits.attempt(Some(one)).is_ok());
        let wait = limits.attempt(Some(one)).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(limits.attempt(Some(other)).is_ok());
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one() {
        let limits = limits(1, 0);
        assert!(limits.attempt(Some("2001:db8::1".parse().unwrap())).is_ok());
        assert!(limits.attempt(Some("2001:db8::2".parse().unwrap())).is_err());
        assert!(limits.attempt(Some("2001:db8:0:1::1".parse().unwrap())).is_ok());
        assert!(limits.attempt(Some("::ffff:192.0.2.1".parse().unwrap())).is_ok());
        assert!(limits.attempt(Some("192.0.2.1".parse().unwrap())).is_err());
    }

    #[test]
    fn a_name_is_one_whatever_its_case_and_none_is_no_limit() {
        let strict = limits(0, 1);
        let (one, other) = (OrganizationId(1), OrganizationId(2));
        assert!(strict.login(one, "Alice").is_ok());
        assert!(strict.login(one, " alice").is_err());
        assert!(strict.login(other, "alice").is_ok());
        let none = limits(0, 0);
        for _ in 0..1_000 {
            assert!(none.login(one, "alice").is_ok() && none.attempt("192.0.2.1".parse().ok()).is_ok());
        }
    }
}
