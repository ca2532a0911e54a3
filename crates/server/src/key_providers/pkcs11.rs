//! A key-encryption key in a security module (PKCS #11 v2.40): AES of 256 bits, sensitive and not extractable.
//! Data keys go in and come out; the key itself never does.
//!
//! With `CKM_AES_GCM` a wrapped key is `nonce ‖ ciphertext ‖ tag`, as a local one. `CKM_AES_KEY_WRAP_PAD`
//! takes no additional data, so what is wrapped is `data key ‖ SHA-256(additional data)`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use store::{KekNote, KeyError, KeyProvider};
use zeroize::Zeroizing;

use crate::config::{self, Mechanism as Wanted};

/// What the ids of these keys begin with.
pub const WORD: &str = "pkcs11";

const NONCE_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
const DEK_BYTES: usize = 32;

/// A token of a module, as it is configured.
pub struct Module {
    settings: config::Pkcs11,
    /// A library is loaded once for a process.
    library: Mutex<Option<Pkcs11>>,
    /// The digest of a PIN that the token refused. It is not tried again by itself: some tries, and a token
    /// locks itself for good.
    refused: Arc<Mutex<Option<[u8; 32]>>>,
}

/// What a note keeps of a key.
#[derive(Serialize, Deserialize)]
struct Kept {
    label: String,
    mechanism: Wanted,
}

/// A key of the token.
struct TokenKey {
    id: String,
    mechanism: Wanted,
    /// A session is not to be used by two at once.
    opened: Mutex<Option<Opened>>,
    settings: config::Pkcs11,
    library: Pkcs11,
    refused: Arc<Mutex<Option<[u8; 32]>>>,
    label: String,
}

struct Opened {
    session: Session,
    key: ObjectHandle,
}

impl Module {
    pub(super) fn new(settings: &config::Pkcs11) -> Module {
        Module { settings: settings.clone(), library: Mutex::new(None), refused: Arc::default() }
    }

    pub(super) fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        let kept: Kept = serde_json::from_value(note.parameters.clone())
            .map_err(|error| KeyError(format!("the note of this key cannot be read: {error}")))?;
        let found = self.key(&note.id, kept);
        found.map(|key| Arc::new(key) as Arc<dyn KeyProvider>).map_err(|error| super::told(&error))
    }

    pub(super) fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        self.make(known).map_err(|error| super::told(&error))
    }

    fn key(&self, id: &str, kept: Kept) -> anyhow::Result<TokenKey> {
        let key = TokenKey {
            id: id.to_owned(),
            mechanism: kept.mechanism,
            opened: Mutex::new(None),
            settings: self.settings.clone(),
            library: self.library()?,
            refused: Arc::clone(&self.refused),
            label: kept.label,
        };
        *key.opened.lock() = Some(key.open()?);
        Ok(key)
    }

    fn make(&self, known: &[KekNote]) -> anyhow::Result<(KekNote, Arc<dyn KeyProvider>)> {
        let taken = |label: &str| known.iter().any(|note| note.parameters["label"] == label);
        let first = self.settings.key.clone();
        let later = (2_u32..).map(|number| format!("{first}-{number}"));
        let label = std::iter::once(first.clone()).chain(later).find(|label| !taken(label));
        let label = label.context("there is always another number")?;
        let id = format!("{WORD}:{label}");
        let library = self.library()?;
        let (session, slot) = session(&library, &self.settings, &self.refused)?;
        let mechanism = chosen(&library, slot, self.settings.mechanism)?;
        if find(&session, &label)?.is_none() {
            generate(&session, &label, mechanism)?;
            tracing::warn!(
                label,
                token = self.settings.token,
                "a new key-encryption key was made in the token"
            );
        }
        let kept = Kept { label, mechanism };
        let parameters = serde_json::to_value(&kept)?;
        Ok((KekNote::new(id.clone(), parameters), Arc::new(self.key(&id, kept)?)))
    }

    fn library(&self) -> anyhow::Result<Pkcs11> {
        let mut loaded = self.library.lock();
        if let Some(library) = &*loaded {
            return Ok(library.clone());
        }
        let path: &PathBuf = &self.settings.module;
        let library = Pkcs11::new(path).with_context(|| format!("cannot load {}", path.display()))?;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error).context("the security module does not start"),
        }
        *loaded = Some(library.clone());
        Ok(library)
    }
}

impl TokenKey {
    fn open(&self) -> anyhow::Result<Opened> {
        let (session, _) = session(&self.library, &self.settings, &self.refused)?;
        let key = find(&session, &self.label)?;
        let key = key.with_context(|| format!("the token holds no key `{}`", self.label))?;
        let shut = session.get_attributes(key, &[AttributeType::Extractable])?;
        ensure!(
            shut == [Attribute::Extractable(false)],
            "the key `{}` can be taken out of the token: make one that cannot",
            self.label
        );
        Ok(Opened { session, key })
    }

    /// Does something with the key; a session that has ended meanwhile is opened anew, once.
    fn with<T>(&self, work: impl Fn(&Session, ObjectHandle) -> Result<T, Error>) -> Result<T, KeyError> {
        let mut opened = self.opened.lock();
        if let Some(Opened { session, key }) = &*opened {
            match work(session, *key) {
                Err(Error::Pkcs11(why, _)) if has_ended(why) => *opened = None,
                done => return done.map_err(|error| KeyError(format!("the token failed: {error}"))),
            }
        }
        let fresh = self.open().map_err(|error| super::told(&error))?;
        let done = work(&fresh.session, fresh.key);
        *opened = Some(fresh);
        done.map_err(|error| KeyError(format!("the token failed: {error}")))
    }

    fn wrap_by_gcm(&self, dek: &[u8; DEK_BYTES], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| KeyError("the operating system has no random numbers".to_owned()))?;
        let body = self.with(|session, key| {
            let mut iv = nonce;
            let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
            session.encrypt(&Mechanism::AesGcm(params), key, dek)
        })?;
        Ok([&nonce[..], &body].concat())
    }

    fn unwrap_by_gcm(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (nonce, body) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or_else(|| self.refused())?;
        self.with(|session, key| {
            let mut iv = *nonce;
            let params = GcmParams::new(&mut iv, aad, TAG_BITS.into())?;
            session.decrypt(&Mechanism::AesGcm(params), key, body).map(Zeroizing::new)
        })
    }

    fn wrap_by_key_wrap(&self, dek: &[u8; DEK_BYTES], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        let bound = Zeroizing::new([&dek[..], digest(&SHA256, aad).as_ref()].concat());
        self.with(|session, key| {
            let template = [&passing()[..], &[Attribute::Value(bound.to_vec())]].concat();
            let object = session.create_object(&template)?;
            let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, key, object);
            session.destroy_object(object)?;
            wrapped
        })
    }

    fn unwrap_by_key_wrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bound = self.with(|session, key| {
            let object = session.unwrap_key(&Mechanism::AesKeyWrapPad, key, wrapped, &passing())?;
            let value = session.get_attributes(object, &[AttributeType::Value]);
            session.destroy_object(object)?;
            Ok(value?.into_iter().find_map(value_of).unwrap_or_default())
        })?;
        let (dek, words) = bound.split_at_checked(DEK_BYTES).ok_or_else(|| self.refused())?;
        if aws_lc_rs::constant_time::verify_slices_are_equal(words, digest(&SHA256, aad).as_ref()).is_err() {
            return Err(self.refused());
        }
        Ok(Zeroizing::new(dek.to_vec()))
    }

    fn refused(&self) -> KeyError {
        KeyError(format!("a data key does not open with {}", self.id))
    }
}

impl KeyProvider for TokenKey {
    fn id(&self) -> &str {
        &self.id
    }

    fn wrap(&self, dek: &[u8; DEK_BYTES], aad: &[u8]) -> Result<Vec<u8>, KeyError> {
        match self.mechanism {
            Wanted::KeyWrapPad => self.wrap_by_key_wrap(dek, aad),
            Wanted::Gcm | Wanted::Auto => self.wrap_by_gcm(dek, aad),
        }
    }

    fn unwrap(&self, wrapped: &[u8], aad: &[u8]) -> Result<Zeroizing<[u8; DEK_BYTES]>, KeyError> {
        let clear = match self.mechanism {
            Wanted::KeyWrapPad => self.unwrap_by_key_wrap(wrapped, aad)?,
            Wanted::Gcm | Wanted::Auto => self.unwrap_by_gcm(wrapped, aad)?,
        };
        let dek: &[u8; DEK_BYTES] = clear.as_slice().try_into().map_err(|_| self.refused())?;
        Ok(Zeroizing::new(*dek))
    }
}

fn has_ended(why: RvError) -> bool {
    matches!(
        why,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::UserNotLoggedIn
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
    )
}

/// A session whose user is logged in, and the slot of the token.
fn session(
    library: &Pkcs11,
    settings: &config::Pkcs11,
    refused: &Mutex<Option<[u8; 32]>>,
) -> anyhow::Result<(Session, Slot)> {
    let slot = slot(library, &settings.token)?;
    let session = library.open_rw_session(slot)?;
    let pin = super::read_private(&settings.pin_file).context("the PIN cannot be read")?;
    let known: Option<[u8; 32]> = digest(&SHA256, &pin).as_ref().try_into().ok();
    ensure!(
        known.is_none() || *refused.lock() != known,
        "the token has refused the PIN: correct it in the PIN file"
    );
    let pin = std::str::from_utf8(&pin).context("the PIN is no text")?.trim_end().to_owned();
    match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
        // All sessions of a process share one login.
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok((session, slot)),
        Err(error) => {
            if matches!(error, Error::Pkcs11(RvError::PinIncorrect, _)) {
                *refused.lock() = known;
            }
            Err(error).context("the token does not accept the PIN")
        }
    }
}

fn slot(library: &Pkcs11, token: &str) -> anyhow::Result<Slot> {
    for slot in library.get_slots_with_token()? {
        if library.get_token_info(slot)?.label() == token {
            return Ok(slot);
        }
    }
    bail!("the security module holds no token `{token}`")
}

fn chosen(library: &Pkcs11, slot: Slot, wanted: Wanted) -> anyhow::Result<Wanted> {
    let can = library.get_mechanism_list(slot)?;
    let has = |mechanism| can.contains(&mechanism);
    match wanted {
        Wanted::Gcm | Wanted::Auto if has(MechanismType::AES_GCM) => Ok(Wanted::Gcm),
        Wanted::KeyWrapPad | Wanted::Auto if has(MechanismType::AES_KEY_WRAP_PAD) => Ok(Wanted::KeyWrapPad),
        Wanted::Auto => bail!("the token has neither CKM_AES_GCM nor CKM_AES_KEY_WRAP_PAD"),
        _ => bail!("the token does not have the mechanism of `keys.pkcs11.mechanism`"),
    }
}

fn find(session: &Session, label: &str) -> anyhow::Result<Option<ObjectHandle>> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session.find_objects(&template)?;
    ensure!(found.len() < 2, "the token holds {} keys `{label}`", found.len());
    Ok(found.first().copied())
}

fn generate(session: &Session, label: &str, mechanism: Wanted) -> anyhow::Result<()> {
    let wraps = mechanism == Wanted::KeyWrapPad;
    let template = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(!wraps),
        Attribute::Decrypt(!wraps),
        Attribute::Wrap(wraps),
        Attribute::Unwrap(wraps),
        Attribute::ValueLen(32.into()),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template).context("the token makes no key")?;
    Ok(())
}

/// A data key on its way through the token: of one session, and readable.
fn passing() -> [Attribute; 6] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}

fn value_of(attribute: Attribute) -> Option<Zeroizing<Vec<u8>>> {
    match attribute {
        Attribute::Value(bytes) => Some(Zeroizing::new(bytes)),
        _ => None,
    }
}
