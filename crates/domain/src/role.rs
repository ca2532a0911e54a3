//! What operators may do, by their role.

words! {
    /// What an operator is there for.
    Role {
        /// Looks at everything but secrets.
        Viewer = "viewer",
        /// Announces devices, and sees those that it announced.
        Installer = "installer",
        /// Runs the fleet: devices, profiles, operations, approvals.
        Operator = "operator",
        /// Guards the fleet: group secrets, the record, whoever has to be stopped.
        Security = "security",
        /// Everything, other operators too.
        Admin = "admin",
    }
}

words! {
    /// What a call does, as far as roles distinguish it.
    Power {
        /// Finds out who one is, and changes one's own password.
        Own = "own",
        /// Looks at devices; whoever may not read, at those that it announced.
        See = "see",
        /// Looks at what is no secret.
        Read = "read",
        /// Announces devices.
        Install = "install",
        /// Changes devices, profiles, operations and approvals; reads what devices are let in with.
        Operate = "operate",
        /// Rotates group secrets and sets their limits.
        Rotate = "rotate",
        /// Stops a device, or provisioning, and lets it go on.
        Halt = "halt",
        /// Reads and checks the record, looks after the server's keys.
        Secure = "secure",
        /// Makes and changes operators, tokens and tenants.
        Administer = "administer",
    }
}

impl Role {
    /// Whether the role allows this.
    pub fn may(self, power: Power) -> bool {
        use Power::{Halt, Install, Operate, Own, Read, Rotate, Secure, See};
        match self {
            Role::Viewer => matches!(power, Own | See | Read),
            Role::Installer => matches!(power, Own | See | Install),
            Role::Operator => matches!(power, Own | See | Read | Install | Operate | Rotate | Halt),
            Role::Security => matches!(power, Own | See | Read | Rotate | Halt | Secure),
            Role::Admin => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_table_says() {
        let table = [
            (Role::Viewer, "own see read"),
            (Role::Installer, "own see install"),
            (Role::Operator, "own see read install operate rotate halt"),
            (Role::Security, "own see read rotate halt secure"),
            (Role::Admin, "own see read install operate rotate halt secure administer"),
        ];
        for (role, powers) in table {
            let may: Vec<_> =
                Power::ALL.iter().filter(|power| role.may(**power)).map(|power| power.word()).collect();
            assert_eq!(may.join(" "), powers, "{}", role.word());
        }
        assert_eq!(table.len(), Role::ALL.len());
    }
}
