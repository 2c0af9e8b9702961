//! What rustls is told: TLS 1.3 only, both sides show a certificate, and a certificate is only the
//! wrapping of a key. No authority vouches for it, so its names and dates mean nothing here.

use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConfig};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme, version,
};

use super::{Fingerprint, Identity};

/// The one application protocol that is spoken, in its first version (ALPN, RFC 7301).
pub const PROTOCOL: &[u8] = b"audiostreamer/1";

/// What a client asks for by name; servers have none.
pub const SERVER_NAME: &str = "audiostreamer";

/// For one attempt of a client. Where `expected` is given, a server with another key learns
/// nothing, not even who we are; the key that it has shown is then in [`Seen`].
pub fn client(identity: &Identity, expected: Option<Fingerprint>) -> Result<(Arc<ClientConfig>, Seen), Error> {
    let provider = provider();
    let seen = Seen::default();
    let verifier = Arc::new(Pinned { expected, seen: seen.clone(), provider: provider.clone() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.certificates(), identity.private_key())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // Each connection proves both keys anew: nothing to keep, nothing to revoke.
    config.resumption = Resumption::disabled();
    Ok((Arc::new(config), seen))
}

/// For a server. Every client must show a key; which are let in is decided after the handshake.
pub fn server(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey { provider }))
        .with_single_cert(identity.certificates(), identity.private_key())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The key that a peer has proved to have, from the certificates of a finished handshake.
pub fn key_of(certificates: &[CertificateDer<'_>]) -> Result<Fingerprint, Error> {
    let certificate = certificates.first().ok_or(Error::NoCertificatesPresented)?;
    Ok(Fingerprint::of(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// The key that a server has shown, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Option<Fingerprint>>>);

impl Seen {
    /// The key, once a certificate has come.
    pub fn key(&self) -> Option<Fingerprint> {
        self.0.lock().ok().and_then(|seen| *seen)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[derive(Debug)]
struct Pinned {
    expected: Option<Fingerprint>,
    seen: Seen,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = key_of(std::slice::from_ref(end_entity))?;
        if let Ok(mut seen) = self.seen.0.lock() {
            *seen = Some(key);
        }
        match self.expected {
            Some(expected) if expected != key => Err(CertificateError::ApplicationVerificationFailure.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into()) // never asked for: TLS 1.3 only
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        key_of(std::slice::from_ref(end_entity)).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into()) // never asked for: TLS 1.3 only
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
