//! Tenants: the outer walls.

use std::collections::HashMap;

use domain::TenantId;
use domain::name::Name;
use serde_json::json;
use store::{Change, StoreError, Tenant, View};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Right, Unique, What};

impl Registry {
    /// Makes a tenant.
    ///
    /// # Errors
    /// `right-missing`, `value-invalid` for a name that breaks the rules, `tenant-exists`.
    pub fn create_tenant(&self, operator: &Operator, name: &str) -> Result<Tenant, RegistryError> {
        operator.require_server()?;
        let name = addressed("name", name)?;
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            if change.tenant_by_name(name.as_str())?.is_some() {
                return Err(RegistryError::Exists { what: Unique::Tenant, name: name.as_str().to_owned() });
            }
            let tenant = change.create_tenant(name.as_str(), now)?;
            let detail = json!({ "name": tenant.name });
            self.journal(change, operator, &Deed::of(tenant.id, "tenant-created", detail))?;
            Ok(tenant)
        })
    }

    /// The tenants that this operator may see, by name.
    ///
    /// # Errors
    /// What the store says.
    pub fn tenants(&self, operator: &Operator) -> Result<Vec<Tenant>, RegistryError> {
        let seen =
            |tenants: Vec<Tenant>| tenants.into_iter().filter(|tenant| operator.may_see(tenant.id)).collect();
        Ok(self.store.read(|view| view.tenants().map(seen))?)
    }

    /// The tenant that a call is about: the named one, else the operator's own, else the default one.
    /// Another tenant's name is unknown to an operator of one tenant.
    ///
    /// # Errors
    /// `tenant-not-found`; what the store says.
    pub fn tenant(&self, operator: &Operator, name: Option<&str>) -> Result<Tenant, RegistryError> {
        let found = self.store.read(|view| match name {
            Some(name) => view.tenant_by_name(name),
            None => view.tenant_by_id(operator.home()),
        })?;
        found
            .filter(|tenant| operator.may_see(tenant.id))
            .ok_or_else(|| RegistryError::not_found(What::Tenant, name.unwrap_or("default")))
    }
}

/// A name that keeps the rules and can stand in an address, by which alone such a thing is found again.
pub(super) fn addressed(field: &'static str, name: &str) -> Result<Name, RegistryError> {
    let rule = "1 to 255 characters, not blanks alone, no markup, template or U+0000.";
    let name = Name::parse(name).map_err(|_| RegistryError::invalid(field, rule))?;
    not_dots(field, name.as_str())?;
    Ok(name)
}

/// Two names mean something of their own in every address (URL standard, section 4.4).
pub(super) fn not_dots(field: &'static str, name: &str) -> Result<(), RegistryError> {
    match name {
        "." | ".." => Err(RegistryError::invalid(field, "`.` and `..` cannot stand in an address.")),
        _ => Ok(()),
    }
}

/// The names of all tenants.
pub(super) fn names(view: &View<'_>) -> Result<HashMap<TenantId, String>, StoreError> {
    Ok(view.tenants()?.into_iter().map(|tenant| (tenant.id, tenant.name)).collect())
}

impl Operator {
    pub(super) fn may_see(&self, tenant: TenantId) -> bool {
        match self.right {
            Right::Server => true,
            Right::Tenant(own) => own == tenant,
        }
    }
}
