//! Fills column batches from headers, fields and JSON values.
