//! What benches of a server share: a process of its own, and vectors.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pictor_proto::client::Client;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `pictor-server serve` on free ports with more flags; gives its gRPC address.
pub(crate) async fn start(folder: &Path, flags: &[&str]) -> (Server, String) {
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (grpc, http) = (port().to_string(), port().to_string());
    let child = Command::new(env!("CARGO_BIN_EXE_pictor-server"))
        .args(["serve", "--models-dir", ".deps/models", "--grpc", &grpc, "--http", &http, "--data-dir"])
        .arg(folder)
        .args(flags)
        .env("PICTOR_LOG", std::env::var("PICTOR_LOG").unwrap_or_else(|_| "warn".to_owned()))
        .stdin(Stdio::null())
        .spawn()
        .expect("pictor-server starts");
    let server = Server(child);
    while Client::connect(&grpc, None).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (server, grpc)
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

/// Unit vectors around a centre for each fifty of `near`, at a distance of 0.8 from it.
pub(crate) fn clustered(n: usize, near: usize, dimension: usize) -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let normal = |random: &mut ChaCha8Rng| (0..dimension).map(|_| random.sample::<f32, _>(StandardNormal)).collect();
    let centres: Vec<Vec<f32>> = (0..near / 50).map(|_| unit(normal(&mut random))).collect();
    let around = |random: &mut ChaCha8Rng, noise: Vec<f32>| {
        let centre = &centres[random.random_range(0..centres.len())];
        let scale = 0.8 / (dimension as f32).sqrt();
        unit(centre.iter().zip(noise).map(|(centre, noise)| centre + scale * noise).collect())
    };
    (0..n)
        .map(|_| {
            let noise = normal(&mut random);
            around(&mut random, noise)
        })
        .collect()
}
