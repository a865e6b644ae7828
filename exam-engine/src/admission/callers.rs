//! How often one device and one address may call.
//!
//! A school or an operator's network puts thousands of phones behind one address, so an address may call much; but it may
//! not guess access codes, and not start without end. Addresses of the machine itself are not counted unless asked for:
//! there are a proxy's and a rehearsal's calls. Start at [`Callers::check`].

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    time::Instant,
};

use http::{
    HeaderMap, HeaderName,
    header::{FORWARDED, InvalidHeaderName},
};

use super::{
    Class,
    bucket::{Rate, TokenBucket},
    table::Table,
};

/// Devices remembered: more than one engine has, 16 bytes each.
const N_TOKENS: usize = 262_144;
/// Addresses remembered, three numbers each.
const N_ADDRESSES: usize = 196_608;

/// Limits of callers.
#[derive(Clone, Debug)]
pub struct CallerLimits {
    /// Calls of one session token. A phone makes one a second; after a tunnel it sends what it has kept.
    pub per_token: Rate,
    /// Calls of one address: 1,000 phones behind it, each a call a second, and all of them at once.
    pub per_address: Rate,
    /// Check-ins and starts of one address: a school of 3,000 within a minute.
    pub starts_per_address: Rate,
    /// Refused access codes of one address: a school where everybody mistypes once; a guesser needs billions of years.
    pub failures_per_address: Rate,
    /// Peers whose word for the caller's address counts.
    pub trusted_proxies: Vec<IpAddr>,
    /// How they give it.
    pub caller_from: CallerFrom,
    /// Counts callers of this machine too.
    pub limit_loopback: bool,
}

impl Default for CallerLimits {
    fn default() -> Self {
        let rate = |per_s, burst| Rate { per_s, burst };
        Self {
            per_token: rate(10, 60),
            per_address: rate(2_000, 10_000),
            starts_per_address: rate(50, 1_000),
            failures_per_address: rate(1, 300),
            trusted_proxies: Vec::new(),
            caller_from: CallerFrom::default(),
            limit_loopback: false,
        }
    }
}

/// How a trusted proxy names the caller. One way only: what a proxy does not write itself, anybody may have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerFrom {
    /// In this header, to which it adds; `forwarded` is read by its own rules.
    Header(HeaderName),
    /// Before the first byte of each connection: the PROXY protocol, version 2.
    ProxyProtocol,
    /// Not at all: a balancer of plain TCP, behind which all candidates would be one.
    Nobody,
}

impl Default for CallerFrom {
    fn default() -> Self {
        Self::Header(HeaderName::from_static("x-forwarded-for"))
    }
}

impl FromStr for CallerFrom {
    type Err = InvalidHeaderName;

    fn from_str(text: &str) -> Result<Self, InvalidHeaderName> {
        Ok(match text {
            "proxy-protocol" => Self::ProxyProtocol,
            "nobody" => Self::Nobody,
            name => Self::Header(name.parse()?),
        })
    }
}

/// A caller has called too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Come again after this.
    pub retry_after_ms: u64,
}

/// What is counted of an address.
#[derive(Clone, Copy, Hash)]
enum Count {
    Calls,
    Starts,
    Failures,
}

/// The callers of one port.
pub struct Callers {
    limits: CallerLimits,
    tokens: Table,
    addresses: Table,
    hasher: RandomState,
    begun: Instant,
}

impl Callers {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(limits: CallerLimits) -> Self {
        Self {
            limits,
            tokens: Table::new(N_TOKENS),
            addresses: Table::new(N_ADDRESSES),
            hasher: RandomState::new(),
            begun: Instant::now(),
        }
    }

    /// Returns the instant, in nanoseconds since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        // An hour in: a bucket that is new must look full.
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX) + 3_600_000_000_000
    }

    /// Tells whether a peer's connections begin with the caller's address.
    #[must_use]
    pub fn names_caller_first(&self, peer: IpAddr) -> bool {
        self.limits.caller_from == CallerFrom::ProxyProtocol && self.is_trusted(peer)
    }

    fn is_trusted(&self, peer: IpAddr) -> bool {
        self.limits.trusted_proxies.contains(&peer.to_canonical())
    }

    /// Returns whose call it is: the peer, or whom a trusted proxy names; nobody if the caller is not counted, as when a
    /// trusted proxy names none: its own address stands for too many.
    #[must_use]
    pub fn address(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let address = match &self.limits.caller_from {
            _ if !self.is_trusted(peer) => peer,
            CallerFrom::Header(name) => forwarded(headers, name, &self.limits.trusted_proxies)?,
            CallerFrom::ProxyProtocol | CallerFrom::Nobody => return None,
        }
        .to_canonical();
        (self.limits.limit_loopback || !address.is_loopback()).then_some(address)
    }

    /// Counts a call.
    ///
    /// # Errors
    /// [`Excess`] of the device or the address.
    pub fn check(
        &self,
        address: IpAddr,
        headers: &HeaderMap,
        class: Class,
        now_ns: u64,
    ) -> Result<(), Excess> {
        let limits = &self.limits;
        self.count(address, Count::Calls, limits.per_address, now_ns)?;
        if class == Class::Start {
            self.peek(
                address,
                Count::Failures,
                limits.failures_per_address,
                now_ns,
            )?;
            self.count(address, Count::Starts, limits.starts_per_address, now_ns)?;
        }
        if let Some(token) = headers.get(http::header::AUTHORIZATION)
            && class.is_candidates()
        {
            let key = self.hasher.hash_one(token.as_bytes());
            take(&self.tokens, key, limits.per_token, now_ns)?;
        }
        Ok(())
    }

    /// Notes that an access code was refused.
    pub fn failed(&self, address: IpAddr, now_ns: u64) {
        // Beyond the limit nothing is to be noted: `check` refuses already.
        let _ = self.count(
            address,
            Count::Failures,
            self.limits.failures_per_address,
            now_ns,
        );
    }

    fn count(&self, address: IpAddr, what: Count, rate: Rate, now_ns: u64) -> Result<(), Excess> {
        take(&self.addresses, self.key(address, what), rate, now_ns)
    }

    fn peek(&self, address: IpAddr, what: Count, rate: Rate, now_ns: u64) -> Result<(), Excess> {
        self.addresses.update(self.key(address, what), |state| {
            TokenBucket::from_state(*state)
                .take(rate, now_ns)
                .map_err(excess)
        })
    }

    fn key(&self, address: IpAddr, what: Count) -> u64 {
        self.hasher.hash_one((household(address), what))
    }
}

fn take(table: &Table, key: u64, rate: Rate, now_ns: u64) -> Result<(), Excess> {
    table.update(key, |state| {
        let mut bucket = TokenBucket::from_state(*state);
        let taken = bucket.take(rate, now_ns).map_err(excess);
        *state = bucket.state();
        taken
    })
}

fn excess(wait_ns: u64) -> Excess {
    Excess {
        retry_after_ms: wait_ns.div_ceil(1_000_000).max(1),
    }
}

/// One customer has a whole /64 of the new addresses.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Reads the last address that was not added by a trusted proxy: what stands before it anybody may have written.
/// Sources: RFC 7239; the older `X-Forwarded-For`.
fn forwarded(headers: &HeaderMap, name: &HeaderName, trusted: &[IpAddr]) -> Option<IpAddr> {
    let values = headers.get_all(name).iter();
    let hops: Vec<&str> = values
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .collect();
    let address = |hop: &str| {
        if name != FORWARDED {
            return parse_hop(hop);
        }
        hop.split(';').map(str::trim).find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let is_for = name.eq_ignore_ascii_case("for");
            is_for.then(|| parse_hop(value)).flatten()
        })
    };
    hops.into_iter()
        .rev()
        .map_while(address)
        .find(|address| !trusted.contains(address))
}

/// Reads `1.2.3.4`, `1.2.3.4:5`, `"[2001:db8::1]:5"`.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches('"');
    let host = match hop.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if hop.matches(':').count() == 1 => hop.split(':').next()?,
        None => hop,
    };
    host.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHOOL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 8));
    const NOW: u64 = 10_000_000_000_000;
    const S: u64 = 1_000_000_000;

    fn with_token(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", token.parse().unwrap());
        headers
    }

    #[test]
    fn a_school_of_a_thousand_phones_behind_one_address_is_not_slowed() {
        let callers = Callers::new(CallerLimits::default());
        let mut n_refused = 0;
        for second in 0..60 {
            for phone in 0..1_000 {
                let token = with_token(&format!("Bearer {phone}"));
                let now = NOW + second * S + phone * 1_000_000;
                n_refused += u32::from(callers.check(SCHOOL, &token, Class::Answer, now).is_err());
            }
        }
        assert_eq!(n_refused, 0);
        // Negative control: one device with as many calls is.
        let one = with_token("Bearer one");
        let later = NOW + 120 * S;
        let refused =
            (0..1_000).filter(|_| callers.check(SCHOOL, &one, Class::Answer, later).is_err());
        assert_eq!(refused.count(), 940);
    }

    #[test]
    fn an_address_that_guesses_codes_is_stopped_and_others_are_not() {
        let callers = Callers::new(CallerLimits::default());
        let none = HeaderMap::new();
        let mut tries = 0;
        while callers.check(SCHOOL, &none, Class::Start, NOW).is_ok() {
            callers.failed(SCHOOL, NOW);
            tries += 1;
        }
        assert_eq!(tries, 300);
        callers.check(OTHER, &none, Class::Start, NOW).unwrap();
        let token = with_token("Bearer working");
        callers
            .check(SCHOOL, &token, Class::Answer, NOW)
            .expect("who works there goes on");
        callers.check(SCHOOL, &none, Class::Start, NOW + S).unwrap();
    }

    #[test]
    fn floods_of_starts_are_slowed() {
        let callers = Callers::new(CallerLimits::default());
        let none = HeaderMap::new();
        let passed = (0..5_000).filter(|_| callers.check(SCHOOL, &none, Class::Start, NOW).is_ok());
        assert_eq!(passed.count(), 1_000);
        let excess = callers.check(SCHOOL, &none, Class::Start, NOW).unwrap_err();
        assert_eq!(excess.retry_after_ms, 20);
    }

    #[test]
    fn only_a_trusted_proxy_names_the_caller() {
        let proxy: IpAddr = "127.0.0.1".parse().unwrap();
        let trusting = Callers::new(CallerLimits {
            trusted_proxies: vec![proxy, "10.0.0.2".parse().unwrap()],
            ..CallerLimits::default()
        });
        #[track_caller]
        fn check(
            callers: &Callers,
            peer: IpAddr,
            header: (&'static str, &str),
            expected: Option<&str>,
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(header.0, header.1.parse().unwrap());
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(callers.address(peer, &headers), expected, "{header:?}");
        }
        let xff = "x-forwarded-for";
        check(&trusting, proxy, (xff, "203.0.113.7"), Some("203.0.113.7"));
        check(
            &trusting,
            proxy,
            (xff, "6.6.6.6, 203.0.113.7, 10.0.0.2"),
            Some("203.0.113.7"),
        );
        check(&trusting, proxy, (xff, "rubbish"), None);
        check(&trusting, SCHOOL, (xff, "6.6.6.6"), Some("203.0.113.7"));
        check(&trusting, proxy, ("forwarded", "for=6.6.6.6"), None);
        let standard = Callers::new(CallerLimits {
            trusted_proxies: vec![proxy],
            caller_from: "forwarded".parse().unwrap(),
            ..CallerLimits::default()
        });
        check(&standard, proxy, (xff, "6.6.6.6"), None);
        check(
            &standard,
            proxy,
            (
                "forwarded",
                "for=6.6.6.6, for=\"[2001:db8::1]:443\";proto=https",
            ),
            Some("2001:db8::1"),
        );
        let wary = Callers::new(CallerLimits::default());
        check(&wary, proxy, (xff, "203.0.113.7"), None);
    }

    #[test]
    fn a_header_that_the_proxy_does_not_write_gives_nobody_another_address() {
        let callers = |caller_from| {
            Callers::new(CallerLimits {
                trusted_proxies: vec![OTHER],
                caller_from,
                ..CallerLimits::default()
            })
        };
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", "for=6.6.6.6".parse().unwrap());
        headers.insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
        let named = callers(CallerFrom::default()).address(OTHER, &headers);
        assert_eq!(named, Some(SCHOOL));
        // Negative control: it is read where it is the one to be read.
        let named = callers("forwarded".parse().unwrap()).address(OTHER, &headers);
        assert_eq!(named, Some("6.6.6.6".parse().unwrap()));
        // A balancer that names nobody stands for all, and so is not counted, whatever is written behind it.
        for silent in ["nobody", "proxy-protocol"] {
            let callers = callers(silent.parse().unwrap());
            assert_eq!(callers.address(OTHER, &headers), None, "{silent}");
            assert_eq!(callers.address(SCHOOL, &headers), Some(SCHOOL), "{silent}");
        }
        let none = HeaderMap::new();
        assert_eq!(callers(CallerFrom::default()).address(OTHER, &none), None);
    }

    #[test]
    fn the_machine_itself_is_counted_only_if_asked_for() {
        let local = "127.0.0.5".parse().unwrap();
        let none = HeaderMap::new();
        assert_eq!(
            Callers::new(CallerLimits::default()).address(local, &none),
            None
        );
        let strict = Callers::new(CallerLimits {
            limit_loopback: true,
            ..CallerLimits::default()
        });
        assert_eq!(strict.address(local, &none), Some(local));
    }

    #[test]
    fn a_household_counts_once() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            household(address("2001:db8::1")),
            household(address("2001:db8::2:3"))
        );
        assert_ne!(
            household(address("2001:db8::1")),
            household(address("2001:db8:0:1::1"))
        );
    }
}
