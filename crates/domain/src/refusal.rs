//! The one vocabulary of "no". Every protocol translates it; nothing else says no to a device.

/// What sort of no it is: decides what a device may see of it and whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The message itself is wrong.
    Malformed,
    /// Nothing has been proven; the answer must not teach anything.
    Unproven,
    /// Proven, but not allowed.
    Forbidden,
    /// Proven and allowed, but what it names is not there.
    NotFound,
    /// It collides with what is there already.
    Conflict,
    /// Too often.
    TooMany,
    /// Not now; the same request may succeed later.
    Unavailable,
    /// Our fault.
    Internal,
}

vocabulary! {
    /// Why a device was told no. The sentence and the hint are for the operator; what the device
    /// sees of it is its protocol's business.
    Refusal;

    RequestMalformed, "request-malformed", Malformed,
        "The request could not be read.",
        "Compare what the device sends with the protocol's page in the manual.";
    EvidenceMissing, "evidence-missing", Unproven,
        "The request names no provision key or carries no provision secret.",
        "Put the profile's provision key and secret into the device: muster profile show PROFILE.";
    ProfileUnknown, "profile-unknown", Unproven,
        "No profile has the provision key that was offered.",
        "Compare the device's provision key with: muster profile list.";
    ProofInvalid, "proof-invalid", Unproven,
        "The provision key is right, the provision secret is not.",
        "Correct the device's secret, or make a new one: muster profile set PROFILE --rotate-secret.";
    ProvisioningDisabled, "provisioning-disabled", Unproven,
        "The profile's strategy is `disabled`.",
        "Let devices in: muster profile set PROFILE --strategy create-new.";
    ProvisioningFrozen, "provisioning-frozen", Forbidden,
        "An operator has stopped provisioning by this tenant, profile or group secret.",
        "See who and why: muster freeze list; let devices in again: muster freeze off.";
    TooManyAttempts, "too-many-attempts", TooMany,
        "Too many unproven attempts came from this source.",
        "Correct the key or secret of the devices behind that address; the limit refills by itself.";
    SecretExpired, "secret-expired", Forbidden,
        "The group secret has expired.",
        "Set a later expiry or rotate it: muster profile set PROFILE --secret-expires DATE.";
    SourceNotAllowed, "source-not-allowed", Forbidden,
        "The source address is outside the networks of the group secret.",
        "Add the network: muster profile set PROFILE --networks CIDR,CIDR.";
    NameNotAllowed, "name-not-allowed", Forbidden,
        "The registration id does not match the name pattern of the group secret.",
        "Correct the device's name or the pattern: muster profile set PROFILE --name-pattern REGEX.";
    UsesExhausted, "uses-exhausted", Forbidden,
        "The group secret has no uses left.",
        "Allow more: muster profile set PROFILE --uses N.";
    NameBlank, "name-blank", Malformed,
        "The registration id consists of blanks only.",
        "Give the device a name, or leave the name out and let the server make one.";
    NameTooLong, "name-too-long", Malformed,
        "The registration id is longer than 255 characters.",
        "Shorten the device's name.";
    NameMalformed, "name-malformed", Malformed,
        "The registration id holds markup, a template or U+0000.",
        "Use plain text as the device's name.";
    NameMissing, "name-missing", Malformed,
        "The profile admits expected devices only, or asks before it lets one in, and the request names none.",
        "Let the device send its name.";
    DeviceUnknown, "device-unknown", NotFound,
        "The profile admits expected devices only, and this one is not expected.",
        "Announce it: muster device add NAME --profile PROFILE.";
    DeviceOfOtherProfile, "device-of-other-profile", NotFound,
        "The device is expected under another profile.",
        "Give the device the key of its own profile, or delete and add it under this one.";
    NameOfOtherProfile, "name-of-other-profile", Conflict,
        "A device of another profile has this name, and this profile makes new devices only.",
        "Give the device the key of its own profile (muster device show NAME), or delete it and let it come anew.";
    DeviceAnnounced, "device-announced", Conflict,
        "The device is announced, but its profile makes new devices and lets in none that is expected.",
        "Let in those that are announced: muster profile set PROFILE --strategy check-pre-provisioned.";
    DeviceExists, "device-exists", Conflict,
        "A device with this name exists already.",
        "Use unique names, delete the old device, or choose a re-provisioning policy: muster profile set PROFILE --reprovision return-existing.";
    AlreadyProvisioned, "already-provisioned", Conflict,
        "The device is provisioned already.",
        "Delete it and let it come anew, or choose a re-provisioning policy: muster profile set PROFILE --reprovision rotate.";
    DeviceDisabled, "device-disabled", Forbidden,
        "The device is disabled.",
        "Let it in again: muster device enable NAME.";
    DeviceLeaving, "device-leaving", Forbidden,
        "The device is being decommissioned.",
        "Take it back while its grace period lasts (muster device restore NAME), or wait for the end of it.";
    ProvisioningDenied, "provisioning-denied", Forbidden,
        "A hook or a person said no to this device.",
        "See who and why: muster approval list --all; ask again: muster approval forget NUMBER.";
    ApprovalPending, "approval-pending", Unavailable,
        "A person has to approve the device before it is let in.",
        "Decide: muster approval list, then muster approval approve or reject. The device tries again by itself.";
    HookPending, "hook-pending", Unavailable,
        "The profile's hook has not answered yet whether the device is let in.",
        "It is asked again by itself; see what it said last: muster approval list.";
    QuestionsFull, "questions-full", Unavailable,
        "Too many devices of the tenant wait for an answer.",
        "Answer or reject some: muster approval list.";
    OperationRunning, "operation-running", Unavailable,
        "What has to be done before the device is answered is not done yet.",
        "It goes on by itself; see what it waits for: muster operation list.";
    OperationStopped, "operation-stopped", Unavailable,
        "A step that the device's answer waits for has failed for good.",
        "See why (muster operation list --stopped), then resume it, unwind it or write the step off.";
    CredentialsInUse, "credentials-in-use", Conflict,
        "The credentials that the device chose belong to another device.",
        "Let the device choose others, or let the server make them.";
    CredentialsInUseElsewhere, "credentials-in-use-elsewhere", Conflict,
        "The credentials that the device chose belong to a device of another tenant.",
        "Let the device choose others, or let the server make them.";
    CredentialsTypeUnknown, "credentials-type-unknown", Malformed,
        "The request asks for a type of credentials that does not exist.",
        "Use ACCESS_TOKEN, MQTT_BASIC or X509_CERTIFICATE.";
    CredentialsIncomplete, "credentials-incomplete", Malformed,
        "The request brings credentials of its own, but not those of the type it asks for.",
        "Send `token` for ACCESS_TOKEN, `clientId` or `username` for MQTT_BASIC, `hash` for X509_CERTIFICATE.";
    CredentialsMalformed, "credentials-malformed", Malformed,
        "The credentials that the device chose are too long or hold control characters.",
        "At most 255 characters for token, client id and user name, 1024 for the password.";
    BasicIdentityMissing, "basic-identity-missing", Malformed,
        "MQTT basic credentials need a client id or a user name.",
        "Let the device send `clientId`, `username` or both.";
    BasicPasswordWithoutUser, "basic-password-without-user", Malformed,
        "MQTT basic credentials with a client id and a password need a user name too.",
        "Let the device send `username` as well, or leave the password out.";
    CertificateMalformed, "certificate-malformed", Malformed,
        "The device chose a certificate that cannot be read, or that is longer than 16384 characters.",
        "Let the device send its own certificate in PEM or as base64 of the DER, or the SHA-256 of the DER in hexadecimal.";
    Lwm2mUnsupported, "lwm2m-unsupported", Malformed,
        "The device chose LwM2M credentials, which this server does not take.",
        "Let the device use a token or MQTT basic credentials.";
    CredentialsUnknown, "credentials-unknown", Unproven,
        "Nobody holds the credentials that were offered.",
        "Provision the device anew, or look for its state: muster device show NAME.";
    CertificateUnknown, "certificate-unknown", Unproven,
        "No device holds the certificate that was shown.",
        "Compare it with what the device was given: openssl x509 -noout -fingerprint -sha256 -in FILE.";
    CertificateExpired, "certificate-expired", Forbidden,
        "The certificate that was shown has expired, or is not valid yet.",
        "Give the device a new certificate and set it as its credentials; compare the clocks if it should be valid.";
    QueueFull, "queue-full", Unavailable,
        "More requests are waiting than the server takes on.",
        "Devices try again by themselves; watch muster_queue_depth.";
    DeadlinePassed, "deadline-passed", Unavailable,
        "The answer was not ready within the protocol's patience.",
        "Devices try again by themselves; look at the disk's speed and the load.";
    StorageFull, "storage-full", Unavailable,
        "The disk is full; nothing can be recorded.",
        "Make room in the data directory's file system; service resumes by itself.";
    StoreUnavailable, "store-unavailable", Unavailable,
        "The database did not take the record.",
        "Look into the server's log for the database's own words.";
    SecretsLocked, "secrets-locked", Unavailable,
        "The server is locked: its key-encryption key is not at hand.",
        "See what it waits for, and open it: muster secrets list, muster secrets unlock.";
    SecretUnreadable, "secret-unreadable", Internal,
        "A sealed secret is missing or does not open with the keys at hand.",
        "Restore secrets.db and the key-encryption key that belong together.";
    ShuttingDown, "shutting-down", Unavailable,
        "The server is stopping.",
        "Devices try again by themselves.";
    Internal, "internal", Internal,
        "The server failed.",
        "Look into the server's log; this is worth a report.";
}

impl Refusal {
    /// The refusal with this code.
    pub fn of_code(code: &str) -> Option<Refusal> {
        Refusal::ALL.iter().copied().find(|refusal| refusal.code() == code)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_stable_kebab_case_and_stands_once() {
        let codes: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        assert!(
            codes
                .iter()
                .all(|code| code.chars().all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit()))
        );
    }
}
