//! One's own account, and the accounts of the organization for those who manage them.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use voip_protocol::{
    LoginId, Token, UserId,
    control::{ImportReport, Login, Role, User, UserChange, UserPage},
};

use crate::{
    api::{AccountQuery, AccountRequest, AppError, AppErrorCode, CreatedAccount, PasswordChange},
    state::App,
};

impl App {
    /// Changes one's own password. The other devices are logged out.
    pub async fn change_password(&self, change: PasswordChange) -> Result<(), AppError> {
        Ok(self.engine.account().await?.change_password(&change.current, change.new).await?)
    }

    /// "Your devices".
    pub async fn logins(&self) -> Result<Vec<Login>, AppError> {
        Ok(self.engine.account().await?.logins().await?.sessions)
    }

    /// Logs one of them out.
    pub async fn revoke_login(&self, login: LoginId) -> Result<(), AppError> {
        Ok(self.engine.account().await?.revoke(login).await?)
    }

    /// Logs all of them out but this one.
    pub async fn revoke_other_logins(&self) -> Result<(), AppError> {
        Ok(self.engine.account().await?.revoke_others().await?)
    }

    /// Accounts of the organization, a page at a time.
    pub async fn users(&self, query: AccountQuery) -> Result<UserPage, AppError> {
        Ok(self.engine.account().await?.users(&query.into()).await?)
    }

    /// Roles of the organization, highest first.
    pub async fn roles(&self) -> Result<Vec<Role>, AppError> {
        Ok(self.engine.account().await?.roles().await?)
    }

    /// Makes an account.
    pub async fn create_user(&self, request: AccountRequest) -> Result<CreatedAccount, AppError> {
        Ok(self.engine.account().await?.create_user(&request.into()).await?.into())
    }

    /// Lets an account log in, or not any more.
    pub async fn set_user_active(&self, user: UserId, active: bool) -> Result<User, AppError> {
        let change = UserChange { active: Some(active), ..UserChange::default() };
        Ok(self.engine.account().await?.change_user(user, &change).await?)
    }

    /// Gives an account another password; the one that the server made, where none was given.
    pub async fn reset_password(
        &self,
        user: UserId,
        password: Option<SecretString>,
    ) -> Result<Option<Token>, AppError> {
        Ok(self.engine.account().await?.reset_password(user, password.as_ref()).await?.password)
    }

    /// Makes the accounts of a file.
    pub async fn import_users(&self, file: String, atomic: bool) -> Result<ImportReport, AppError> {
        Ok(self.engine.account().await?.import_users(file.into_bytes(), atomic).await?)
    }

    /// Writes the accounts of the organization into a new file in a folder; where it is.
    pub async fn export_users(&self, folder: &Path) -> Result<PathBuf, AppError> {
        let accounts = self.engine.account().await?.export_users().await?;
        write_new(folder, &accounts).map_err(|error| {
            let message = format!(
                "the accounts cannot be written into {} ({error}): make room on the disk or check the \
                 folder's permissions",
                folder.display()
            );
            AppError::new(AppErrorCode::FileNotSaved, message)
        })
    }
}

/// Names to try: a folder with so many exports in it has enough of them.
const NAMES: u32 = 10_000;

/// A file with a name of its own: none that is there is written over.
fn write_new(folder: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for number in 1..NAMES {
        let name = if number == 1 { "voip-users.json".into() } else { format!("voip-users-{number}.json") };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                let written = file.write_all(bytes).and_then(|()| file.sync_all());
                return written.map(|()| path.clone()).inspect_err(|_| {
                    // Half a file is of no use; that it stays is not worth another error.
                    let _ = std::fs::remove_file(&path);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_export_writes_over_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("Downloads");
        let first = write_new(&inner, b"one").unwrap();
        let second = write_new(&inner, b"two").unwrap();
        assert_eq!(std::fs::read(first).unwrap(), b"one");
        assert_eq!(std::fs::read(&second).unwrap(), b"two");
        assert!(second.ends_with("voip-users-2.json"));
        assert!(write_new(&second, b"three").is_err());
    }
}
