//! Plugins, graphs, alerts and streams.

use crate::{Control, Problem, health::ask};
use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::IntoResponse,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidemill_bus::{GroupPosition, TopicInfo};
use tidemill_pipeline::status::{AlertView, GraphData, GraphView, LogEntry, PluginView};

fn no_plugin(name: &str) -> Problem {
    Problem::missing(format!("there is no plugin {name}: /api/v1/plugins lists them"))
}

async fn topics(control: &Control) -> Result<Vec<TopicInfo>, Problem> {
    ask(&control.bus, |bus| bus.topics()).await?.map_err(Problem::unavailable)
}

pub async fn plugins(State(control): State<Control>) -> Result<Json<Vec<PluginView>>, Problem> {
    let topics = topics(&control).await?;
    Ok(Json(control.live.plugins(&topics)))
}

pub async fn plugin(State(control): State<Control>, Path(name): Path<String>) -> Result<Json<PluginView>, Problem> {
    let topics = topics(&control).await?;
    let plugin = control.live.find_plugin(&name).ok_or_else(|| no_plugin(&name))?;
    Ok(Json(plugin.view(&topics)))
}

pub async fn log(State(control): State<Control>, Path(name): Path<String>) -> Result<Json<Vec<LogEntry>>, Problem> {
    Ok(Json(control.live.find_plugin(&name).ok_or_else(|| no_plugin(&name))?.log()))
}

pub async fn graphs(State(control): State<Control>, Path(name): Path<String>) -> Result<Json<Vec<GraphView>>, Problem> {
    control.live.find_plugin(&name).ok_or_else(|| no_plugin(&name))?;
    Ok(Json(control.live.graphs(&name)))
}

pub async fn graph(State(control): State<Control>, Path((name, title)): Path<(String, String)>) -> Result<Json<GraphData>, Problem> {
    let missing = || Problem::missing(format!("plugin {name} has no graph {title}: /api/v1/plugins/{name}/graphs lists them"));
    control.live.graph(&name, &title).map(Json).ok_or_else(missing)
}

pub async fn payloads(State(control): State<Control>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    control.live.find_plugin(&name).ok_or_else(|| no_plugin(&name))?;
    let found = control.live.payloads(&name);
    let list = found.iter().map(
        |(name, payload)| json!({"name": name, "media_type": payload.media_type, "bytes": payload.data.len(), "time": payload.time_ms}),
    );
    Ok(Json(list.collect()))
}

/// A payload comes as a download, never as a page of this origin: plugins cannot put script beside the API.
pub async fn payload(State(control): State<Control>, Path((name, payload)): Path<(String, String)>) -> Result<impl IntoResponse, Problem> {
    let found = control.live.payloads(&name).remove(&payload);
    let found = found.ok_or_else(|| Problem::missing(format!("plugin {name} has no payload {payload}")))?;
    let headers = [
        (header::CONTENT_TYPE, found.media_type),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, found.data))
}

pub async fn alerts(State(control): State<Control>) -> Json<Vec<AlertView>> {
    Json(control.live.alerts())
}

pub async fn streams(State(control): State<Control>) -> Result<Json<Value>, Problem> {
    let found = ask(&control.bus, |bus| Ok((bus.topics()?, bus.group_positions()?))).await?;
    let (topics, positions): (Vec<TopicInfo>, Vec<GroupPosition>) =
        found.map_err(|error: tidemill_bus::BusError| Problem::unavailable(error))?;
    let mut groups: BTreeMap<(&str, u32), Vec<&GroupPosition>> = BTreeMap::new();
    for position in &positions {
        groups.entry((&position.partition.topic, position.partition.partition)).or_default().push(position);
    }
    Ok(Json(topics.iter().map(|topic| stream(topic, &groups)).collect()))
}

fn stream(topic: &TopicInfo, groups: &BTreeMap<(&str, u32), Vec<&GroupPosition>>) -> Value {
    let partitions = topic.partitions.iter().enumerate().map(|(number, range)| {
        let found = groups.get(&(&*topic.name, number as u32)).map(Vec::as_slice).unwrap_or_default();
        let groups =
            found.iter().map(|found| json!({"group": found.group, "position": found.position, "lag": (range.end - found.position).max(0)}));
        json!({"partition": number, "start": range.start, "end": range.end, "groups": groups.collect::<Vec<_>>()})
    });
    json!({"topic": topic.name, "partitions": partitions.collect::<Vec<_>>()})
}
