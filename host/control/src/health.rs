//! What load balancers, monitors and people look at first.

use crate::{Control, Problem};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{Html, IntoResponse},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tidemill_bus::{Bus, stopped};

/// Asks the bus on a thread that may block.
pub async fn ask<T: Send + 'static>(bus: &Arc<dyn Bus>, question: impl FnOnce(&dyn Bus) -> T + Send + 'static) -> Result<T, Problem> {
    let bus = Arc::clone(bus);
    tokio::task::spawn_blocking(move || question(&*bus)).await.map_err(Problem::unavailable)
}

/// 200 when a ping would be taken now, else 503 with what is out of order. Where the spool takes pings that the bus does not, it is 200
/// and the body says so. A partition that stands still does not keep pings out: it is named beside the status.
pub async fn heartbeat(State(control): State<Control>) -> Result<Json<Value>, Problem> {
    if let Some(intake) = control.intake {
        let answer = tokio::task::spawn_blocking(move || intake()).await.map_err(Problem::unavailable)?;
        return answer.map(with_stopped).map_err(Problem::unavailable);
    }
    match ask(&control.bus, |bus| bus.health()).await? {
        Ok(()) => Ok(with_stopped(json!({"status": "ok", "bus": control.bus.kind()}))),
        Err(error) => Err(Problem::unavailable(error)),
    }
}

/// Adds the partitions that stand still, where there are any.
fn with_stopped(mut answer: Value) -> Json<Value> {
    let stopped: Vec<Value> = stopped::all().into_iter().map(|stopped| json!({"stage": stopped.stage, "why": stopped.why})).collect();
    if !stopped.is_empty() {
        answer["stopped"] = stopped.into();
    }
    Json(answer)
}

/// `OK`, or 503.
pub async fn status(State(control): State<Control>) -> Result<&'static str, Problem> {
    heartbeat(State(control)).await.map(|_| "OK")
}

/// What runs.
pub async fn version() -> Json<Value> {
    Json(json!({"source": env!("CARGO_PKG_REPOSITORY"), "version": env!("CARGO_PKG_VERSION"), "name": "tidemill"}))
}

/// The figures in Prometheus' text format.
pub async fn metrics(State(control): State<Control>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], control.metrics.render())
}

/// Where to look.
pub async fn index() -> Html<&'static str> {
    Html(include_str!("index.html"))
}
