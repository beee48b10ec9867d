//! Serves an engine over bound listeners until told to stop.

use std::future::Future;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::engine::Engine;
use crate::http;
use crate::rpc::auth::ApiKeys;
use crate::rpc::{CallLayer, SERVICES, routes};
use crate::types::limits::STREAMS_PER_CONNECTION;
use crate::types::{Error, Result};

/// How long calls in work may go on after the shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(20);

/// How often health follows the engine.
const HEALTH_PERIOD: Duration = Duration::from_millis(500);

/// How often items that have ended are looked for.
const EXPIRE_PERIOD: Duration = Duration::from_secs(1);

/// Services that cannot answer without their encoders.
const NEED_ENCODERS: [&str; 3] = ["pictor.v1.Items", "pictor.v1.Search", "pictor.v1.Encoders"];

/// Why a server stopped serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Shutdown,
    /// A snapshot waits to take the place of the data: open the engine again, and serve again.
    Restart,
}

/// Serves until `shutdown` completes or the engine asks to be opened again, then lets calls in work finish, at most [`DRAIN`], and closes the
/// engine.
///
/// # Errors
/// [`Error::Internal`] if a listener fails, [`Error::Storage`] if the last flush does.
pub async fn run(
    grpc: TcpListener,
    http: TcpListener,
    engine: Engine,
    keys: ApiKeys,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<End> {
    let address = http.local_addr().map_err(|error| Error::Internal(format!("the HTTP listener: {error}")))?;
    let (stop, stopping) = watch::channel(false);
    let (health, health_service) = tonic_health::server::health_reporter();
    let follower = tokio::spawn(follow_health(engine.clone(), health, stopping.clone()));
    let expiring = tokio::spawn(expire(engine.clone(), stopping.clone()));

    let reflection_problem = |error: tonic_reflection::server::Error| Error::Internal(format!("reflection: {error}"));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pictor_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = routes(&engine)
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(reflection_problem)?)
        .add_service(reflection().build_v1alpha().map_err(reflection_problem)?);
    let grpc_server = Server::builder()
        .max_concurrent_streams(u32::try_from(STREAMS_PER_CONNECTION.cap).unwrap_or(u32::MAX))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_max_pending_accept_reset_streams(Some(64))
        .http2_max_header_list_size(16 << 10)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .layer(CallLayer::new(keys.clone(), engine.metrics()))
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpIncoming::from(grpc).with_nodelay(Some(true)), stopped(stopping.clone()));
    let service = http::Service::new(engine.clone(), keys, address);
    let http_server =
        axum::serve(http.tap_io(no_delay), http::router(service)).with_graceful_shutdown(stopped(stopping));

    let grpc_task = tokio::spawn(grpc_server);
    let mut http_task = tokio::spawn(async move { http_server.await });
    let end = tokio::select! {
        () = shutdown => End::Shutdown,
        () = engine.restart_wanted() => End::Restart,
    };
    tracing::info!(?end, "stopping: calls in work may finish");
    // Nobody is left to receive only if a server failed already, which is reported below.
    let _ = stop.send(true);
    let until = tokio::time::Instant::now() + DRAIN;
    let served = tokio::time::timeout_at(until, grpc_task).await;
    if tokio::time::timeout_at(until, &mut http_task).await.is_err() {
        http_task.abort();
    }
    follower.abort();
    // What it has begun is finished, so that nobody writes when the engine is closed.
    let _ = expiring.await;
    engine.close().await?;
    match served {
        Ok(Ok(Ok(()))) => Ok(end),
        Ok(Ok(Err(error))) => Err(Error::Internal(format!("gRPC server: {error}"))),
        Ok(Err(error)) => Err(Error::Internal(format!("gRPC server: {error}"))),
        Err(_) => {
            tracing::warn!("some calls were still in work after {DRAIN:?} and were cut off");
            Ok(end)
        }
    }
}

/// An answer's last bytes do not wait for the acknowledgement of the ones before.
fn no_delay(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "an HTTP connection keeps its delay");
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is also the end.
    let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
}

async fn expire(engine: Engine, mut stopping: watch::Receiver<bool>) {
    let mut known = None;
    while !*stopping.borrow() {
        match engine.expire().await {
            Ok(items) => {
                known = None;
                if items > 0 {
                    tracing::debug!(items, "items have ended");
                }
            }
            // Said once, not every second.
            Err(error) => {
                if known.as_ref() != Some(&error) {
                    tracing::warn!(%error, "items that have ended cannot be removed");
                }
                known = Some(error);
            }
        }
        let _ = tokio::time::timeout(EXPIRE_PERIOD, stopping.changed()).await;
    }
}

async fn follow_health(engine: Engine, health: HealthReporter, mut stopping: watch::Receiver<bool>) {
    loop {
        let is_stopping = *stopping.borrow();
        let encoders_work = !is_stopping && engine.encoder_problems().is_empty();
        let all_works = !is_stopping && engine.problems().is_empty();
        let status = |works: bool| if works { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            let works = if NEED_ENCODERS.contains(&service) { encoders_work } else { !is_stopping };
            health.set_service_status(service, status(works)).await;
        }
        health.set_service_status("", status(all_works)).await;
        if is_stopping {
            return;
        }
        let _ = tokio::time::timeout(HEALTH_PERIOD, stopping.changed()).await;
    }
}
