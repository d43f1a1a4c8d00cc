//! What the window may ask for. Each delegates.

use secrecy::SecretString;
use tauri::{AppHandle, Manager, State, command};
use tauri_plugin_clipboard_manager::ClipboardExt;
use voip_client::audio::Devices;
use voip_protocol::{
    ChannelId, Fingerprint, LoginId, Token, UserId,
    control::{ImportReport, Login, Role, User, UserPage},
};

use crate::{
    api::{
        AccountQuery, AccountRequest, AppError, AppErrorCode, AppState, CreatedAccount, HostRequest,
        HostSetup, Hotkey, LoginRequest, PasswordChange, Settings, Visit,
    },
    state::App,
};

type Result<T> = std::result::Result<T, AppError>;

#[command]
pub(crate) async fn state(handle: AppHandle, app: State<'_, App>) -> Result<AppState> {
    app.state(handle.package_info().version.to_string()).await
}

#[command]
pub(crate) async fn host_setup(app: State<'_, App>) -> Result<HostSetup> {
    app.host_setup().await
}

#[command]
pub(crate) async fn start_hosting(app: State<'_, App>, request: HostRequest) -> Result<()> {
    app.start_hosting(request).await
}

#[command]
pub(crate) async fn stop_hosting(app: State<'_, App>) -> Result<()> {
    app.stop_hosting().await
}

#[command]
pub(crate) async fn visit(app: State<'_, App>, text: String) -> Result<Visit> {
    app.visit(&text).await
}

#[command]
pub(crate) async fn trust(
    app: State<'_, App>,
    address: String,
    fingerprint: Fingerprint,
    confirmation: Option<String>,
) -> Result<()> {
    app.trust(&address, fingerprint, confirmation.as_deref())
}

#[command]
pub(crate) async fn log_in(app: State<'_, App>, request: LoginRequest) -> Result<()> {
    app.log_in(request).await
}

#[command]
pub(crate) async fn disconnect(app: State<'_, App>) -> Result<()> {
    app.disconnect().await
}

#[command]
pub(crate) async fn join(app: State<'_, App>, channel: ChannelId) -> Result<()> {
    app.join(channel).await
}

#[command]
pub(crate) async fn leave(app: State<'_, App>) -> Result<()> {
    app.leave().await
}

#[command]
pub(crate) async fn set_self(app: State<'_, App>, muted: bool, deafened: bool) -> Result<()> {
    app.set_self(muted, deafened).await
}

#[command]
#[allow(clippy::needless_pass_by_value)] // Tauri hands it over.
pub(crate) fn push_to_talk(app: State<'_, App>, pressed: bool) {
    app.push_to_talk(pressed);
}

#[command]
pub(crate) async fn save_settings(app: State<'_, App>, settings: Settings) -> Result<()> {
    app.save_settings(settings).await
}

#[command]
pub(crate) async fn devices(app: State<'_, App>) -> Result<Devices> {
    app.devices().await
}

#[command]
pub(crate) async fn capture_hotkey(app: State<'_, App>) -> Result<Option<Hotkey>> {
    Ok(app.capture_hotkey().await)
}

#[command]
#[allow(clippy::needless_pass_by_value)] // Tauri hands it over.
pub(crate) fn cancel_capture(app: State<'_, App>) {
    app.cancel_capture();
}

#[command]
pub(crate) async fn copy(handle: AppHandle, text: String) -> Result<()> {
    handle
        .clipboard()
        .write_text(text)
        .map_err(|error| AppError::new(AppErrorCode::ClipboardFailed, error.to_string()))
}

#[command]
pub(crate) async fn change_password(app: State<'_, App>, change: PasswordChange) -> Result<()> {
    app.change_password(change).await
}

#[command]
pub(crate) async fn logins(app: State<'_, App>) -> Result<Vec<Login>> {
    app.logins().await
}

#[command]
pub(crate) async fn revoke_login(app: State<'_, App>, login: LoginId) -> Result<()> {
    app.revoke_login(login).await
}

#[command]
pub(crate) async fn revoke_other_logins(app: State<'_, App>) -> Result<()> {
    app.revoke_other_logins().await
}

#[command]
pub(crate) async fn users(app: State<'_, App>, query: AccountQuery) -> Result<UserPage> {
    app.users(query).await
}

#[command]
pub(crate) async fn roles(app: State<'_, App>) -> Result<Vec<Role>> {
    app.roles().await
}

#[command]
pub(crate) async fn create_user(app: State<'_, App>, request: AccountRequest) -> Result<CreatedAccount> {
    app.create_user(request).await
}

#[command]
pub(crate) async fn set_user_active(app: State<'_, App>, user: UserId, active: bool) -> Result<User> {
    app.set_user_active(user, active).await
}

#[command]
pub(crate) async fn reset_password(
    app: State<'_, App>,
    user: UserId,
    password: Option<SecretString>,
) -> Result<Option<Token>> {
    app.reset_password(user, password).await
}

#[command]
pub(crate) async fn import_users(app: State<'_, App>, file: String, atomic: bool) -> Result<ImportReport> {
    app.import_users(file, atomic).await
}

#[command]
pub(crate) async fn export_users(handle: AppHandle, app: State<'_, App>) -> Result<String> {
    let folder = handle.path().download_dir().or_else(|_| handle.path().home_dir());
    let folder = folder.map_err(|error| AppError::new(AppErrorCode::FileNotSaved, error.to_string()))?;
    Ok(app.export_users(&folder).await?.display().to_string())
}
