//! Who the server is: its certificate, made at the first start and kept; and the secret that signs tokens.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::rand::SecureRandom;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use secrecy::SecretString;
use voip_protocol::Fingerprint;

/// The server's certificate and key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{} cannot be used: {reason}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file is there, but is not what it should be.
    #[error("{} is damaged: restore it from a backup, or remove cert.pem and key.pem together (clients will warn of a new certificate)", .0.display())]
    Damaged(PathBuf),
    /// Making a certificate failed.
    #[error("a certificate cannot be made: {0}")]
    Make(String),
}

const CERTIFICATE_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
const JWT_SECRET_FILE: &str = "jwt.secret";

impl Identity {
    /// Reads `cert.pem` and `key.pem` in `folder`, or makes them where neither is there.
    pub fn load_or_create(folder: &Path) -> Result<Self, IdentityError> {
        let (certificate_file, key_file) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        if !certificate_file.exists() && !key_file.exists() {
            let made = rcgen::generate_simple_self_signed(["voip-server".to_owned(), "localhost".to_owned()])
                .map_err(|error| IdentityError::Make(error.to_string()))?;
            // The key first: a certificate without its key is what a crash in between must not leave.
            write_secret(&key_file, made.signing_key.serialize_pem().as_bytes())?;
            write_secret(&certificate_file, made.cert.pem().as_bytes())?;
        } else if !certificate_file.exists() {
            // A crash between the two files: the certificate was never shown to anybody.
            fs::remove_file(&key_file).map_err(|error| unusable(&key_file, &error))?;
            return Self::load_or_create(folder);
        }
        let certificate = fs::read(&certificate_file).map_err(|error| unusable(&certificate_file, &error))?;
        let key = fs::read(&key_file).map_err(|error| unusable(&key_file, &error))?;
        Ok(Self {
            certificate: CertificateDer::from_pem_slice(&certificate)
                .map_err(|_| IdentityError::Damaged(certificate_file))?,
            key: PrivateKeyDer::from_pem_slice(&key).map_err(|_| IdentityError::Damaged(key_file))?,
        })
    }

    /// What clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// TLS as the control plane speaks it.
    pub fn tls(&self) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .map_err(|error| IdentityError::Make(error.to_string()))?;
        // WebSockets are HTTP/1.1's.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(tls))
    }
}

/// Reads the secret that signs tokens, or makes it.
pub(crate) fn jwt_secret(folder: &Path, random: &dyn SecureRandom) -> Result<SecretString, IdentityError> {
    let file = folder.join(JWT_SECRET_FILE);
    if !file.exists() {
        let mut bytes = [0; 32];
        random.fill(&mut bytes).map_err(|_| IdentityError::Make("no randomness".into()))?;
        write_secret(&file, hex::encode(bytes).as_bytes())?;
    }
    let secret = fs::read_to_string(&file).map_err(|error| unusable(&file, &error))?;
    if secret.trim().len() < 64 {
        Err(IdentityError::Damaged(file))
    } else {
        Ok(secret.trim().to_owned().into())
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_secret(file: &Path, bytes: &[u8]) -> Result<(), IdentityError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let partial = file.with_extension("partial");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut open = options.open(&partial)?;
        open.write_all(bytes)?;
        open.sync_all()?;
        fs::rename(&partial, file)
    };
    write().map_err(|error| unusable(file, &error))
}

fn unusable(file: &Path, error: &io::Error) -> IdentityError {
    IdentityError::File { file: file.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_start_is_the_same_server() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new");
        let first = Identity::load_or_create(&data).unwrap().fingerprint();
        assert_eq!(Identity::load_or_create(&data).unwrap().fingerprint(), first);
        fs::remove_file(data.join(CERTIFICATE_FILE)).unwrap();
        assert_ne!(Identity::load_or_create(&data).unwrap().fingerprint(), first);
        fs::write(data.join(CERTIFICATE_FILE), "nonsense").unwrap();
        assert!(matches!(Identity::load_or_create(&data), Err(IdentityError::Damaged(_))));
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Identity::load_or_create(folder.path()).unwrap();
        jwt_secret(folder.path(), &aws_lc_rs::rand::SystemRandom::new()).unwrap();
        for file in [KEY_FILE, JWT_SECRET_FILE] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }
}
