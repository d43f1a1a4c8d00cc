//! The tray icon: shows whether one is muted, mutes, brings the window back, quits.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tauri::{
    AppHandle, Manager, Wry,
    image::Image,
    include_image,
    menu::{CheckMenuItem, MenuBuilder, MenuEvent, MenuItem, PredefinedMenuItem},
    tray::{TrayIcon, TrayIconBuilder},
};

use crate::{WINDOW, api::AppEvent, state::App};

const ICON: Image<'_> = include_image!("../icons/tray.png");
const ICON_MUTED: Image<'_> = include_image!("../icons/tray-muted.png");

const MUTE: &str = "mute";
const SHOW: &str = "show";
const QUIT: &str = "quit";

/// The icon and the parts of it that change.
pub(crate) struct Tray {
    icon: TrayIcon,
    mute: CheckMenuItem<Wry>,
    show: MenuItem<Wry>,
    quit: MenuItem<Wry>,
}

impl Tray {
    /// Puts the icon into the tray; none where the system has no tray.
    pub(crate) fn new(app: &AppHandle, language: Option<&str>) -> Option<Self> {
        // On Linux the library that draws it is loaded when it is needed, by code that panics without it.
        match catch_unwind(AssertUnwindSafe(|| Self::build(app, language))) {
            Ok(Ok(tray)) => Some(tray),
            Ok(Err(error)) => {
                tracing::warn!(%error, "no tray icon");
                None
            }
            Err(_) => {
                tracing::warn!("no tray icon: install libayatana-appindicator3");
                None
            }
        }
    }

    /// Shows what an event changes.
    pub(crate) fn observe(&self, event: &AppEvent) {
        let shown = match event {
            AppEvent::EngineState(state) => self.show_muted(state.muted || state.deafened),
            AppEvent::Settings(settings) => self.show_texts(settings.language.as_deref()),
            _ => Ok(()),
        };
        if let Err(error) = shown {
            tracing::warn!(%error, "the tray icon did not change");
        }
    }

    fn build(app: &AppHandle, language: Option<&str>) -> tauri::Result<Self> {
        let texts = Texts::of(language);
        let mute = CheckMenuItem::with_id(app, MUTE, texts.get("tray.mute"), true, false, None::<&str>)?;
        let show = MenuItem::with_id(app, SHOW, texts.get("tray.show"), true, None::<&str>)?;
        let quit = MenuItem::with_id(app, QUIT, texts.get("tray.quit"), true, None::<&str>)?;
        let line = PredefinedMenuItem::separator(app)?;
        let menu = MenuBuilder::new(app).items(&[&show, &mute, &line, &quit]).build()?;
        let icon = TrayIconBuilder::with_id("tray")
            .icon(ICON)
            .tooltip(texts.get("app.name"))
            .menu(&menu)
            .on_menu_event(|app, event| chosen(app, &event))
            .build(app)?;
        Ok(Self { icon, mute, show, quit })
    }

    fn show_muted(&self, muted: bool) -> tauri::Result<()> {
        self.mute.set_checked(muted)?;
        self.icon.set_icon(Some(if muted { ICON_MUTED } else { ICON }))
    }

    fn show_texts(&self, language: Option<&str>) -> tauri::Result<()> {
        let texts = Texts::of(language);
        self.mute.set_text(texts.get("tray.mute"))?;
        self.show.set_text(texts.get("tray.show"))?;
        self.quit.set_text(texts.get("tray.quit"))
    }
}

fn chosen(app: &AppHandle, event: &MenuEvent) {
    match event.id().as_ref() {
        MUTE => {
            let app = app.clone();
            tauri::async_runtime::spawn(async move {
                if let Err(error) = app.state::<App>().toggle_mute().await {
                    tracing::warn!(%error, "muting by the tray failed");
                }
            });
        }
        SHOW => show_window(app),
        QUIT => app.exit(0),
        _ => {}
    }
}

/// Brings the window to the front.
pub(crate) fn show_window(app: &AppHandle) {
    let Some(window) = app.get_webview_window(WINDOW) else { return };
    let shown = window.unminimize().and_then(|()| window.show()).and_then(|()| window.set_focus());
    if let Err(error) = shown {
        tracing::warn!(%error, "the window did not come to the front");
    }
}

/// The window's own texts, for the menu.
struct Texts(HashMap<String, String>);

impl Texts {
    /// In the person's language, else the system's, else English.
    fn of(choice: Option<&str>) -> Self {
        let system = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let file = match choice.or(system.as_deref()).and_then(|tag| tag.get(..2)) {
            Some("de") => include_str!("../../ui/src/i18n/de.json"),
            _ => include_str!("../../ui/src/i18n/en.json"),
        };
        Self(serde_json::from_str(file).expect("a test of the window's reads the same files"))
    }

    fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.0.get(key).map_or(key, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_has_its_texts() {
        for language in ["en", "de"] {
            let texts = Texts::of(Some(language));
            for key in ["app.name", "tray.mute", "tray.show", "tray.quit"] {
                assert_ne!(texts.get(key), key, "{language}");
            }
        }
        assert_ne!(Texts::of(Some("de")).get("tray.quit"), Texts::of(Some("en")).get("tray.quit"));
    }
}
