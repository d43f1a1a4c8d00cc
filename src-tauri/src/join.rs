//! Visiting a server, believing its certificate, logging in.

use voip_client::{
    ClientError, ClientErrorCode, Login, Register,
    net::{self, KnownServers},
};
use voip_protocol::{Address, Fingerprint, Invite};

use crate::{
    api::{AppError, AppErrorCode, LastServer, LoginRequest, Trust, Visit},
    state::{App, invalid_address, lock},
};

impl App {
    /// Looks who answers at an address or an invite link. An invite that was right is remembered.
    pub async fn visit(&self, text: &str) -> Result<Visit, AppError> {
        let Invite { address, fingerprint: invited } = text.parse().map_err(invalid_address)?;
        let fingerprint = net::probe(&address).await?;
        let trust = if self.host.is_own(&address, fingerprint).await {
            Trust::Known
        } else {
            self.with_known(|known| trust(known, &address, invited, fingerprint))?
        };
        Ok(Visit { address: address.to_string(), fingerprint, trust })
    }

    /// Believes a certificate from now on. One that stands in place of another needs the same fingerprint, or an
    /// invite with it, from whoever runs the server.
    pub fn trust(
        &self,
        address: &str,
        fingerprint: Fingerprint,
        confirmation: Option<&str>,
    ) -> Result<(), AppError> {
        let address = read_address(address)?;
        self.with_known(|known| match known.check(&address, fingerprint) {
            net::Trust::Known => Ok(()),
            net::Trust::New => Ok(known.pin(&address, fingerprint)?),
            net::Trust::Changed { .. } if confirmation.and_then(confirmed) == Some(fingerprint) => {
                Ok(known.pin(&address, fingerprint)?)
            }
            net::Trust::Changed { .. } => Err(AppError::new(
                AppErrorCode::NotConfirmed,
                "this is not the fingerprint that the server shows: do not connect, and ask whoever runs it",
            )),
        })
    }

    /// Logs in, or registers first. Only where the certificate is believed.
    pub async fn log_in(&self, request: LoginRequest) -> Result<(), AppError> {
        let LoginRequest { address, fingerprint, organization, username, password, register } = request;
        let address = read_address(&address)?;
        if !self.host.is_own(&address, fingerprint).await {
            self.with_known(|known| match known.check(&address, fingerprint) {
                net::Trust::Known => Ok(()),
                _ => Err(not_trusted(&address)),
            })?;
        }
        let last = LastServer {
            address: address.to_string(),
            organization: organization.clone(),
            username: username.clone(),
        };
        let device = Some(self.device.clone());
        let register = register.map(|account| Register { display_name: account.display_name });
        self.engine
            .connect(Login { address, fingerprint, organization, username, password, register, device })
            .await?;
        self.remember(|settings| settings.last_server = Some(last));
        Ok(())
    }

    fn with_known<T>(
        &self,
        act: impl FnOnce(&mut KnownServers) -> Result<T, AppError>,
    ) -> Result<T, AppError> {
        match &mut *lock(&self.known) {
            Ok(known) => act(known),
            Err(error) => Err(error.clone().into()),
        }
    }
}

/// What to make of the certificate that answered.
fn trust(
    known: &mut KnownServers,
    address: &Address,
    invited: Option<Fingerprint>,
    shown: Fingerprint,
) -> Result<Trust, AppError> {
    if let Some(expected) = invited.filter(|expected| *expected != shown) {
        return Ok(Trust::Changed { expected, invited: true });
    }
    Ok(match known.check(address, shown) {
        net::Trust::Known => Trust::Known,
        net::Trust::Changed { pinned } => Trust::Changed { expected: pinned, invited: false },
        net::Trust::New if invited.is_some() => {
            known.pin(address, shown)?;
            Trust::Known
        }
        net::Trust::New => Trust::New,
    })
}

/// The fingerprint in what a person was told: bare, or within an invite.
fn confirmed(text: &str) -> Option<Fingerprint> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<Invite>().ok()?.fingerprint)
}

fn read_address(text: &str) -> Result<Address, AppError> {
    Ok(text.parse::<Invite>().map_err(invalid_address)?.address)
}

fn not_trusted(address: &Address) -> AppError {
    let message =
        format!("the certificate of {address} is not one that you trust: visit it and compare fingerprints");
    ClientError::new(ClientErrorCode::CertificateChanged, message).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ONE: Fingerprint = Fingerprint([1; 32]);
    const OTHER: Fingerprint = Fingerprint([2; 32]);

    fn address() -> Address {
        Address { host: "voice.example.org".into(), port: 9000 }
    }

    #[test]
    fn an_invite_that_is_right_needs_no_question_and_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut known = KnownServers::load(&folder.path().join("known.json")).unwrap();
        assert_eq!(trust(&mut known, &address(), None, ONE).unwrap(), Trust::New);
        assert_eq!(trust(&mut known, &address(), Some(ONE), ONE).unwrap(), Trust::Known);
        assert_eq!(trust(&mut known, &address(), None, ONE).unwrap(), Trust::Known);
    }

    #[test]
    fn another_certificate_is_refused_by_pin_and_by_invite() {
        let folder = tempfile::tempdir().unwrap();
        let mut known = KnownServers::load(&folder.path().join("known.json")).unwrap();
        let wrong_invite = trust(&mut known, &address(), Some(OTHER), ONE).unwrap();
        assert_eq!(wrong_invite, Trust::Changed { expected: OTHER, invited: true });
        known.pin(&address(), ONE).unwrap();
        // Not even an invite to the new one replaces a pin by itself.
        for invited in [None, Some(OTHER)] {
            let changed = trust(&mut known, &address(), invited, OTHER).unwrap();
            assert_eq!(changed, Trust::Changed { expected: ONE, invited: false });
        }
    }

    #[test]
    fn a_confirmation_is_a_fingerprint_or_an_invite() {
        assert_eq!(confirmed(&format!(" {ONE} ")), Some(ONE));
        assert_eq!(confirmed(&format!("voip://voice.example.org:9000/?fp={ONE}")), Some(ONE));
        assert_eq!(confirmed("voip://voice.example.org:9000/"), None);
        assert_eq!(confirmed("yes"), None);
    }
}
