//! Mosquitto, whose bare connect and disconnect is the yardstick for ours.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::process::Process;
use testkit::wait::{eventually, free_port};

/// Where Debian keeps it: a folder that is not in everybody's path.
const PROGRAM: &str = "/usr/sbin/mosquitto";

/// A running broker, ended on drop.
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    /// The program.
    pub process: Process,
}

impl Broker {
    /// Starts one that lets everybody in and keeps nothing; `None` where it is not installed.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(folder: &Path) -> Result<Option<Broker>> {
        if !Path::new(PROGRAM).exists() {
            return Ok(None);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let settings = folder.join("mosquitto.conf");
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\nset_tcp_nodelay true\n",
            address.port()
        );
        std::fs::write(&settings, text)?;
        let process = Process::start(Command::new(PROGRAM).arg("-c").arg(&settings))?;
        let listens = || TcpStream::connect(address).ok();
        eventually("mosquitto", Duration::from_secs(10), listens).with_context(|| process.transcript())?;
        Ok(Some(Broker { address, process }))
    }
}
