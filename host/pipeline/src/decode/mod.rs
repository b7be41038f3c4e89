//! The decode stage: raw -> validated or errors, exactly one of them.
