//! Many simulated devices at once, on one thread: the load generator often shares the machine with the server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent::ClientError;
use agent::clients::thingsboard_mqtt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::{JoinSet, LocalSet};
use wire::thingsboard::{Credentials, ProvisionRequest};

use super::Wire;
use super::acknowledged::Acknowledged;
use super::device::{Line, Reached};
use super::names::Names;
use super::report::Report;
use super::tally::Tally;
use crate::failure::Failure;
use crate::render;

/// How long a line of devices waits before it tries a server again that it could not reach.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the progress is redrawn.
const REDRAW: Duration = Duration::from_millis(200);

/// What is to be simulated.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) wire: Wire,
    /// `address:port`
    pub(crate) target: String,
    pub(crate) devices: u64,
    /// How many devices are busy at once.
    pub(crate) connections: u64,
    pub(crate) new_connections: bool,
    /// How many devices begin in a second.
    pub(crate) rate: Option<u32>,
    /// How many telemetry values each device reports.
    pub(crate) telemetry: u32,
    pub(crate) mqtt: thingsboard_mqtt::Options,
    pub(crate) names: Names,
    /// How long a server that cannot be reached is tried.
    pub(crate) patience: Duration,
}

/// The fleet while it runs.
pub(crate) struct Fleet {
    plan: Plan,
    request: ProvisionRequest,
    began: Instant,
    next: Cell<u64>,
    stopped: Cell<bool>,
    provision: RefCell<Tally>,
    telemetry: RefCell<Tally>,
    acknowledged: RefCell<Option<Acknowledged>>,
}

impl Fleet {
    pub(crate) fn new(plan: Plan, request: ProvisionRequest, acknowledged: Option<Acknowledged>) -> Self {
        Self {
            plan,
            request,
            began: Instant::now(),
            next: Cell::new(0),
            stopped: Cell::new(false),
            provision: RefCell::new(Tally::new()),
            telemetry: RefCell::new(Tally::new()),
            acknowledged: RefCell::new(acknowledged),
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Lets all devices live, or as many as begin before an interrupt.
    ///
    /// # Errors
    /// When it cannot be noted what was acknowledged.
    pub(crate) async fn run(mut self) -> Result<Report, Failure> {
        self.began = Instant::now();
        let fleet = Rc::new(self);
        let lines = LocalSet::new();
        let outcome = lines
            .run_until(async {
                let watcher = tokio::task::spawn_local(watch(Rc::clone(&fleet)));
                let outcome = all_lines(&fleet).await;
                watcher.abort();
                outcome
            })
            .await;
        outcome.map(|()| fleet.report())
    }

    fn report(&self) -> Report {
        let seconds = self.began.elapsed().as_secs_f64();
        let plan = &self.plan;
        Report {
            wire: render::word_of(&plan.wire),
            target: plan.target.clone(),
            seed: plan.names.seed(),
            devices: plan.devices,
            connections: plan.connections,
            not_tried: plan.devices.saturating_sub(self.provision.borrow().ended()),
            seconds,
            provision: self.provision.borrow().counts(seconds),
            telemetry: (plan.telemetry > 0).then(|| self.telemetry.borrow().counts(seconds)),
            telemetry_of_each: plan.telemetry,
        }
    }

    // === What devices tell ===

    pub(crate) fn provisioned(
        &self,
        name: &str,
        credentials: &Credentials,
        latency: Duration,
    ) -> Result<(), Failure> {
        self.provision.borrow_mut().acknowledge(latency);
        self.acknowledged.borrow_mut().as_mut().map_or(Ok(()), |file| file.device(name, credentials))
    }

    pub(crate) fn not_provisioned(&self, error: &ClientError) {
        self.provision.borrow_mut().fail(error);
    }

    pub(crate) fn stored(&self, name: &str, payload: &str, latency: Duration) -> Result<(), Failure> {
        self.telemetry.borrow_mut().acknowledge(latency);
        self.acknowledged.borrow_mut().as_mut().map_or(Ok(()), |file| file.telemetry(name, payload))
    }

    pub(crate) fn not_stored(&self, error: &ClientError) {
        self.telemetry.borrow_mut().fail(error);
    }

    // === The order of devices ===

    /// The number of the next device and when it is due, once that moment has come.
    async fn next_device(&self) -> Option<(u64, Instant)> {
        if self.stopped.get() || self.next.get() >= self.plan.devices {
            return None;
        }
        let number = self.next.replace(self.next.get() + 1);
        let Some(rate) = self.plan.rate else { return Some((number, Instant::now())) };
        let due = self.began + Duration::from_secs(1).mul_f64(due_after(number, rate));
        tokio::time::sleep_until(due.into()).await;
        Some((number, due))
    }
}

/// When a device is due, in seconds from the beginning.
fn due_after(number: u64, rate: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no run has more devices than the 52 bits of a double")]
    let number = number as f64;
    number / f64::from(rate)
}

async fn all_lines(fleet: &Rc<Fleet>) -> Result<(), Failure> {
    let mut lines = JoinSet::new();
    for _ in 0..fleet.plan.connections {
        lines.spawn_local(line(Rc::clone(fleet)));
    }
    let mut outcome = Ok(());
    while let Some(ended) = lines.join_next().await {
        if let Ok(Err(failure)) = ended {
            fleet.stopped.set(true);
            outcome = Err(failure);
        }
    }
    outcome
}

/// One device after the other, until there are no more or the server has been away for too long.
async fn line(fleet: Rc<Fleet>) -> Result<(), Failure> {
    let mut line = Line::new(&fleet, fleet.request.clone());
    let mut away_since: Option<Instant> = None;
    while let Some((number, due)) = fleet.next_device().await {
        if line.live(number, due).await? == Reached::Yes {
            away_since = None;
            continue;
        }
        let since = *away_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= fleet.plan.patience {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Draws the progress, and ends the run early when the person at the terminal interrupts it.
async fn watch(fleet: Rc<Fleet>) {
    let bar = progress_bar(fleet.plan.devices);
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            _ = redraw.tick() => {
                let tally = fleet.provision.borrow();
                bar.set_position(tally.ended());
                bar.set_message(format!("{} provisioned", tally.acknowledged()));
            }
            _ = tokio::signal::ctrl_c() => fleet.stopped.set(true),
        }
    }
}

fn progress_bar(devices: u64) -> ProgressBar {
    if !render::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len}, {per_sec}, {eta} left  {msg}");
    ProgressBar::new(devices).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
