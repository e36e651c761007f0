//! Liveness, readiness and metrics; never a back door to the pipeline.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::answer::json_response;
use crate::gateway::Gateway;

/// `GET /healthz`: the process answers.
pub async fn healthz() -> Response<Body> {
    json_response(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}"))
}

/// `GET /readyz`: false while the ledger is sealed, lacks a quorum of witnesses that is required, or no
/// rules are in force.
pub async fn readyz(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let sealed = gateway.ledger.status().sealed.is_some();
    let rules = gateway.rules.current().is_some();
    let ready = !sealed && rules;
    let body = json!({
        "ready": ready,
        "ledger_sealed": sealed,
        "rules_in_force": rules,
        "witnesses": witnesses(&gateway),
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, Bytes::from(body.to_string()))
}

fn witnesses(gateway: &Gateway) -> serde_json::Value {
    let lag = gateway.watched.lag();
    let why = lag.too_late.then(|| lag.to_string());
    json!({
        "policy": gateway.watched.settings().policy.as_str(),
        "quorum": !lag.too_late,
        "lag_seconds": lag.since.as_secs(),
        "reason": why,
    })
}

/// Name, kind, help and value of a metric.
type Row = (&'static str, &'static str, &'static str, u64);

/// `GET /metrics`: the Prometheus text format, version 0.0.4.
pub async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response<Body> {
    let tools = gateway.rules.current().map_or(0, |now| now.catalogue.tools().count());
    let others: [Row; 4] = [
        (
            "portcullis_ledger_witness_lag_seconds",
            "gauge",
            "How long the oldest record has been waiting for a quorum of witnesses.",
            gateway.watched.lag().since.as_secs(),
        ),
        (
            "portcullis_unknown_functions_total",
            "counter",
            "Calls of apps or functions that are not there, since start.",
            gateway.turns.unknown_functions(),
        ),
        (
            "portcullis_directory_questions_total",
            "counter",
            "Times that the directory's database was asked, since start.",
            gateway.directory.questions(),
        ),
        ("portcullis_tools", "gauge", "Tools in the catalogue.", as_u64(tools)),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in of_ledger(&gateway).into_iter().chain(others) {
        // Writing into a String cannot fail.
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}").ok();
    }
    gateway.limits.write_metrics(&mut text);
    gateway.identity.write_metrics(&mut text);
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn of_ledger(gateway: &Gateway) -> [Row; 6] {
    let status = gateway.ledger.status();
    [
        (
            "portcullis_ledger_records_total",
            "counter",
            "Records appended since start.",
            status.records,
        ),
        (
            "portcullis_ledger_queue_depth",
            "gauge",
            "Records that wait for a commit.",
            as_u64(status.queue_depth),
        ),
        (
            "portcullis_ledger_sealed",
            "gauge",
            "1 while the ledger takes no records.",
            status.sealed.is_some().into(),
        ),
        (
            "portcullis_ledger_published_records",
            "gauge",
            "Records under a signed checkpoint that is shown.",
            status.published,
        ),
        (
            "portcullis_ledger_spooled_outcomes",
            "gauge",
            "Outcomes that are kept in a file beside the ledger until they are in it.",
            as_u64(status.spooled),
        ),
        (
            "portcullis_ledger_outcomes_kept_aside",
            "gauge",
            "Outcomes that an earlier run left in such a file and that could not be appended: they are in files that end in .aside.",
            as_u64(status.kept_aside),
        ),
    ]
}

/// `GET /openapi.json`: what this gateway serves, for clients that generate code.
pub async fn openapi() -> Response<Body> {
    json_response(StatusCode::OK, Bytes::from_static(include_bytes!("openapi.json")))
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
