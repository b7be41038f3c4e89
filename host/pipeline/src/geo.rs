//! Country, city and subdivisions of an address.

use maxminddb::Reader;
use serde::Deserialize;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

/// What stands for an unknown country or city.
pub const UNKNOWN: &str = "??";

/// Where an address is, borrowed from the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The country's ISO 3166 code, or [`UNKNOWN`].
    pub country: &'a str,
    /// The city's English name, or [`UNKNOWN`].
    pub city: &'a str,
    /// ISO code of the greatest subdivision.
    pub subdivision1: Option<&'a str>,
    /// ISO code of the next smaller subdivision.
    pub subdivision2: Option<&'a str>,
}

impl Place<'static> {
    /// Nowhere in particular.
    pub const UNKNOWN: Self = Self { country: UNKNOWN, city: UNKNOWN, subdivision1: None, subdivision2: None };
}

/// A MaxMind City database in memory.
pub struct CityDatabase {
    reader: Reader<Vec<u8>>,
    path: PathBuf,
}

impl fmt::Debug for CityDatabase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CityDatabase").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the GeoIP database {} cannot be read: {source}; geoip.city must name a MaxMind City database (.mmdb)", path.display())]
pub struct GeoError {
    path: PathBuf,
    source: maxminddb::MaxMindDbError,
}

/// The parts of a City entry that are kept; serde skips the others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    city: City<'a>,
    #[serde(borrow)]
    country: Coded<'a>,
    #[serde(borrow)]
    subdivisions: Subdivisions<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct City<'a> {
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Coded<'a> {
    iso_code: Option<&'a str>,
}

/// At most the first two of the list, so that an entry is read without an allocation.
#[derive(Default)]
struct Subdivisions<'a>([Option<&'a str>; 2]);

impl<'de: 'a, 'a> Deserialize<'de> for Subdivisions<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> serde::de::Visitor<'de> for List {
            type Value = Subdivisions<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of subdivisions")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut found = Subdivisions::default();
                let mut at = 0;
                while let Some(next) = list.next_element::<Coded<'de>>()? {
                    if let Some(place) = found.0.get_mut(at) {
                        *place = next.iso_code;
                    }
                    at += 1;
                }
                Ok(found)
            }
        }
        from.deserialize_seq(List)
    }
}

impl CityDatabase {
    /// Reads the database into memory.
    ///
    /// # Errors
    /// When the file cannot be read or is not such a database.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let reader = Reader::open_readfile(path).map_err(|source| GeoError { path: path.to_owned(), source })?;
        Ok(Self { reader, path: path.to_owned() })
    }

    /// Where the address is; unknown where the database does not say.
    pub fn find(&self, address: IpAddr) -> Place<'_> {
        let entry = self.reader.lookup(address).and_then(|found| found.decode::<Entry<'_>>());
        entry.ok().flatten().map_or(Place::UNKNOWN, |entry| entry.place())
    }
}

impl<'a> Entry<'a> {
    fn place(&self) -> Place<'a> {
        let [subdivision1, subdivision2] = self.subdivisions.0;
        Place { country: self.country.iso_code.unwrap_or(UNKNOWN), city: self.city.names.en.unwrap_or(UNKNOWN), subdivision1, subdivision2 }
    }
}

/// The client's address: the last element of `X-Forwarded-For` (the one our own load balancer wrote), else the peer's.
pub fn client_address(x_forwarded_for: Option<&[u8]>, remote_addr: Option<&[u8]>) -> Option<IpAddr> {
    let forwarded = x_forwarded_for.map(<[u8]>::trim_ascii).filter(|list| !list.is_empty());
    let text = forwarded.and_then(|list| list.rsplit(|byte| *byte == b',').next()).or(remote_addr)?;
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_forwarded_address_counts() {
        let check = |forwarded: Option<&str>, peer: Option<&str>, expected: Option<&str>| {
            let found = client_address(forwarded.map(str::as_bytes), peer.map(str::as_bytes));
            assert_eq!(found, expected.map(|text| text.parse().expect("an address")), "{forwarded:?} {peer:?}");
        };
        check(Some("10.0.0.1, 216.160.83.56"), Some("127.0.0.1"), Some("216.160.83.56"));
        check(Some("216.160.83.56"), None, Some("216.160.83.56"));
        check(Some(" "), Some("127.0.0.1"), Some("127.0.0.1"));
        check(None, Some("[2001:db8::1]:443"), Some("2001:db8::1"));
        check(None, Some("81.2.69.142:80"), Some("81.2.69.142"));
        check(Some("216.160.83.56, unknown"), Some("127.0.0.1"), None);
        check(None, None, None);
    }

    #[test]
    fn places_of_the_test_database() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/geoip/GeoIP2-City-Test.mmdb");
        if !path.exists() {
            eprintln!("SKIPPED places_of_the_test_database: no {}", path.display());
            return;
        }
        let database = CityDatabase::open(&path).expect("opens");
        let find = |address: &str| database.find(address.parse().expect("an address"));
        let milton = Place { country: "US", city: "Milton", subdivision1: Some("WA"), subdivision2: None };
        assert_eq!(find("216.160.83.56"), milton);
        let boxford = Place { country: "GB", city: "Boxford", subdivision1: Some("ENG"), subdivision2: Some("WBK") };
        assert_eq!(find("2.125.160.216"), boxford);
        assert_eq!(find("127.0.0.1"), Place::UNKNOWN);
        assert_eq!(find("::1"), Place::UNKNOWN);
    }

    #[test]
    fn a_missing_database_is_named() {
        let error = CityDatabase::open(Path::new("/nowhere/City.mmdb")).expect_err("missing");
        assert!(error.to_string().starts_with("the GeoIP database /nowhere/City.mmdb cannot be read: "), "{error}");
    }
}
