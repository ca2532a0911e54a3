//! Numbers that name things inside one Muster. Each is a type of its own, so they cannot be mixed up.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// The outer wall; every row has one.
    TenantId
    /// A profile: the settings that devices of a kind share. Never used twice, over all tenants.
    ProfileId
    /// A device over all tenants: below 2⁴⁸ and never used twice, so a token can carry it.
    DeviceKey
    /// A group secret of a profile. Never used twice, over all tenants.
    SecretId
    /// Drawn anew, at random, whenever a device's credential changes: an old token names an old generation.
    Generation
    /// Rises with every change of a record; what a decision read is compared with it when it is recorded.
    Version
}

impl TenantId {
    /// The tenant that exists from the first start on.
    pub const DEFAULT: TenantId = TenantId(1);
}

impl DeviceKey {
    /// Device keys are below this number (48 bits: a derived token carries no more).
    pub const END: u64 = 1 << 48;
}
