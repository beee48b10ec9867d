//! A wire that is cut again and again, wherever in a message that may be.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Passes bytes on and cuts the connection after so many of them, at most `cuts` times.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) cuts_made: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) fn new(server: SocketAddr, bytes: i64, cuts: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let cuts_made = Arc::new(AtomicU64::new(0));
        let made = Arc::clone(&cuts_made);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                // Each time at another place.
                let left = Arc::new(AtomicI64::new(bytes + 137 * made.load(Ordering::SeqCst) as i64));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let (left, made) = (Arc::clone(&left), Arc::clone(&made));
                    std::thread::spawn(move || pass(from, to, &left, &made, cuts));
                }
            }
        });
        Self { address, cuts_made }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64, made: &AtomicU64, cuts: u64) {
    let mut buffer = [0; 1000];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let before = left.fetch_sub(read as i64, Ordering::SeqCst);
        if before <= read as i64 && made.load(Ordering::SeqCst) < cuts {
            if before > 0 {
                made.fetch_add(1, Ordering::SeqCst);
                let _ = to.write_all(&buffer[..before as usize]);
            }
            break;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
