//! The tables: what operators' transactions read and write, and the statements of the device path.

pub(crate) mod attributes;
pub(crate) mod devices;
pub mod journal;
pub(crate) mod operations;
pub(crate) mod operators;
pub(crate) mod profiles;
pub(crate) mod questions;
pub(crate) mod tenants;

use std::ops::Deref;

use crate::StoreError;
use crate::driver::{Room, Sql};
use crate::secrets::{Keys, Place, Vault};
use journal::Pen;

/// What an operator's transaction sees: the registry of one moment.
pub struct View<'a> {
    pub(crate) sql: Sql<'a>,
}

/// An operator's transaction: sees what a [`View`] sees, and changes it. Rolled back as a whole on an error.
pub struct Change<'a> {
    view: View<'a>,
    pub(crate) keys: &'a Keys,
    pub(crate) vault: &'a Vault,
    pub(crate) room: &'a Room,
    pub(crate) pen: Pen<'a>,
    /// Sealed values whose rows this transaction deletes; they go once it is committed.
    pub(crate) voided: Vec<Place>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        sql: Sql<'a>,
        keys: &'a Keys,
        vault: &'a Vault,
        room: &'a Room,
        pen: Pen<'a>,
    ) -> Change<'a> {
        Change { view: View { sql }, keys, vault, room, pen, voided: Vec::new() }
    }

    pub(crate) fn room_to_grow(&self) -> Result<(), StoreError> {
        self.room.to_grow()
    }
}

impl<'a> Deref for Change<'a> {
    type Target = View<'a>;

    fn deref(&self) -> &View<'a> {
        &self.view
    }
}
