//! The floor of the load test: a bare axum reverse-proxy hop, with the allocator and the client pool
//! that the gateway has, and nothing that makes a gateway.
//!
//! `floor LISTEN UPSTREAM`, for example `floor 127.0.0.1:9100 127.0.0.1:9101`. What the gated call
//! costs above this is what identification, decision, ledger and the strict edge cost.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Floor {
    client: Client<HttpConnector, Body>,
    upstream: Authority,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (args.next(), args.next()) else {
        return Err("usage: floor LISTEN UPSTREAM".into());
    };
    let listener = tokio::net::TcpListener::bind(listen.parse::<SocketAddr>()?).await?;
    let floor = Floor { client: client(), upstream: upstream.parse()? };
    axum::serve(listener, Router::new().fallback(forward).with_state(floor)).await?;
    Ok(())
}

fn client() -> Client<HttpConnector, Body> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_timer(TokioTimer::new())
        .build(tcp)
}

async fn forward(State(floor): State<Floor>, mut request: Request) -> Response<Body> {
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(floor.upstream).path_and_query(path);
    let Ok(uri) = uri.build() else { return status(StatusCode::BAD_REQUEST) };
    *request.uri_mut() = uri;
    match floor.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => status(StatusCode::BAD_GATEWAY),
    }
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}
