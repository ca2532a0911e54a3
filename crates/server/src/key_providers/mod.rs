//! Where the key-encryption key comes from (secrets-at-rest page, section 5).

pub mod file;
