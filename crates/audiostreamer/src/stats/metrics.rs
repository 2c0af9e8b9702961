//! The endpoint that Prometheus asks: `GET /metrics`, on a thread of its own, so that whoever asks
//! does not cost the sound anything.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::prometheus;
use super::snapshot::Snapshot;
use crate::error::Error;

/// Connections at the same time; more wait in the socket.
const CONNECTIONS_MAX: usize = 8;

/// How long one may last: a scrape takes milliseconds, and comes back on a new one.
const CONNECTION_TIME: Duration = Duration::from_secs(30);

/// What is served at the moment; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Latest(Arc<Mutex<Option<Snapshot>>>);

impl Latest {
    /// Replaces it.
    pub fn set(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        prometheus::text(snapshot)
    }
}

/// Listens, and answers until the process ends; returns where.
pub fn serve(address: SocketAddr, latest: Latest) -> Result<SocketAddr, Error> {
    let cannot = |why| Error::Metrics { address, why };
    let listener = TcpListener::bind(address).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let bound = listener.local_addr().map_err(cannot)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
    let run = move || runtime.block_on(answer_all(listener, latest));
    std::thread::Builder::new().name("metrics".into()).spawn(run).map_err(Error::Thread)?;
    Ok(bound)
}

async fn answer_all(listener: TcpListener, latest: Latest) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let latest = latest.clone();
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION_TIME, answer(stream, &latest)).await; // who asks has gone: so be it
                    drop(permit);
                });
            }
            // Out of file descriptors, or who asked has gone again.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(stream: TcpStream, latest: &Latest) -> hyper::Result<()> {
    let service = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(response(&request, latest)));
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
}

fn response(request: &Request<Incoming>, latest: &Latest) -> Response<String> {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match latest.text() {
            Ok(text) => (StatusCode::OK, prometheus::CONTENT_TYPE, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "can't be written\n".into()),
        },
        _ => (StatusCode::NOT_FOUND, "text/plain", "GET /metrics\n".into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
