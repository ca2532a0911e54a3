//! Waiting for a state instead of for a time, and ports that are free.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a poll rests between two looks.
const REST: Duration = Duration::from_millis(5);

/// Looks until `probe` has an answer; the deadline is there only so that a broken test ends.
///
/// # Errors
/// If there is no answer in time; `what` says which.
pub fn eventually<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        if began.elapsed() >= deadline {
            bail!("waited {deadline:?} in vain for {what}");
        }
        thread::sleep(REST);
    }
}

/// A TCP port of 127.0.0.1 that is free at the moment. A program that can bind port 0 and say
/// which one it got should do that instead.
///
/// # Errors
/// If the system has no port left.
pub fn free_port() -> Result<u16> {
    let [port] = free_ports()?;
    Ok(port)
}

/// Several such ports, all different.
///
/// # Errors
/// If the system has no port left.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_comes_late_is_seen() {
        let mut looks = 0;
        let seen = eventually("the third look", Duration::from_secs(60), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn a_state_that_never_comes_is_named() {
        let error = eventually::<()>("the moon", Duration::ZERO, || None).unwrap_err();
        assert!(error.to_string().contains("the moon"));
    }

    #[test]
    fn ports_that_are_free_differ_and_can_be_bound() {
        let [a, b] = free_ports().unwrap();
        assert_ne!(a, b);
        TcpListener::bind(("127.0.0.1", a)).unwrap();
    }
}
