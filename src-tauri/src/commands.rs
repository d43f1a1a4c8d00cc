//! What the window may ask for. Each delegates.

use tauri::{AppHandle, State, command};
use tauri_plugin_clipboard_manager::ClipboardExt;
use voip_client::audio::Devices;
use voip_protocol::{ChannelId, Fingerprint};

use crate::{
    api::{AppError, AppErrorCode, AppState, HostRequest, HostSetup, Hotkey, LoginRequest, Settings, Visit},
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
