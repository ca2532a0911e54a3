//! A place to listen at that can be closed, with everything that came in by it, and opened again.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// The door. Each connection is served by a thread of its own.
pub(crate) struct Door {
    address: SocketAddr,
    serve: Arc<dyn Fn(TcpStream) + Send + Sync>,
    open: Mutex<Option<Open>>,
}

struct Open {
    closing: Arc<AtomicBool>,
    guests: Arc<Guests>,
    porter: JoinHandle<()>,
}

#[derive(Default)]
struct Guests(Mutex<HashMap<SocketAddr, TcpStream>>);

impl Door {
    pub(crate) fn new(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Door {
        Door { address, serve: Arc::new(serve), open: Mutex::new(None) }
    }

    /// Opens it, if it is not open.
    pub(crate) fn open(&self) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(());
        }
        let listener = TcpListener::bind(self.address)?;
        let (closing, guests) = (Arc::new(AtomicBool::new(false)), Arc::new(Guests::default()));
        let porter = {
            let (closing, guests, serve) =
                (Arc::clone(&closing), Arc::clone(&guests), Arc::clone(&self.serve));
            thread::spawn(move || admit(&listener, &closing, &guests, &serve))
        };
        *open = Some(Open { closing, guests, porter });
        Ok(())
    }

    /// Closes it and every connection, and waits until nobody listens any more.
    pub(crate) fn close(&self) {
        let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        open.closing.store(true, Ordering::SeqCst);
        // The porter sees the word only when somebody comes; it cannot panic.
        let _ = TcpStream::connect(self.address);
        let _ = open.porter.join();
        open.guests.see_off();
    }
}

fn admit(
    listener: &TcpListener,
    closing: &AtomicBool,
    guests: &Arc<Guests>,
    serve: &Arc<dyn Fn(TcpStream) + Send + Sync>,
) {
    while let Ok((stream, peer)) = listener.accept() {
        if closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(copy) = stream.try_clone() else { continue };
        guests.lock().insert(peer, copy);
        let (guests, serve) = (Arc::clone(guests), Arc::clone(serve));
        thread::spawn(move || {
            serve(stream);
            guests.lock().remove(&peer);
        });
    }
}

impl Guests {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see_off(&self) {
        for (_, stream) in self.lock().drain() {
            // One that has gone already is what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
