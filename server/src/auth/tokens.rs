//! Access tokens: JWT (RFC 7519), HS256 and nothing else.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;
use voip_protocol::{ErrorBody, ErrorCode, LoginId, OrganizationId, RoleId, Token, UserId, control::Account};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose.
    #[serde(with = "user_id_text")]
    pub sub: UserId,
    /// Home organization.
    pub org: OrganizationId,
    /// Its roles when the token was made, for those who read it; the server asks its database.
    #[serde(default)]
    pub roles: Vec<RoleId>,
    /// Login.
    pub sid: LoginId,
    /// The token itself.
    pub jti: Uuid,
    /// Made at, in Unix seconds.
    pub iat: i64,
    /// Good until, in Unix seconds.
    pub exp: i64,
}

/// Signs and verifies.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    lifetime_seconds: u64,
}

impl Tokens {
    /// With a secret, and the life time of a token.
    pub fn new(secret: &SecretString, lifetime_minutes: u32) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The time is passed in, so the library's clock stays out of it.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let secret = secret.expose_secret().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            lifetime_seconds: u64::from(lifetime_minutes) * 60,
        }
    }

    /// Life time of a token, in seconds.
    pub fn lifetime_seconds(&self) -> u64 {
        self.lifetime_seconds
    }

    /// The claims of a new token of a login.
    pub fn claims(
        &self,
        account: &Account,
        roles: Vec<RoleId>,
        login: LoginId,
        jti: Uuid,
        now: OffsetDateTime,
    ) -> Claims {
        let iat = now.unix_timestamp();
        Claims {
            sub: account.id,
            org: account.organization_id,
            roles,
            sid: login,
            jti,
            iat,
            exp: iat + self.lifetime_seconds as i64,
        }
    }

    /// The token of some claims.
    pub fn sign(&self, claims: &Claims) -> Result<Token, ErrorBody> {
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding);
        token.map(Token::new).map_err(|error| {
            tracing::error!(%error, "signing a token");
            ErrorBody::new(ErrorCode::Internal, "the token cannot be made: tell the server's administrator")
        })
    }

    /// The claims of a token that is genuine and not expired.
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Claims, ErrorBody> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| {
                ErrorBody::new(ErrorCode::Unauthorized, "the token is not one of this server: log in")
            })?
            .claims;
        if claims.exp <= now.unix_timestamp() {
            return Err(ErrorBody::new(ErrorCode::TokenExpired, "the session has ended: log in again"));
        }
        Ok(claims)
    }
}

/// `sub` is text by RFC 7519 §4.1.2.
mod user_id_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use voip_protocol::UserId;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(id: &UserId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UserId, D::Error> {
        String::deserialize(deserializer)?.parse().map(UserId).map_err(D::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;

    use super::*;

    fn tokens(secret: &str) -> Tokens {
        Tokens::new(&secret.to_owned().into(), 60)
    }

    fn signed(tokens: &Tokens, now: OffsetDateTime) -> (Claims, String) {
        let account = Account {
            id: UserId(7),
            organization_id: OrganizationId(1),
            username: "alice".into(),
            display_name: "Alice".into(),
        };
        let claims =
            tokens.claims(&account, vec![RoleId(3)], LoginId(Uuid::from_u128(1)), Uuid::from_u128(2), now);
        let token = tokens.sign(&claims).unwrap().expose().to_owned();
        (claims, token)
    }

    #[test]
    fn good_for_an_hour_and_for_its_own_server() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let own = tokens("one secret of more than thirty-two characters");
        let (claims, token) = signed(&own, now);
        assert_eq!(own.verify(&token, now + Duration::minutes(59)).unwrap(), claims);
        assert_eq!(
            own.verify(&token, now + Duration::minutes(60)).unwrap_err().code,
            ErrorCode::TokenExpired
        );
        let other = tokens("another secret of more than thirty-two characters");
        assert_eq!(other.verify(&token, now).unwrap_err().code, ErrorCode::Unauthorized);
    }

    #[test]
    fn no_other_algorithm_passes() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let own = tokens("one secret of more than thirty-two characters");
        let (_, token) = signed(&own, now);
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts[0] = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"none"}"#);
        assert!(own.verify(&format!("{}.{}.", parts[0], parts[1]), now).is_err());
        assert!(own.verify(&parts.join("."), now).is_err());
        parts[0] = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS512"}"#);
        assert!(own.verify(&parts.join("."), now).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_refused(token: String) {
            let own = tokens("one secret of more than thirty-two characters");
            prop_assert!(own.verify(&token, OffsetDateTime::UNIX_EPOCH).is_err());
        }
    }
}
