//! Passwords: how one is recognised, and where that is worked out.
//!
//! Recognising a password costs tens of milliseconds and 19 MiB by intent. So it is done by a few threads of
//! their own, at the lowest priority, one password after the other: guessing takes nothing from devices.

use std::collections::VecDeque;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use domain::{CredentialKeys, Entropy, Secret, Verifier};
use parking_lot::{Condvar, Mutex};
use store::StoreError;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// What OWASP asks of Argon2id, in its least memory-hungry but one variant.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// How soon a password is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Its source has signed on to that account before.
    Known,
    /// Nothing is known against its source.
    Fresh,
    /// Its source got something wrong lately.
    Failed,
}

/// Every so many passwords the last lane is served before the others, so that nobody waits for ever.
const LAST_FIRST_EVERY: u64 = 4;

/// Passwords that wait in one lane at most; whoever comes then is told to come again.
const MOST_WAITING: usize = 4096;
/// Threads that recognise passwords: one for every so many processors.
const CORES_PER_THREAD: usize = 4;
/// How much everybody else goes before these threads.
const NICENESS: i32 = 15;

// === What is kept of a password ===

/// What is kept of a password: Argon2id over a keyed digest, so that the main database alone does not suffice to
/// guess it.
///
/// # Errors
/// Where the parameters are refused; they are constants.
pub(super) fn kept(
    keys: &dyn CredentialKeys,
    password: &Secret,
    entropy: &mut dyn Entropy,
) -> Result<Secret, StoreError> {
    let mut salt = [0; SALT_BYTES];
    entropy.fill(&mut salt);
    let hash = hash(keys, password, &salt, &Recipe::today())?;
    let Recipe { memory, passes, lanes } = Recipe::today();
    let text = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${}${}", hex(&salt), hex(&*hash));
    Ok(Secret::new(text))
}

/// Whether this is the password of which `kept` was kept. In constant time. Without one it costs the same, and
/// the answer is no.
pub(super) fn is_it(
    keys: &dyn CredentialKeys,
    password: &Secret,
    kept: Option<&Secret>,
) -> Result<bool, StoreError> {
    let parsed = kept.and_then(|kept| parse(kept.expose()));
    let known = parsed.is_some();
    let nobody = || (Recipe::today(), vec![0; SALT_BYTES], [0; HASH_BYTES]);
    let (recipe, salt, wanted) = parsed.unwrap_or_else(nobody);
    let found = hash(keys, password, &salt, &recipe)?;
    // Verifiers are compared in constant time.
    Ok(known & (Verifier(*found) == Verifier(wanted)))
}

struct Recipe {
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl Recipe {
    fn today() -> Recipe {
        Recipe { memory: MEMORY_KIB, passes: PASSES, lanes: LANES }
    }
}

fn hash(
    keys: &dyn CredentialKeys,
    password: &Secret,
    salt: &[u8],
    recipe: &Recipe,
) -> Result<Zeroizing<[u8; HASH_BYTES]>, StoreError> {
    let failed =
        |error: argon2::Error| StoreError::Unavailable(format!("a password could not be hashed: {error}"));
    let params = Params::new(recipe.memory, recipe.passes, recipe.lanes, Some(HASH_BYTES)).map_err(failed)?;
    let digest = keys.verifier(&format!("operator-password\0{}", password.expose()));
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(&digest.0, salt, &mut *hash)
        .map_err(failed)?;
    Ok(hash)
}

fn parse(text: &str) -> Option<(Recipe, Vec<u8>, [u8; HASH_BYTES])> {
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let (numbers, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = numbers.split(',').map(|part| part.split_once('=')?.1.parse::<u32>().ok());
    let mut number = || numbers.next().flatten();
    let recipe = Recipe { memory: number()?, passes: number()?, lanes: number()? };
    Some((recipe, bytes(salt)?, bytes(hash)?.try_into().ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

// === Where it is worked out ===

type Job = Box<dyn FnOnce() + Send>;

/// The threads that recognise passwords. They end when the last registry does.
pub(super) struct Doorkeepers {
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    lanes: [VecDeque<Job>; 3],
    served: u64,
    started: bool,
    over: bool,
}

impl Default for Doorkeepers {
    fn default() -> Doorkeepers {
        Doorkeepers { line: Arc::new(Line::default()) }
    }
}

impl Doorkeepers {
    /// Has `work` done by one of the threads; `None` where too many wait already.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        // Whoever went away meanwhile is not told, and costs nothing.
        let job = move || {
            if !tell.is_closed() {
                let _ = tell.send(work());
            }
        };
        self.push(lane, Box::new(job))?;
        told.await.ok()
    }

    fn push(&self, lane: Lane, job: Job) -> Option<()> {
        let mut waiting = self.line.waiting.lock();
        let lane_waits = waiting.lanes[lane as usize].len();
        if lane_waits >= MOST_WAITING {
            return None;
        }
        if !waiting.started {
            self.start().ok()?;
            waiting.started = true;
        }
        waiting.lanes[lane as usize].push_back(job);
        self.line.came.notify_one();
        Some(())
    }

    fn start(&self) -> std::io::Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores.div_ceil(CORES_PER_THREAD) {
            let line = Arc::clone(&self.line);
            std::thread::Builder::new().name("passwords".to_owned()).spawn(move || line.work())?;
        }
        Ok(())
    }
}

impl Drop for Doorkeepers {
    fn drop(&mut self) {
        self.line.waiting.lock().over = true;
        self.line.came.notify_all();
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Job> {
        self.served += 1;
        let last_first = self.served.is_multiple_of(LAST_FIRST_EVERY);
        let early = if last_first { self.lanes[Lane::Failed as usize].pop_front() } else { None };
        early.or_else(|| self.lanes.iter_mut().find_map(VecDeque::pop_front))
    }
}

impl Line {
    fn work(&self) {
        // Where it is not granted the threads are only few, which is most of it.
        let _ = rustix::process::nice(NICENESS);
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.over {
                return None;
            }
            if let Some(job) = waiting.pop() {
                return Some(job);
            }
            self.came.wait(&mut waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::SystemEntropy;

    struct Test(u8);

    impl CredentialKeys for Test {
        fn verifier(&self, text: &str) -> Verifier {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[self.0]);
            Verifier(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().try_into().unwrap())
        }

        fn sha3_256_hex(&self, _: &str) -> String {
            String::new()
        }
    }

    #[test]
    fn a_password_is_recognised_and_no_other_one_nor_under_other_keys() {
        let right = Secret::new("correct horse battery");
        let of_it = kept(&Test(1), &right, &mut SystemEntropy::default()).unwrap();
        assert!(of_it.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(is_it(&Test(1), &right, Some(&of_it)).unwrap());
        assert!(!is_it(&Test(1), &Secret::new("correct horse"), Some(&of_it)).unwrap());
        assert!(!is_it(&Test(2), &right, Some(&of_it)).unwrap());
        assert!(!is_it(&Test(1), &right, None).unwrap());
        assert!(!is_it(&Test(1), &right, Some(&Secret::new("$argon2id$v=19$"))).unwrap());
    }

    #[test]
    fn known_places_go_first_and_those_that_failed_are_not_forgotten() {
        let mut waiting = Waiting::default();
        let served = Arc::new(Mutex::new(Vec::new()));
        for lane in [Lane::Failed, Lane::Fresh, Lane::Known] {
            for _ in 0..6 {
                let served = Arc::clone(&served);
                waiting.lanes[lane as usize].push_back(Box::new(move || served.lock().push(lane)));
            }
        }
        std::iter::from_fn(|| waiting.pop()).for_each(|job| job());
        use Lane::{Failed, Fresh, Known};
        let first: Vec<_> = served.lock().iter().take(8).copied().collect();
        assert_eq!(first, [Known, Known, Known, Failed, Known, Known, Known, Failed]);
        assert_eq!(served.lock().iter().filter(|lane| **lane == Fresh).count(), 6);
    }

    #[tokio::test]
    async fn the_doorkeepers_do_what_they_are_asked_one_after_the_other() {
        let doorkeepers = Doorkeepers::default();
        for number in 0..20 {
            assert_eq!(doorkeepers.ask(Lane::Fresh, move || number).await, Some(number));
        }
    }

    #[tokio::test]
    async fn more_than_can_wait_are_turned_away() {
        let doorkeepers = Doorkeepers::default();
        // All of them are at something that does not end.
        let (held, holds) = std::sync::mpsc::channel::<()>();
        let holds = Arc::new(Mutex::new(holds));
        let hold = || {
            let holds = Arc::clone(&holds);
            // It ends when the test does.
            move || assert!(holds.lock().recv().is_err())
        };
        assert!((0..=2 * MOST_WAITING).any(|_| doorkeepers.push(Lane::Fresh, Box::new(hold())).is_none()));
        assert_eq!(doorkeepers.ask(Lane::Fresh, || ()).await, None);
        // Who comes by another way is not concerned.
        assert!(doorkeepers.push(Lane::Known, Box::new(|| ())).is_some());
        drop(held);
    }
}
