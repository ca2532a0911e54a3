//! The record of what the server has acknowledged. A crash test compares it with what the server still
//! knows afterwards, so a line is written only after the answer arrived, and at once.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use wire::thingsboard::Credentials;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The file, one line for each acknowledged thing.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    file: File,
}

impl Acknowledged {
    /// Opens the file for appending; a new one is readable by its owner only, because it holds credentials.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file =
            file.map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self { file })
    }

    /// Notes what a device was granted.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn device(&mut self, name: &str, credentials: &Credentials) -> Result<(), Failure> {
        let kind = credentials.credentials_type().as_str();
        let line = Zeroizing::new(match credentials {
            Credentials::AccessToken(token) => format!("{name}\t{kind}\t{}\n", token.expose()),
            Credentials::MqttBasic { client_id, user_name, password } => {
                format!("{name}\t{kind}\t{client_id}\t{}\t{}\n", user_name.expose(), password.expose())
            }
            Credentials::X509(certificate) => format!("{name}\t{kind}\t{certificate}\n"),
        });
        self.append(&line)
    }

    /// Notes a telemetry value that the server took over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn telemetry(&mut self, name: &str, payload: &str) -> Result<(), Failure> {
        self.append(&format!("{name}\tTELEMETRY\t{payload}\n"))
    }

    /// One write for one line: whoever reads along never sees half of one.
    fn append(&mut self, line: &str) -> Result<(), Failure> {
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|error| Failure::usage(format!("cannot note what was acknowledged: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use wire::Secret;

    use super::*;

    #[test]
    fn each_line_is_in_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acknowledged");
        let mut acknowledged = Acknowledged::create(&path).unwrap();
        acknowledged.device("sim-1", &Credentials::AccessToken(Secret::from("tok"))).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "sim-1\tACCESS_TOKEN\ttok\n");
        acknowledged.telemetry("sim-1", "{\"temperature\":3}").unwrap();
        assert!(fs::read_to_string(&path).unwrap().ends_with("\nsim-1\tTELEMETRY\t{\"temperature\":3}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
