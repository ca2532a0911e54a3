//! Decisions made to happen: batches, throttling, time.
//!
//! Three faces look outwards. [`Provisioner`] carries one request of a device from its evidence to the synced
//! record. [`DeviceAuth`] says who holds given credentials. [`Hub`] takes what connected devices tell.
//! Operators have a face of their own, the [`Registry`].

mod attempts;
mod batch;
mod device_auth;
mod fair_queue;
mod hub;
mod keeper;
mod lines;
mod metrics;
pub mod ports;
mod profiles;
mod provisioner;
mod queue;
pub mod registry;
mod runner;
mod seats;
mod shared;
#[cfg(test)]
mod sim;
mod throttle;
pub mod traces;
mod trouble;
mod values;
mod waiting;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Wire;
use parking_lot::Mutex;
use store::Store;

pub use device_auth::{Connected, DeviceAuth};
pub use hub::{Hub, Keys, NewSample, Own, Wanted};
pub use ports::{
    Asked, Attributes, Call, CallFailure, Caller, Clock, Connector, DeviceView, Ensured, Farewell, Fault,
    Hook, HookAnswer, Ports, Sessions, Task,
};
pub use provisioner::Provisioner;
pub use registry::Registry;
pub use store::{AttributeScope, LastValue, Latest, Scope, StoreError, Value};
pub use throttle::{BucketKey, Rate, Throttle};
pub use traces::Traces;
pub use values::as_json;

use batch::{Batcher, Job};
use fair_queue::FairQueue;
use hub::Post;
use queue::Message;
use runner::{Event, Runner};
use shared::Shared;
use waiting::Waiting;

/// How much the engine takes on.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most requests that wait for their decision; beyond it devices are told to try again.
    pub queue: usize,
    /// Most requests that wait for a hook, a person or a neighbour, of each wire in the order of [`Wire::ALL`]: they hold
    /// their connections meanwhile. Beyond it the tenant that holds most is told to come again.
    pub waiting: [usize; Wire::ALL.len()],
    /// Most telemetry posts that wait for their write.
    pub telemetry_queue: usize,
    /// How long a device waits for its answer.
    pub patience: Duration,
    /// How many unproven attempts a source may make.
    pub unproven: Rate,
    /// How long a step belongs to the server that claimed it; a call to a neighbour never takes longer.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            queue: 4096,
            waiting: [4096; Wire::ALL.len()],
            telemetry_queue: 4096,
            patience: Duration::from_secs(10),
            unproven: Rate::default(),
            lease: Duration::from_secs(30),
        }
    }
}

/// The faces, and the threads behind them.
pub struct Engine {
    /// Provisions devices.
    pub provisioner: Provisioner,
    /// Recognises devices.
    pub device_auth: DeviceAuth,
    /// Takes what devices tell.
    pub hub: Hub,
    shared: Arc<Shared>,
    work: Mutex<Option<Work>>,
}

/// What has to be ended.
struct Work {
    requests: Arc<FairQueue<Job>>,
    posts: SyncSender<Message<Post>>,
    writers: Vec<JoinHandle<()>>,
    keepers: Vec<(Sender<()>, JoinHandle<()>)>,
    runner: (Sender<Event>, JoinHandle<()>),
}

impl Engine {
    /// Starts the threads over an open store.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(store: Store, settings: Settings, ports: &Ports) -> std::io::Result<Engine> {
        let (events, event_inbox) = channel();
        let shared = Shared::new(store, Arc::clone(&ports.clock), settings.unproven, events.clone());
        let shared = Arc::new(Shared { waiting: Waiting::new(settings.waiting), ..shared });
        let requests = Arc::new(FairQueue::new(settings.queue, batch::takers(&shared.store)));
        let (posts, post_inbox) = sync_channel(settings.telemetry_queue);
        let work = Work {
            writers: batchers(&shared, &settings, ports, &requests)?
                .into_iter()
                .chain([telemetry_writer(&shared, post_inbox)?])
                .collect(),
            keepers: vec![
                keeper("attempts", &shared, keeper::journal_attempts)?,
                keeper("maintenance", &shared, keeper::maintain)?,
                keeper("lives", &shared, keeper::follow_lives)?,
                keeper("seen", &shared, keeper::note_seen)?,
                waiting_keeper(&shared, requests.clone(), settings.patience)?,
            ]
            .into_iter()
            .chain(follower(&shared, ports).transpose()?)
            .collect(),
            runner: (events.clone(), runner(&shared, ports, settings.lease, events, event_inbox)?),
            requests: requests.clone(),
            posts: posts.clone(),
        };
        Ok(Engine {
            provisioner: Provisioner::new(Arc::clone(&shared), requests, settings.patience),
            device_auth: DeviceAuth::new(Arc::clone(&shared)),
            hub: Hub::new(Arc::clone(&shared), posts, settings.patience),
            shared,
            work: Mutex::new(Some(work)),
        })
    }

    /// What the registry tells the engine of.
    pub fn told(&self) -> registry::Told {
        let (profiles, work) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        registry::Told {
            profiles_changed: Arc::new(move || profiles.profiles.clear()),
            work_due: Arc::new(move || work.poke()),
        }
    }

    /// Finishes what waits, journals the last attempts and ends the threads. Blocks; a second call does nothing.
    pub fn stop(&self) {
        let Some(work) = self.work.lock().take() else { return };
        // A thread that has ended already has nothing left to finish.
        work.requests.stop();
        let _ = work.posts.send(Message::Stop);
        let _ = work.runner.0.send(Event::Stop);
        join(work.writers);
        join(vec![work.runner.1]);
        join(work.keepers.into_iter().map(|(_, thread)| thread).collect());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the engine ended in a panic");
        }
    }
}

fn batchers(
    shared: &Arc<Shared>,
    settings: &Settings,
    ports: &Ports,
    inbox: &Arc<FairQueue<Job>>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    (0..batch::takers(&shared.store)).map(|_| batcher(shared, settings, ports, Arc::clone(inbox))).collect()
}

fn batcher(
    shared: &Arc<Shared>,
    settings: &Settings,
    ports: &Ports,
    inbox: Arc<FairQueue<Job>>,
) -> std::io::Result<JoinHandle<()>> {
    let patience_ms = u64::try_from(settings.patience.as_millis()).unwrap_or(u64::MAX);
    let batcher =
        Batcher::new(Arc::clone(shared), Arc::clone(&ports.sessions), (ports.entropy)(), patience_ms);
    spawn("provisioning", move || batcher.run(&inbox))
}

fn telemetry_writer(shared: &Arc<Shared>, inbox: Receiver<Message<Post>>) -> std::io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    spawn("telemetry", move || hub::run(&shared, &inbox))
}

fn waiting_keeper(
    shared: &Arc<Shared>,
    requests: Arc<FairQueue<Job>>,
    patience: Duration,
) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let shared = Arc::clone(shared);
    Ok((stop, spawn("waiting", move || waiting::run(&shared, &requests, patience, &stopped))?))
}

/// Only where there may be other servers.
fn follower(shared: &Arc<Shared>, ports: &Ports) -> Option<std::io::Result<(Sender<()>, JoinHandle<()>)>> {
    if !shared.store.is_remote() {
        return None;
    }
    let (stop, stopped) = channel();
    let (shared, sessions) = (Arc::clone(shared), Arc::clone(&ports.sessions));
    let run = move || keeper::follow_others(&shared, &*sessions, &stopped);
    Some(spawn("others", run).map(|thread| (stop, thread)))
}

fn runner(
    shared: &Arc<Shared>,
    ports: &Ports,
    lease: Duration,
    events: Sender<Event>,
    inbox: Receiver<Event>,
) -> std::io::Result<JoinHandle<()>> {
    let runner = Runner::new(Arc::clone(shared), ports, lease, events)?;
    spawn("steps", move || runner.run(&inbox))
}

fn keeper(
    name: &str,
    shared: &Arc<Shared>,
    run: fn(&Arc<Shared>, &Receiver<()>),
) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let shared = Arc::clone(shared);
    Ok((stop, spawn(name, move || run(&shared, &stopped))?))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
