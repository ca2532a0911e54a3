//! Sealed secrets, in a database of their own. Only this module opens one
//! (secrets-at-rest page; the shape of a sealed value is in [`envelope`]).

pub(crate) mod clear;
mod envelope;
mod kek;
mod keks;
mod keys;
mod ring;
mod token;
mod vault;
mod walk;

pub use clear::ToSeal;
pub use kek::{AtHand, KekNote, KeyError, KeyProvider, KeySource, LocalKek};
pub use keks::{Kek, Verified};
pub use keys::Keys;
pub use token::Resolved;
pub(crate) use vault::{Kind, Place, Unsealed, Vault};
pub use walk::{Progress, Walk};

use zeroize::Zeroizing;

/// A key of 256 bits.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// Numbers nobody can guess.
///
/// # Errors
/// Where the generator fails; nothing secret can be made then.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, crate::StoreError> {
    let mut bytes = Zeroizing::new([0; N]);
    fill_random(bytes.as_mut_slice())?;
    Ok(bytes)
}

/// Fills `bytes` with numbers nobody can guess.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), crate::StoreError> {
    aws_lc_rs::rand::fill(bytes)
        .map_err(|_| crate::StoreError::Unavailable("the random generator failed".to_owned()))
}
