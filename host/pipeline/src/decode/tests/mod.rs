//! The stage on recorded and on broken messages.
