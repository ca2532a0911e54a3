//! One tenant floods the server; the other one comes in all the same.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use e2e::device::{Answer, Group, Http};
use e2e::musterd::Setup;

/// Requests that the server lets wait: few, so that a flood of some connections fills it.
const QUEUE: &str = "4";
/// Connections of the two tenants: one asks with ten times as many at once.
const FLOOD: usize = 40;
const QUIET: usize = 4;
/// What each connection of the quiet tenant asks for.
const ASKED: u64 = 100;

#[derive(Default)]
struct Tally {
    asked: AtomicU64,
    granted: AtomicU64,
}

impl Tally {
    /// Asks for one device, over a connection that is kept.
    fn ask(&self, http: &mut Http, group: &Group, name: &str) -> Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match http.provision(&group.ask(name))? {
            Answer::Granted { .. } => drop(self.granted.fetch_add(1, Ordering::Relaxed)),
            Answer::Later => {}
            other => anyhow::bail!("{name}: {other:?}"),
        }
        Ok(())
    }

    fn share(&self) -> (u64, u64) {
        (self.granted.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed))
    }
}

#[test]
fn a_tenant_at_ten_times_the_rate_leaves_the_other_at_least_half_of_what_it_asks_for() -> Result<()> {
    let server = Setup::quickstart()?.setting("PROVISIONING__QUEUE", QUEUE).start()?;
    let muster = server.muster()?;
    muster.ok(&["tenant", "create", "acme"])?;
    let groups = [("default", "loud"), ("acme", "quiet")].map(|(tenant, name)| {
        let flags = ["--strategy", "create-new", "--provision-key", name, "--provision-secret", "a secret"];
        let made = muster.ok(&[&["profile", "create", name, "--tenant", tenant], &flags[..]].concat());
        made.map(|_| Group::new(name, "a secret"))
    });
    let [loud, quiet] = groups;
    let (loud, quiet) = (loud?, quiet?);
    let address = server.address().http();
    let (flood, calm, over) = (Tally::default(), Tally::default(), AtomicBool::new(false));
    thread::scope(|scope| -> Result<()> {
        let loud: Vec<_> = (0..FLOOD)
            .map(|worker| {
                let (loud, flood, over) = (&loud, &flood, &over);
                scope.spawn(move || -> Result<()> {
                    let mut http = Http::open(address)?;
                    for number in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        flood.ask(&mut http, loud, &format!("loud-{worker}-{number}"))?;
                    }
                    Ok(())
                })
            })
            .collect();
        let quiet: Vec<_> = (0..QUIET)
            .map(|worker| {
                let (quiet, calm) = (&quiet, &calm);
                scope.spawn(move || -> Result<()> {
                    let mut http = Http::open(address)?;
                    (0..ASKED).try_for_each(|number| {
                        calm.ask(&mut http, quiet, &format!("quiet-{worker}-{number}"))
                    })
                })
            })
            .collect();
        let ended: Result<Vec<()>> = quiet.into_iter().map(|it| it.join().expect("a quiet worker")).collect();
        over.store(true, Ordering::Relaxed);
        for worker in loud {
            worker.join().expect("a loud worker")?;
        }
        ended.map(drop)
    })?;
    let ((loud_in, loud_asked), (quiet_in, quiet_asked)) = (flood.share(), calm.share());
    println!("loud: {loud_in} of {loud_asked}; quiet: {quiet_in} of {quiet_asked}");
    ensure!(loud_in < loud_asked, "the queue was never full");
    ensure!(quiet_in * 2 >= quiet_asked, "quiet: {quiet_in} of {quiet_asked}");
    Ok(())
}
