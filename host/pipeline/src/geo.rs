//! Country, city and subdivisions of an address.
