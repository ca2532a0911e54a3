//! How much processor time a process has used, thread by thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Clock ticks a second in what the kernel tells: fixed for programs, whatever the kernel's own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time by thread name; threads of one name are added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage(BTreeMap<String, f64>);

impl Usage {
    /// What a process has used until now.
    ///
    /// # Errors
    /// If it has ended.
    pub fn of(process: u32) -> Result<Usage> {
        let mut usage = Usage::default();
        for task in fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"))? {
            // A thread may end while we look.
            if let Ok(stat) = fs::read_to_string(task?.path().join("stat")) {
                let (name, seconds) = parse(&stat).with_context(|| format!("cannot read {stat}"))?;
                *usage.0.entry(name).or_default() += seconds;
            }
        }
        Ok(usage)
    }

    /// What was used since then.
    pub fn since(&self, earlier: &Usage) -> Usage {
        let used = |(name, seconds): (&String, &f64)| (name.clone(), seconds - earlier.named(name));
        Usage(self.0.iter().map(used).collect())
    }

    /// Of the threads of this name.
    pub fn named(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Of all threads.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }
}

/// The most memory a process ever had, in megabytes.
///
/// # Errors
/// If it has ended.
pub fn peak_memory_mb(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel names no peak")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Name, user and system time; the name stands in parentheses and may hold anything.
fn parse(stat: &str) -> Option<(String, f64)> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((name.to_owned(), (user + system) / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_time_is_read_whatever_its_name() {
        let stat = "7 (a) (b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 1 2 3";
        assert_eq!(parse(stat), Some(("a) (b".to_owned(), 2.0)));
    }

    #[test]
    fn our_own_time_and_memory_can_be_read() {
        let own = std::process::id();
        let before = Usage::of(own).unwrap();
        assert!(Usage::of(own).unwrap().since(&before).total() >= 0.0);
        assert!(peak_memory_mb(own).unwrap() > 0.0);
    }
}
