//! Questions to a real neighbour.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use domain::{OperationId, StepKey};
use engine::{Asked, Fault, Hook, HookAnswer};
use serde_json::json;
use server::config::Config;
use testkit::receiver::{How, Misbehaviour, Receiver};
use tokio::runtime::Runtime;

/// Somebody to ask, and the one who asks.
struct Gate {
    receiver: Receiver,
    hook: Arc<dyn Hook>,
    runtime: Runtime,
}

impl Gate {
    fn open() -> Gate {
        let receiver = Receiver::start().unwrap();
        let text = receiver.settings("hooks.gate") + "timeout_s = 1\n";
        let config = Config::read(&text, Path::new("musterd.toml"), &[]).unwrap();
        let hook = server::hooks::hooks(&config).unwrap().remove(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Gate { receiver, hook, runtime }
    }

    fn ask(&self, operation: u64) -> Result<HookAnswer, Fault> {
        let asked = Asked {
            tenant: "default".into(),
            profile: "line-1".into(),
            registration_id: Some("SN-1".into()),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            wire: "thingsboard-http",
            gateway: false,
        };
        let key = StepKey { operation: OperationId(operation), index: 0 };
        self.runtime.block_on(self.hook.ask(&asked, &key))
    }
}

#[test]
fn a_question_is_answered_yes_or_no() {
    let gate = Gate::open();
    assert_eq!(gate.ask(1), Ok(HookAnswer::Allow { attributes: None }));
    gate.receiver.answer_questions(&json!({"allow": true, "attributes": {"room": 3}})).unwrap();
    let Ok(HookAnswer::Allow { attributes: Some(attributes) }) = gate.ask(2) else { panic!("not allowed") };
    assert_eq!(attributes["room"], 3);
    gate.receiver.answer_questions(&json!({"allow": false, "reason": "stolen"})).unwrap();
    assert_eq!(gate.ask(3), Ok(HookAnswer::Deny { reason: "stolen".into() }));
    let deliveries = gate.receiver.deliveries().unwrap();
    let told: Vec<_> = deliveries.iter().map(|told| (told.event.as_str(), told.key.as_str())).collect();
    assert_eq!(
        told,
        [1, 2, 3].map(|_| "provisioning.question").into_iter().zip(["1/0", "2/0", "3/0"]).collect::<Vec<_>>()
    );
    gate.runtime.block_on(gate.hook.check()).unwrap();
    assert_eq!(gate.receiver.violations().unwrap(), [""; 0]);
}

#[test]
fn trouble_lets_nobody_in() {
    let gate = Gate::open();
    for (how, permanent) in [
        (How::Down, false),
        (How::Hang, false),
        (How::Cut, false),
        (How::Status(503, Some(2)), false),
        (How::Status(404, None), true),
        (How::Garbage, true),
        (How::Huge, true),
        (How::WrongType, true),
    ] {
        gate.receiver.misbehave(&Misbehaviour::instead_of_work(how.clone())).unwrap();
        let fault = gate.ask(1).unwrap_err();
        assert_eq!(fault.permanent, permanent, "{how:?}: {fault:?}");
        assert!(!format!("{fault:?}").contains(&gate.receiver.secret().unwrap()));
        gate.receiver.heal().unwrap();
        assert!(gate.ask(1).is_ok(), "{how:?}");
    }
}
