//! Ten thousand wrong passwords and tokens from a thousand addresses: nobody gets in, and the owner does.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::guessing::{ADDRESSES, Guesses, OWNER, TRIES, log_in};
use e2e::musterd::Setup;
use testkit::http::HttpConnection;

const PASSWORD: &str = "correct horse battery staple";

#[test]
fn ten_thousand_guesses_from_a_thousand_addresses_open_nothing_and_leave_the_owner_able_to_sign_on()
-> Result<()> {
    let server = Setup::quickstart()?.start()?;
    let file = server.setup().home().join("password");
    fs::write(&file, PASSWORD)?;
    let file = file.to_str().context("no text")?;
    server.muster()?.ok(&["operator", "add", OWNER, "--role", "admin", "--password-file", file])?;
    let address = server.address().http();
    let (guesses, over) = (Guesses::default(), AtomicBool::new(false));
    let owners = thread::scope(|scope| -> Result<u32> {
        let owner = scope.spawn(|| -> Result<u32> {
            let mut times = 0;
            // Each time from another address, as if the owner were travelling.
            while !over.load(Ordering::Relaxed) {
                let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 2, 0, 1)) + times);
                let mut http = HttpConnection::open_from(source, address)?;
                let (status, answer) = log_in(&mut http, PASSWORD)?;
                ensure!(status == 200 && answer["token"].is_string(), "{status}: {answer}");
                times += 1;
            }
            Ok(times)
        });
        let guessed = guesses.carry_out(address);
        over.store(true, Ordering::Relaxed);
        let owners = owner.join().map_err(|_| anyhow!("the owner gave up"))??;
        guessed.map(|()| owners)
    })?;
    ensure!(owners > 0, "the owner never signed on");
    let heard = guesses.heard();
    ensure!(heard.values().sum::<u32>() == ADDRESSES * TRIES, "{heard:?}");
    ensure!(heard.keys().all(|status| [401, 429].contains(status)), "{heard:?}");
    ensure!(heard.contains_key(&429), "nobody was slowed down: {heard:?}");
    server.stop()
}
