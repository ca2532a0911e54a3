//! `muster events`

use futures_util::StreamExt as _;
use wire::admin::{Event, Events};

use super::Scope;
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::render::{self, Output, Row};

/// Flags of `events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what is behind this place, which an event or `--output json` has told: `start`, `now`, or such a place
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// Go on with what happens until interrupted; without --after what happens from now on
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    scope: Scope,
}

impl Args {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        if self.follow { self.follow(client, out).await } else { self.list(client, out).await }
    }

    async fn list(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let mut place = self.after.clone();
        let mut listing = out.listing();
        loop {
            let [tenant] = self.scope.query();
            let page: Events = client.get(&["events"], &[tenant, ("after", place.as_deref())]).await?;
            listing.page(&page.items)?;
            if !page.more {
                return listing.end("Nothing has happened.");
            }
            place = Some(page.next);
        }
    }

    /// A stream ends now and then, by itself or with the server: reading goes on from the last place, also behind a
    /// balancer that has nobody to ask for a while.
    async fn follow(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let mut place = self.after.clone().unwrap_or_else(|| "now".to_owned());
        let mut listing = out.listing();
        // Whether the server was reached, and whether it was said that it no longer is.
        let (mut reached, mut told) = (false, false);
        loop {
            let [tenant] = self.scope.query();
            let answer = client.events(&["events"], &[tenant, ("after", Some(&place))]).await;
            match answer {
                Ok(answer) => {
                    (reached, told) = (true, false);
                    let mut lines = Lines::default();
                    let mut pieces = answer.bytes_stream();
                    while let Some(Ok(piece)) = pieces.next().await {
                        for event in lines.events(&piece)? {
                            place.clone_from(&event.place);
                            listing.one(&event)?;
                        }
                    }
                }
                Err(failure) if reached && failure.may_pass() => {
                    if !std::mem::replace(&mut told, true) {
                        failure.print();
                    }
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

/// A stream of events, cut into pieces anywhere. Each of ours has its data on one line.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn events(&mut self, piece: &[u8]) -> Result<Vec<Event>, Failure> {
        self.0.extend_from_slice(piece);
        let whole = self.0.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.0.drain(..whole).collect();
        let data = lines.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data:"));
        let read = data.map(|json| serde_json::from_slice(json.trim_ascii()));
        read.collect::<Result<_, _>>()
            .map_err(|error| Failure::new(Kind::Refused, format!("the server sent no event: {error}")))
    }
}

impl Row for Event {
    const COLUMNS: &'static [&'static str] = &["time", "what", "who", "detail"];
    const MORE: &'static [&'static str] = &["tenant", "device", "place"];

    fn cells(&self) -> Vec<String> {
        vec![self.at.clone(), self.kind.clone(), self.actor.clone(), render::detail(&self.detail)]
    }

    fn more(&self) -> Vec<String> {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![of(&self.tenant), of(&self.device_id), self.place.clone()]
    }

    fn name(&self) -> String {
        self.place.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let event = |place: &str| {
            format!(
                "id: {place}\nevent: provision\ndata: {{\"place\":\"{place}\",\"at\":\"t\",\"kind\":\"k\",\"actor\":\"a\"}}\n\n"
            )
        };
        let text = format!(":\n\n{}{}", event("1.1"), event("1.2"));
        for at in 0..text.len() {
            let mut lines = Lines::default();
            let (front, back) = text.as_bytes().split_at(at);
            let mut events = lines.events(front).unwrap();
            events.extend(lines.events(back).unwrap());
            let places: Vec<_> = events.iter().map(|event| event.place.as_str()).collect();
            assert_eq!(places, ["1.1", "1.2"], "{at}");
        }
    }
}
