//! What a careful neighbour knows and notices. It is rebuilt from the file of deliveries, so it has no clock.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use testkit::receiver::{Counts, Delivered, Thing};

/// Everything it was told, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By external id.
    things: BTreeMap<String, Thing>,
    /// The external id of what is there, by device.
    present: HashMap<String, String>,
    /// The latest operation that a device left by.
    left: HashMap<String, u64>,
    /// Event, key: the body that came first, and what was answered.
    known: HashMap<(String, String), (Value, Answer)>,
    deliveries: Vec<Delivered>,
    violations: Vec<String>,
    made: u64,
    retired: u64,
}

/// Status and body.
pub(crate) type Answer = (u16, Value);

impl Ledger {
    /// Does what a call asks for, once for each event and key.
    pub(crate) fn take(&mut self, body: &Value) -> Answer {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (event, key, device) = (text(&body["event"]), text(&body["key"]), text(&body["device"]["id"]));
        let before = self.known.get(&(event.clone(), key.clone())).filter(|_| !key.is_empty()).cloned();
        let repeated = before.is_some();
        self.deliveries.push(Delivered { event: event.clone(), key: key.clone(), device, repeated });
        if let Some((first, answer)) = before {
            return if first == *body { answer } else { self.contradicted(&event, &key) };
        }
        let answer = match event.as_str() {
            "device.ensure" => self.ensure(body),
            "device.retire" => self.retire(body),
            _ => (200, json!({})),
        };
        if !key.is_empty() {
            self.known.insert((event, key), (body.clone(), answer.clone()));
        }
        answer
    }

    fn contradicted(&mut self, event: &str, key: &str) -> Answer {
        self.violations.push(format!("{event} {key} came with two bodies"));
        (409, json!({"error": "this key came with another body before"}))
    }

    fn ensure(&mut self, body: &Value) -> Answer {
        let (device, operation) = (body["device"]["id"].as_str(), body["operation"].as_u64());
        let (Some(device), Some(operation)) = (device, operation) else { return malformed() };
        if let Some(left) = self.left.get(device).filter(|left| operation < **left) {
            self.violations.push(format!("{device} came by operation {operation} after it left by {left}"));
        }
        let external_id = match self.present.get(device) {
            Some(present) => present.clone(),
            None => {
                self.made += 1;
                format!("thing-{}", self.made)
            }
        };
        let name = body["device"]["name"].as_str().unwrap_or_default().to_owned();
        let thing = Thing { external_id: external_id.clone(), device: device.to_owned(), name, operation };
        self.present.insert(device.to_owned(), external_id.clone());
        self.things.insert(external_id.clone(), thing);
        (200, json!({"external_id": external_id}))
    }

    fn retire(&mut self, body: &Value) -> Answer {
        let (device, operation) = (body["device"]["id"].as_str(), body["operation"].as_u64());
        let (Some(device), Some(operation)) = (device, operation) else { return malformed() };
        let left = self.left.entry(device.to_owned()).or_default();
        *left = operation.max(*left);
        let told = body["receipt"]["external_id"].as_str().map(str::to_owned);
        let Some(external_id) = told.or_else(|| self.present.get(device).cloned()) else { return nothing() };
        match self.things.get(&external_id) {
            None => nothing(),
            Some(thing) if thing.device != device => {
                self.violations.push(format!("{device} was to leave by the receipt of {}", thing.device));
                (409, json!({"error": "the receipt is another device's"}))
            }
            Some(_) => {
                self.things.remove(&external_id);
                self.present.remove(device);
                self.retired += 1;
                (200, json!({}))
            }
        }
    }

    /// Keeps what is wrong with a call that was not worked on.
    pub(crate) fn violated(&mut self, what: &str) {
        self.violations.push(what.to_owned());
    }

    pub(crate) fn devices(&self) -> Vec<&Thing> {
        self.things.values().collect()
    }

    pub(crate) fn deliveries(&self) -> &[Delivered] {
        &self.deliveries
    }

    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn counts(&self, calls: u64) -> Counts {
        Counts {
            calls,
            deliveries: self.deliveries.len() as u64,
            devices: self.things.len() as u64,
            made: self.made,
            retired: self.retired,
            violations: self.violations.len() as u64,
        }
    }
}

fn malformed() -> Answer {
    (400, json!({"error": "device.id or operation is missing"}))
}

fn nothing() -> Answer {
    (404, json!({"error": "there is nothing to retire"}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &str, operation: u64, device: &str, receipt: Option<&str>) -> Value {
        let receipt = receipt.map(|id| json!({"external_id": id}));
        json!({"event": event, "key": format!("{operation}/0"), "operation": operation,
               "device": {"id": device, "name": "n"}, "receipt": receipt})
    }

    #[test]
    fn the_same_key_does_its_work_once() {
        let mut ledger = Ledger::default();
        let body = told("device.ensure", 1, "a", None);
        assert_eq!(ledger.take(&body), ledger.take(&body));
        assert_eq!((ledger.devices().len(), ledger.made, ledger.deliveries().len()), (1, 1, 2));
        assert!(ledger.deliveries()[1].repeated && ledger.violations().is_empty());
    }

    #[test]
    fn a_key_with_two_bodies_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.take(&told("device.ensure", 1, "a", None));
        assert_eq!(ledger.take(&told("device.ensure", 1, "b", None)).0, 409);
        assert_eq!((ledger.devices().len(), ledger.violations().len()), (1, 1));
    }

    #[test]
    fn a_device_leaves_with_its_receipt_or_without() {
        let mut ledger = Ledger::default();
        ledger.take(&told("device.ensure", 1, "a", None));
        assert_eq!(ledger.take(&told("device.retire", 2, "a", Some("thing-1"))).0, 200);
        assert_eq!(ledger.take(&told("device.retire", 3, "a", None)).0, 404);
        ledger.take(&told("device.ensure", 4, "a", None));
        assert_eq!(ledger.take(&told("device.retire", 5, "a", None)).0, 200);
        assert!(ledger.devices().is_empty() && ledger.violations().is_empty());
    }

    #[test]
    fn a_device_that_comes_late_is_an_orphan_and_noticed() {
        let mut ledger = Ledger::default();
        ledger.take(&told("device.retire", 2, "a", None));
        ledger.take(&told("device.ensure", 1, "a", None));
        assert_eq!((ledger.devices().len(), ledger.violations().len()), (1, 1));
    }

    #[test]
    fn a_receipt_of_another_device_undoes_nothing() {
        let mut ledger = Ledger::default();
        ledger.take(&told("device.ensure", 1, "a", None));
        assert_eq!(ledger.take(&told("device.retire", 2, "b", Some("thing-1"))).0, 409);
        assert_eq!((ledger.devices().len(), ledger.violations().len()), (1, 1));
    }
}
