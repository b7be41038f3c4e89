//! The HTTP API over the live state of the stages, and the endpoints that machines ask.
//!
//! Errors are RFC 9457 problem details: `type`, `title`, `status`, `detail`.

mod api;
mod health;
mod problem;
mod tap;

pub use problem::Problem;
pub use tap::{Follow, message_json};

use axum::{Router, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tidemill_bus::Bus;
use tidemill_pipeline::status::LiveState;

/// What the API shows.
#[derive(Clone)]
pub struct Control {
    /// The bus: streams, health and taps.
    pub bus: Arc<dyn Bus>,
    /// Plugins, graphs and alerts.
    pub live: Arc<LiveState>,
    /// What `/metrics` prints.
    pub metrics: PrometheusHandle,
    /// How pings are taken; absent where this process takes none: then the bus alone is asked.
    pub intake: Option<Heartbeat>,
}

/// Asks what takes pings how it is; may block. The heartbeat's body where a ping would be taken now, else what is out of order.
pub type Heartbeat = Arc<dyn Fn() -> Result<serde_json::Value, String> + Send + Sync>;

/// Everything that is served besides pings.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/", get(health::index))
        .route("/__heartbeat__", get(health::heartbeat))
        .route("/__lbheartbeat__", get(|| async { "OK" }))
        .route("/__version__", get(health::version))
        .route("/status", get(health::status))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/plugins", get(api::plugins))
        .route("/api/v1/plugins/{name}", get(api::plugin))
        .route("/api/v1/plugins/{name}/log", get(api::log))
        .route("/api/v1/plugins/{name}/graphs", get(api::graphs))
        .route("/api/v1/plugins/{name}/graphs/{title}", get(api::graph))
        .route("/api/v1/plugins/{name}/payloads", get(api::payloads))
        .route("/api/v1/plugins/{name}/payloads/{payload}", get(api::payload))
        .route("/api/v1/alerts", get(api::alerts))
        .route("/api/v1/streams", get(api::streams))
        .route("/api/v1/tap/{topic}", get(tap::tap))
        .fallback(problem::not_found)
        .with_state(control)
}
