//! The face for hubs: who holds these credentials?
//!
//! A derived token carries its device's key and is found without an index; whatever devices chose is found
//! by its keyed verifier. Short credentials can be guessed, so failures are throttled by source; a derived
//! token cannot, so it opens whatever its neighbours behind the same address are doing.

use std::sync::Arc;

use domain::login::{Login, ShownCertificate, Verdict, judge, lookups};
use domain::{
    Credential, CredentialKeys, DeviceKey, DeviceRecord, DeviceState, Generation, Kind, Origin, Refusal,
    Secret, TenantId,
};

use store::secrets::Keys;

use crate::attempts::Attempt;
use crate::shared::{Shared, elsewhere};
use crate::throttle::BucketKey;

/// Recognises devices by what they hold.
#[derive(Clone)]
pub struct DeviceAuth {
    shared: Arc<Shared>,
}

/// A device that has shown its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The device.
    pub device: DeviceKey,
    /// Its tenant.
    pub tenant: TenantId,
    /// The generation of the credential that it showed.
    pub generation: Generation,
    /// Whether it speaks for other devices.
    pub gateway: bool,
}

impl DeviceAuth {
    pub(crate) fn new(shared: Arc<Shared>) -> DeviceAuth {
        DeviceAuth { shared }
    }

    /// The device that holds this token, whether the server or the device made it. A short indexed read.
    ///
    /// # Errors
    /// `credentials-unknown`, `device-disabled`, `too-many-attempts`, or what the store says.
    pub async fn by_token(
        &self,
        token: &str,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        if !self.shared.store.is_remote() {
            return self.token_holder(token, origin, within);
        }
        let (auth, token) = (self.clone(), Secret::new(token));
        elsewhere(move || auth.token_holder(token.expose(), origin, within)).await
    }

    fn token_holder(
        &self,
        token: &str,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        let chosen = || {
            let found = self.find(&self.keys()?.verifier(token))?;
            Ok(found.filter(|device| matches!(device.credential, Credential::Token(..))))
        };
        self.known(token, chosen, origin, within)
    }

    /// The device that connects with these words (thingsboard page, section 7.2). A few short indexed reads.
    ///
    /// # Errors
    /// As [`DeviceAuth::by_token`].
    pub async fn by_login(
        &self,
        login: &Login,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        if !self.shared.store.is_remote() {
            return self.login_holder(login, origin, within);
        }
        let (auth, login) = (self.clone(), login.clone());
        elsewhere(move || auth.login_holder(&login, origin, within)).await
    }

    fn login_holder(
        &self,
        login: &Login,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        self.known(login.user_name.expose(), || self.by_lookups(login), origin, within)
    }

    /// The device that a client id alone names (thingsboard page, section 7.2), or `None`: who is nobody may
    /// still want to be provisioned, so a find that fails is no failed attempt.
    ///
    /// # Errors
    /// `device-disabled`, or what the store says.
    pub async fn by_client_id(
        &self,
        client_id: &str,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Option<Connected>, Refusal> {
        if !self.shared.store.is_remote() {
            return self.client_id_holder(client_id, origin, within);
        }
        let (auth, client_id) = (self.clone(), client_id.to_owned());
        elsewhere(move || auth.client_id_holder(&client_id, origin, within)).await
    }

    fn client_id_holder(
        &self,
        client_id: &str,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Option<Connected>, Refusal> {
        let nothing = || Secret::new("");
        let login = Login { client_id: client_id.to_owned(), user_name: nothing(), password: nothing() };
        let Some(device) = self.by_lookups(&login)? else { return Ok(None) };
        match self.admit(&device, within) {
            Err(Refusal::CredentialsUnknown) => Ok(None),
            result => {
                self.shared.metrics.login(origin.wire, result.is_ok());
                result.map(Some).inspect_err(|refusal| self.note(origin, *refusal))
            }
        }
    }

    /// The device that holds this certificate, or was given its fingerprint (thingsboard page, section 7.3). Nobody
    /// guesses a certificate whose private key he has to hold, so such tries are not throttled, and nobody else's stand
    /// in their way. A short indexed read.
    ///
    /// # Errors
    /// `certificate-unknown`, `device-disabled`, or what the store says; where dates count, `certificate-expired`.
    pub async fn by_certificate(
        &self,
        shown: &ShownCertificate,
        dates_count: bool,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        if !self.shared.store.is_remote() {
            return self.certificate_holder(shown, dates_count, origin, within);
        }
        let (auth, shown) = (self.clone(), shown.clone());
        elsewhere(move || auth.certificate_holder(&shown, dates_count, origin, within)).await
    }

    fn certificate_holder(
        &self,
        shown: &ShownCertificate,
        dates_count: bool,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        let valid = !dates_count || shown.is_valid_at(self.shared.clock.now());
        let result = match valid {
            true => self.shown_holder(shown, within),
            false => Err(Refusal::CertificateExpired),
        };
        self.shared.metrics.login(origin.wire, result.is_ok());
        result.inspect_err(|refusal| self.note(origin, *refusal))
    }

    fn shown_holder(&self, shown: &ShownCertificate, within: Option<TenantId>) -> Result<Connected, Refusal> {
        let found = self.find(&shown.lookup(self.keys()?))?;
        let device = found.filter(|device| matches!(device.credential, Credential::Certificate(..)));
        let device = device.ok_or(Refusal::CertificateUnknown)?;
        self.admit(&device, within).map_err(|refusal| match refusal {
            Refusal::CredentialsUnknown => Refusal::CertificateUnknown,
            other => other,
        })
    }

    /// The registration id of a device that has shown its credentials, as long as it is there.
    pub async fn name_of(&self, device: &Connected) -> Option<String> {
        let (shared, key) = (Arc::clone(&self.shared), device.device);
        let read = move || shared.store.devices_by_key(&[key]).map_err(|error| error.refusal());
        let found = if self.shared.store.is_remote() { elsewhere(read).await } else { read() };
        found.ok()?.into_iter().flatten().next().map(|record| record.name)
    }

    /// Tries the derived form of a token first, then what `chosen` finds.
    fn known(
        &self,
        token: &str,
        chosen: impl FnOnce() -> Result<Option<DeviceRecord>, Refusal>,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        let result = match self.by_derived(token)? {
            Some(device) => self.admit(&device, within),
            None => self.throttled(chosen, origin, within),
        };
        self.shared.metrics.login(origin.wire, result.is_ok());
        result.inspect_err(|refusal| self.note(origin, *refusal))
    }

    fn by_derived(&self, token: &str) -> Result<Option<DeviceRecord>, Refusal> {
        let keys = self.keys()?;
        let Some(resolved) = keys.resolve(token) else { return Ok(None) };
        let found = self.shared.store.devices_by_key(&[resolved.device]).map_err(|error| error.refusal())?;
        Ok(found.into_iter().flatten().next().filter(|device| keys.confirms(&resolved, device)))
    }

    fn by_lookups(&self, login: &Login) -> Result<Option<DeviceRecord>, Refusal> {
        let keys = self.keys()?;
        for lookup in lookups(login, keys) {
            let Some(device) = self.find(&lookup.verifier)? else { continue };
            match judge(login, &lookup, &device.credential, keys) {
                Verdict::Accepted => return Ok(Some(device)),
                Verdict::Refused => return Ok(None),
                Verdict::Next => {}
            }
        }
        Ok(None)
    }

    fn keys(&self) -> Result<&Keys, Refusal> {
        self.shared.store.keys().map_err(|error| error.refusal())
    }

    fn find(&self, verifier: &domain::Verifier) -> Result<Option<DeviceRecord>, Refusal> {
        let found = self.shared.store.devices_by_verifier(&[*verifier]).map_err(|error| error.refusal())?;
        Ok(found.into_iter().flatten().next())
    }

    fn throttled(
        &self,
        chosen: impl FnOnce() -> Result<Option<DeviceRecord>, Refusal>,
        origin: Origin,
        within: Option<TenantId>,
    ) -> Result<Connected, Refusal> {
        let (bucket, now) = (BucketKey::new(origin.source, None), self.shared.clock.now());
        if !self.shared.throttle.allows(bucket, now) {
            return Err(Refusal::TooManyAttempts);
        }
        let result =
            chosen()?.ok_or(Refusal::CredentialsUnknown).and_then(|device| self.admit(&device, within));
        result.inspect_err(|refusal| {
            if refusal.kind() == Kind::Unproven {
                self.shared.throttle.unproven(bucket, now);
            }
        })
    }

    /// What is owed to a device until it shows its credentials is settled behind its login.
    fn admit(&self, device: &DeviceRecord, within: Option<TenantId>) -> Result<Connected, Refusal> {
        let connected = admit(device, within)?;
        self.shared.heard_of(device.key);
        if device.owed.is_any() {
            self.shared.connections.lock().insert((device.key, connected.generation));
        }
        Ok(connected)
    }

    fn note(&self, origin: Origin, refusal: Refusal) {
        self.shared.attempts.note(Attempt {
            at: self.shared.clock.now(),
            tenant: None,
            device: None,
            origin,
            profile: None,
            unknown_key: None,
            registration_id: None,
            outcome: refusal.code(),
            proven: false,
        });
    }
}

/// A listener of a tenant answers another tenant's credential as unknown; a disabled device stays out.
fn admit(device: &DeviceRecord, within: Option<TenantId>) -> Result<Connected, Refusal> {
    if within.is_some_and(|tenant| tenant != device.tenant) {
        return Err(Refusal::CredentialsUnknown);
    }
    if matches!(device.state, DeviceState::Disabled { .. }) {
        return Err(Refusal::DeviceDisabled);
    }
    let generation = device.credential.generation().filter(|_| device.state.may_connect());
    let generation = generation.ok_or(Refusal::CredentialsUnknown)?;
    Ok(Connected { device: device.key, tenant: device.tenant, generation, gateway: device.gateway })
}
