//! A network of its own for a test, with its own loopback: for programs whose ports are fixed.
//!
//! Needs root and iproute2.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result};

/// A network namespace, deleted on drop. Programs inside reach each other on 127.0.0.1 and nothing
/// else.
#[derive(Debug)]
pub struct NetworkNamespace {
    name: String,
}

impl NetworkNamespace {
    /// Makes the namespace and brings its loopback up.
    ///
    /// # Errors
    /// If the test does not run as root, or iproute2 is not installed.
    pub fn new() -> Result<Self> {
        let name = crate::unique_name();
        crate::run(Command::new("ip").args(["netns", "add", &name]))
            .context("a network namespace needs root and the package iproute2")?;
        let namespace = Self { name };
        crate::run(Command::new("ip").args(["-n", &namespace.name, "link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// A command that will run inside; its process is the program itself, so it can be killed.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        // A drop has nobody to tell: a namespace that stays behind holds nothing but its name.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_namespaces_have_each_their_own_loopback_only() {
        let (a, b) = (NetworkNamespace::new().unwrap(), NetworkNamespace::new().unwrap());
        assert_ne!(a.name, b.name);
        let links = a.command("ip").args(["-o", "link"]).output().unwrap();
        let links = String::from_utf8(links.stdout).unwrap();
        assert_eq!(links.lines().count(), 1, "{links}");
        assert!(links.contains("LOOPBACK,UP"), "{links}");
    }

    #[test]
    fn nothing_of_a_namespace_stays() {
        let namespace = NetworkNamespace::new().unwrap();
        let name = namespace.name.clone();
        drop(namespace);
        let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        assert!(!list.lines().any(|line| line.split(' ').next() == Some(name.as_str())));
    }
}
