//! What a server answers with over TLS: read from the files that parameters name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caracal_config::{ClientCertificate, NamedFile, TlsFiles};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;

/// Why nothing can be answered over TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// A parameter is missing beside the others.
    #[error("{parameter} names no file, and TLS takes {what}")]
    Unset { parameter: &'static str, what: &'static str },
    /// A file cannot be read.
    #[error("{parameter} names {path}, which cannot be read: {source}", path = .path.display())]
    Unreadable { parameter: &'static str, path: PathBuf, source: io::Error },
    /// A file holds something else.
    #[error("{parameter} names {path}, which holds no {what} in PEM form: {reason}", path = .path.display())]
    Unusable { parameter: &'static str, path: PathBuf, what: &'static str, reason: String },
    /// Certificate and key do not go together.
    #[error("{certificate} and {key} name files that cannot be used together: {source}")]
    Mismatch { certificate: &'static str, key: &'static str, source: rustls::Error },
    /// The library refuses what it is asked for.
    #[error("no protocol of TLS can be spoken: {0}")]
    Protocol(#[source] rustls::Error),
}

/// A certificate, its key, and what is asked of clients.
pub(super) struct Identity {
    /// Takes connections.
    pub(super) acceptor: TlsAcceptor,
    /// What the files held.
    contents: [Option<Vec<u8>>; 3],
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], which names the parameter and the file.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, certificate_bytes) = read(&files.certificate, "a certificate")?;
        let (key, key_bytes) = read(&files.key, "the certificate's key")?;
        let chain = certificates(files.certificate.parameter, certificate, &certificate_bytes)?;
        let private_key = PrivateKeyDer::from_pem_slice(&key_bytes)
            .map_err(|error| unusable(files.key.parameter, key, "private key", reason(&error)))?;
        let (verifier, authorities_bytes) = clients(files, &provider)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Protocol)?;
        let config = match verifier {
            None => config.with_no_client_auth(),
            Some(verifier) => config.with_client_cert_verifier(verifier),
        };
        let mut config = config.with_single_cert(chain, private_key).map_err(|source| TlsError::Mismatch {
            certificate: files.certificate.parameter,
            key: files.key.parameter,
            source,
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let contents = [Some(certificate_bytes), Some(key_bytes), authorities_bytes];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), contents })
    }

    /// Whether the other one was made of files with the same contents.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

/// Judges clients as they are to be judged, with the bytes of the authorities if they matter.
#[expect(clippy::type_complexity, reason = "a verifier is a trait object to the library")]
fn clients(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<(Option<Arc<dyn ClientCertVerifier>>, Option<Vec<u8>>), TlsError> {
    let unverified = match files.clients {
        ClientCertificate::Unasked => return Ok((None, None)),
        ClientCertificate::Any => {
            let any = AnyCertificate(provider.signature_verification_algorithms);
            return Ok((Some(Arc::new(any)), None));
        }
        ClientCertificate::VerifiedIfGiven => Unverified::Served,
        ClientCertificate::Verified => Unverified::TurnedAway,
    };
    let parameter = files.authorities.parameter;
    let (path, bytes) = read(&files.authorities, "the certificates of those who certify clients")?;
    let mut roots = RootCertStore::empty();
    for authority in certificates(parameter, path, &bytes)? {
        roots.add(authority).map_err(|error| unusable(parameter, path, "certificate", error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = match unverified {
        Unverified::Served => verifier.allow_unauthenticated(),
        Unverified::TurnedAway => verifier,
    };
    let verifier = verifier.build().map_err(|error| unusable(parameter, path, "certificate", error.to_string()))?;
    Ok((Some(verifier), Some(bytes)))
}

/// What becomes of a client without a certificate.
enum Unverified {
    Served,
    TurnedAway,
}

fn read<'a>(file: &'a NamedFile, what: &'static str) -> Result<(&'a Path, Vec<u8>), TlsError> {
    let NamedFile { parameter, path } = file;
    let path = path.as_deref().ok_or(TlsError::Unset { parameter, what })?;
    let unreadable = |source| TlsError::Unreadable { parameter, path: path.to_owned(), source };
    Ok((path, std::fs::read(path).map_err(unreadable)?))
}

fn certificates(parameter: &'static str, path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(unusable(parameter, path, "certificate", "there is none in it".to_owned())),
        Err(error) => Err(unusable(parameter, path, "certificate", reason(&error))),
    }
}

/// What is wrong with a file in PEM form. None of it is quoted: it may be a key.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section in it has no end",
        pem::Error::IllegalSectionStart { .. } => "a section in it has no proper start",
        pem::Error::Base64Decode(_) => "a section in it is not in base64",
        pem::Error::NoItemsFound => "there is none in it",
        _ => "it is in no form that is known",
    }
    .to_owned()
}

fn unusable(parameter: &'static str, path: &Path, what: &'static str, reason: String) -> TlsError {
    TlsError::Unusable { parameter, path: path.to_owned(), what, reason }
}

/// Asks for a certificate and for the proof that the client has its key, whoever signed it.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
