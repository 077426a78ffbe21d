//! Networks as peers are let in by: `10.0.0.0/8`, `2001:db8::/32`, or one
//! address. Stored as that text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address lies in it. An IPv4 address that came through an IPv6
    /// socket counts as the IPv4 address it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(its)) => {
                let differ = own.to_bits() ^ its.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(its)) => {
                let differ = own.to_bits() ^ its.to_bits();
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no network: write an address and a number of bits, '10.0.0.0/8'");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(bits_max);
        if bits > bits_max { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_networks() {
        let lies = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().contains(address.parse().unwrap())
        };
        assert!(lies("10.1.0.0/16", "10.1.255.3") && !lies("10.1.0.0/16", "10.2.0.0"));
        assert!(lies("10.1.0.0/16", "::ffff:10.1.2.3"));
        assert!(lies("0.0.0.0/0", "8.8.8.8") && !lies("0.0.0.0/0", "::1"));
        assert!(lies("192.0.2.7", "192.0.2.7") && !lies("192.0.2.7", "192.0.2.6"));
        assert!(lies("2001:db8::/32", "2001:db8:1::5") && !lies("2001:db8::/32", "2001:db9::"));
        assert!(lies("::1/128", "::1"));
    }

    #[test]
    fn what_is_no_network_is_told() {
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "host", "10.0.0.0/-1"] {
            let error = bad.parse::<Network>().unwrap_err();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
    }
}
