//! The edge: takes pings over HTTP and answers 200 only after the bus confirmed that they are durable.
//!
//! While the bus is away, slow or refuses, pings are made durable in a [spool](SpoolOptions) on the local disk instead, which drains by
//! itself. It never opens a body. It answers 4xx only for what the client did wrong, because clients drop a ping on 4xx: whatever is
//! our own fault is 500, and 507 where there is no room.

mod intake;
mod limits;
mod line;
mod message;
mod path;
mod room;
mod serve;
mod spool;
mod submit;

pub use intake::{Intake, IntakeHealth};
pub use limits::Limits;
pub use path::{SubmitPath, document_id, parse as parse_path};
pub use serve::{Server, bind};
pub use spool::{SpoolHealth, SpoolOptions};
pub use submit::Edge;
