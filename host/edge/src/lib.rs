//! The edge: takes pings over HTTP and answers 200 only after the bus confirmed that they are durable.
//!
//! It never opens a body. It answers 4xx only for what the client did wrong, because clients drop a ping on 4xx: whatever is
//! our own fault is 500, and 507 where there is no room.

mod limits;
mod message;
mod path;
mod serve;
mod submit;

pub use limits::Limits;
pub use path::{SubmitPath, document_id, parse as parse_path};
pub use serve::{Server, bind};
pub use submit::Edge;
