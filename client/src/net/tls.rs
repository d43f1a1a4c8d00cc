//! TLS to a server that is known by its certificate's fingerprint, not by an authority.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use voip_protocol::{Address, Fingerprint};

use crate::{ClientError, ClientErrorCode};

/// How long a server may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// The certificate that answers at an address. Nothing is sent but the handshake.
pub async fn probe(address: &Address) -> Result<Fingerprint, ClientError> {
    let pin = Arc::new(Pin::any());
    let handshake = async {
        let stream = dial(address).await?;
        let tls = connector(&pin);
        tls.connect(server_name(address)?, stream).await.map_err(|error| not_tls(address, &error))
    };
    match tokio::time::timeout(ANSWER, handshake).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(timed_out(address)),
    }
    pin.seen().ok_or_else(|| {
        let message = format!("{address} showed no certificate: it is not a voice server");
        ClientError::new(ClientErrorCode::NotAVoiceServer, message)
    })
}

/// TLS that takes this certificate and no other.
pub fn pinned(fingerprint: Fingerprint) -> ClientConfig {
    Arc::new(Pin::only(fingerprint)).config()
}

/// Opens a TCP connection.
pub(super) async fn dial(address: &Address) -> Result<TcpStream, ClientError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| {
        let message =
            format!("nobody answers at {address} ({error}): check the address, and that the server runs");
        ClientError::new(ClientErrorCode::Unreachable, message)
    })?;
    // Small messages that somebody waits for.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

pub(super) fn timed_out(address: &Address) -> ClientError {
    let message = format!("{address} does not answer in time: check the address, and that the server runs");
    ClientError::new(ClientErrorCode::TimedOut, message)
}

fn not_tls(address: &Address, error: &std::io::Error) -> ClientError {
    let message = format!("{address} is not a voice server, or not this port of it ({error})");
    ClientError::new(ClientErrorCode::NotAVoiceServer, message)
}

pub(super) fn server_name(address: &Address) -> Result<ServerName<'static>, ClientError> {
    ServerName::try_from(address.host.clone()).map_err(|_| {
        let message = format!("{} is not a host name or an IP address", address.host);
        ClientError::new(ClientErrorCode::InvalidAddress, message)
    })
}

fn connector(pin: &Arc<Pin>) -> tokio_rustls::TlsConnector {
    tokio_rustls::TlsConnector::from(Arc::new(pin.config()))
}

/// The one certificate that is taken, and the one that was shown.
#[derive(Debug)]
pub(super) struct Pin {
    expected: Option<Fingerprint>,
    seen: Mutex<Option<Fingerprint>>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    pub(super) fn only(expected: Fingerprint) -> Self {
        Self { expected: Some(expected), ..Self::any() }
    }

    fn any() -> Self {
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        Self { expected: None, seen: Mutex::new(None), provider }
    }

    /// What the server showed, right or wrong.
    pub(super) fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The error of a connection whose certificate was another one, if it was.
    pub(super) fn mismatch(&self, address: &Address) -> Option<ClientError> {
        let (expected, seen) = (self.expected?, self.seen()?);
        (expected != seen).then(|| {
            let message = format!(
                "the certificate of {address} has changed: somebody may be in between. Ask the server's \
                 administrator whether it is {seen}; do not log in before"
            );
            ClientError::new(ClientErrorCode::CertificateChanged, message)
        })
    }

    pub(super) fn config(self: &Arc<Self>) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the protocol versions that rustls has")
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(shown);
        if self.expected.is_none_or(|expected| expected == shown) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
