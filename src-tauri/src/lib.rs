//! The desktop app: wires the engine, the hosted server, the hotkey and the tray to the window.

mod account;
pub mod api;
mod commands;
mod device;
pub mod host;
pub mod hotkey;
mod join;
mod reach;
mod settings;
mod state;
mod tray;

use std::{
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tauri::{AppHandle, Emitter, Manager, RunEvent, WebviewWindowBuilder, async_runtime};
use tauri_plugin_deep_link::DeepLinkExt;
use voip_client::{Engine, EngineConfig, audio::Cpal};
use voip_protocol::invite::INVITE_SCHEME;

use crate::{api::AppEvent, hotkey::Listener, state::Tell, tray::Tray};
pub use state::App;

/// Label of the one window.
const WINDOW: &str = "main";
/// Name of the one event that carries all others.
const EVENT: &str = "app";

/// Runs the app until it is closed.
pub fn run() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    // Whoever installed a provider before us installed the same: there is one in the tree.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if !has_display() {
        eprintln!(
            "voip-app: there is no display (DISPLAY and WAYLAND_DISPLAY are not set): start it in a desktop session"
        );
        return ExitCode::FAILURE;
    }

    let builder = tauri::Builder::default()
        // First, as the plugin asks: a second start ends before it does anything else.
        .plugin(tauri_plugin_single_instance::init(|app, arguments, _| {
            tray::show_window(app);
            if let Some(link) = arguments.into_iter().find(|argument| is_invite(argument)) {
                app.state::<App>().open_link(link);
            }
        }))
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_clipboard_manager::init());
    #[cfg(not(target_os = "linux"))]
    let builder = builder.plugin(tauri_plugin_global_shortcut::Builder::new().build());

    let app = builder
        .invoke_handler(tauri::generate_handler![
            commands::state,
            commands::host_setup,
            commands::start_hosting,
            commands::stop_hosting,
            commands::visit,
            commands::trust,
            commands::log_in,
            commands::disconnect,
            commands::join,
            commands::leave,
            commands::set_self,
            commands::push_to_talk,
            commands::save_settings,
            commands::devices,
            commands::capture_hotkey,
            commands::cancel_capture,
            commands::copy,
            commands::change_password,
            commands::logins,
            commands::revoke_login,
            commands::revoke_other_logins,
            commands::users,
            commands::roles,
            commands::create_user,
            commands::set_user_active,
            commands::reset_password,
            commands::import_users,
            commands::export_users,
        ])
        .setup(|app| set_up(app.handle()))
        .build(tauri::generate_context!());
    match app {
        Ok(app) => {
            let drained = Arc::new(AtomicBool::new(false));
            app.run(move |app, event| on_event(app, event, &drained));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("voip-app: {error}");
            ExitCode::FAILURE
        }
    }
}

fn set_up(handle: &AppHandle) -> Result<(), Box<dyn std::error::Error>> {
    let (config_dir, data_dir) = (handle.path().app_config_dir()?, handle.path().app_data_dir()?);
    let (settings, problems) = App::load_settings(&config_dir);

    let tray = Arc::new(OnceLock::new());
    let tell: Tell = {
        let (handle, tray) = (handle.clone(), Arc::clone(&tray));
        Arc::new(move |event: AppEvent| {
            if let Some(tray) = tray.get() {
                Tray::observe(tray, &event);
            }
            if let Err(error) = handle.emit(EVENT, event) {
                tracing::error!(%error, "the window was not told");
            }
        })
    };

    let (engine, engine_handle) =
        Engine::new(EngineConfig { backend: Box::new(Cpal), settings: settings.voice.clone() });
    async_runtime::spawn(engine.run());
    let language = settings.language.clone();
    let keys = |listener| open_keys(handle, listener);
    handle.manage(App::new(engine_handle, (settings, problems), &config_dir, &data_dir, keys, tell));

    let follower = handle.clone();
    async_runtime::spawn(async move { follower.state::<App>().follow_engine().await });
    if let Some(made) = Tray::new(handle, language.as_deref()) {
        // Set once, here.
        let _ = tray.set(made);
    }

    let opener = handle.clone();
    handle.deep_link().on_open_url(move |event| {
        if let Some(link) = event.urls().into_iter().find(|url| is_invite(url.as_str())) {
            opener.state::<App>().open_link(link.into());
        }
    });
    if let Some(link) = std::env::args().find(|argument| is_invite(argument)) {
        handle.state::<App>().open_link(link);
    }

    async_runtime::spawn(quit_on_signal(handle.clone()));
    // Not before the state is there that the window asks for.
    let window = handle.config().app.windows.first().ok_or("tauri.conf.json has no window")?;
    WebviewWindowBuilder::from_config(handle, window)?.build()?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn open_keys(_: &AppHandle, listener: Listener) -> Result<hotkey::Source, String> {
    hotkey::Source::open(None, listener)
}

#[cfg(not(target_os = "linux"))]
fn open_keys(handle: &AppHandle, listener: Listener) -> Result<hotkey::Source, String> {
    hotkey::Source::open(handle.clone(), listener)
}

/// The app ends when it has drained, whatever asked it to: the window, the tray, a signal.
fn on_event(app: &AppHandle, event: RunEvent, drained: &Arc<AtomicBool>) {
    let RunEvent::ExitRequested { api, .. } = event else { return };
    if drained.load(Ordering::Acquire) {
        return;
    }
    api.prevent_exit();
    let (app, drained) = (app.clone(), Arc::clone(drained));
    async_runtime::spawn(async move {
        app.state::<App>().drain().await;
        drained.store(true, Ordering::Release);
        app.exit(0);
    });
}

#[cfg(unix)]
async fn quit_on_signal(app: AppHandle) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be heard: quit by the window or the tray");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    app.exit(0);
}

#[cfg(not(unix))]
async fn quit_on_signal(app: AppHandle) {
    if tokio::signal::ctrl_c().await.is_ok() {
        app.exit(0);
    }
}

/// GTK panics without one: better to say so.
fn has_display() -> bool {
    cfg!(not(target_os = "linux"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty()))
}

fn is_invite(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(INVITE_SCHEME))
}
