//! A TCP link on which every byte takes its time, so that it shows who waits for each answer before the
//! next question: what comes meanwhile travels together, and the batches are counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long bytes are held in each direction.
const DELAY: Duration = Duration::from_millis(10);

/// A link to one address. Ends when dropped.
pub struct SlowLink {
    address: SocketAddr,
    batches: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl SlowLink {
    /// Listens on a port of its own and passes connections on to `to`.
    pub async fn start(to: &str) -> SlowLink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let batches = Arc::new(AtomicUsize::new(0));
        let (to, counted) = (to.to_owned(), batches.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, counted) = (to.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else {
                        return;
                    };
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    tokio::join!(
                        carry(near_read, far_write, Some(counted)),
                        carry(far_read, near_write, None)
                    );
                });
            }
        });
        SlowLink {
            address,
            batches,
            task,
        }
    }

    /// Where to connect to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many batches of questions have been passed on so far.
    pub fn batches(&self) -> usize {
        self.batches.load(Ordering::Relaxed)
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    counted: Option<Arc<AtomicUsize>>,
) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        if from.readable().await.is_err() {
            return;
        }
        // Whatever comes while the first byte waits goes with it.
        tokio::time::sleep(DELAY).await;
        let Ok(n @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return;
        };
        if let Some(counted) = &counted {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
