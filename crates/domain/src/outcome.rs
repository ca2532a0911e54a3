//! What comes of a request.

use crate::credentials::Basic;
use crate::{DeviceKey, Generation, Refusal, Secret, TenantId};

/// The answer to a request, in no protocol's words.
#[derive(Debug)]
pub enum Outcome {
    /// Come in; this is what you hold.
    Granted(Grant),
    /// No, and why.
    Refused(Refusal),
}

/// Everything the reply carries. Given out only after the record of it is synced.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The device in the registry.
    pub device: DeviceKey,
    /// Its name; the server's own where the device brought none.
    pub name: String,
    /// The credentials it holds from now on.
    pub held: Held,
}

/// Credentials as their holder gets them.
#[derive(Clone, Debug)]
pub enum Held {
    /// A token.
    Token(Secret),
    /// MQTT client id, user name and password.
    Basic(Basic),
    /// A certificate's text: the base64 of its DER, or its fingerprint.
    Certificate(String),
}

/// A grant that is decided but not yet recorded.
#[derive(Clone, Debug)]
pub struct Promise {
    /// The device in the registry.
    pub device: DeviceKey,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The generation of its credential.
    pub generation: Generation,
    /// Its name.
    pub name: String,
    /// Where its credentials in clear come from.
    pub clear: Clear,
}

/// Where credentials in clear come from when they are delivered.
#[derive(Clone, Debug)]
pub enum Clear {
    /// The server derives a token.
    Derived,
    /// The device has just chosen them.
    Chosen(Held),
    /// They were chosen before, and rest sealed.
    Sealed,
}

impl Promise {
    /// Keeps the promise; `derive` makes the token of a device that chose nothing, `open` finds what rests sealed.
    ///
    /// # Errors
    /// What `open` says.
    pub fn keep<E>(
        self,
        derive: impl FnOnce(TenantId, DeviceKey, Generation) -> Secret,
        open: impl FnOnce(TenantId, DeviceKey, Generation) -> Result<Held, E>,
    ) -> Result<Grant, E> {
        let (tenant, device, generation) = (self.tenant, self.device, self.generation);
        let held = match self.clear {
            Clear::Derived => Held::Token(derive(tenant, device, generation)),
            Clear::Chosen(held) => held,
            Clear::Sealed => open(tenant, device, generation)?,
        };
        Ok(Grant { device, name: self.name, held })
    }
}
