//! Live state shared with the API.
