//! What the app holds: the engine, the hosted server, the settings, the key. One method a thing that the window may
//! ask for; visiting and logging in are in `join.rs`, accounts in `account.rs`.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast::error::RecvError;
use voip_client::{ClientError, EngineHandle, Login, audio::Devices, net::KnownServers};
use voip_protocol::{ChannelId, control::Device};

use crate::{
    api::{
        AppError, AppErrorCode, AppEvent, AppState, HostDefaults, HostRequest, HostSetup, Hosting,
        HostingStep, Hotkey, Settings,
    },
    device::this_device,
    host::Host,
    hotkey::{Hotkeys, Listener, Source},
    reach::public_address,
    settings::SettingsFile,
};

/// Tells the window, the tray, whoever listens.
pub type Tell = Arc<dyn Fn(AppEvent) + Send + Sync>;

/// The app behind its window.
pub struct App {
    pub(crate) engine: EngineHandle,
    pub(crate) host: Host,
    pub(crate) known: Mutex<Result<KnownServers, ClientError>>,
    pub(crate) device: Device,
    hotkeys: Hotkeys,
    talk: Arc<PushToTalk>,
    settings: Mutex<Settings>,
    file: SettingsFile,
    link: Mutex<Option<String>>,
    problems: Vec<AppError>,
    tell: Tell,
}

/// Push-to-talk goes on while either is held.
struct PushToTalk {
    engine: EngineHandle,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    key: bool,
    button: bool,
}

impl App {
    /// Puts the parts together. `config_dir` and `data_dir` need not be there yet.
    pub fn new(
        engine: EngineHandle,
        (settings, mut problems): (Settings, Vec<AppError>),
        config_dir: &Path,
        data_dir: &Path,
        keys: impl FnOnce(Listener) -> Result<Source, String>,
        tell: Tell,
    ) -> Self {
        let talk = Arc::new(PushToTalk { engine: engine.clone(), held: Mutex::default() });
        let hotkeys = {
            let (talk, tell) = (Arc::clone(&talk), Arc::clone(&tell));
            Hotkeys::start(keys, move |state| {
                talk.hold(|held| held.key = state.pressed);
                tell(AppEvent::Hotkey(state));
            })
        };
        hotkeys.bind(settings.hotkey.as_ref());
        let known = KnownServers::load(&config_dir.join(KNOWN_SERVERS_FILE));
        if let Err(error) = &known {
            problems.push(error.clone().into());
        }
        let host = {
            let tell = Arc::clone(&tell);
            Host::new(data_dir.join(SERVER_FOLDER), move |hosting| tell(AppEvent::Hosting(hosting)))
        };
        Self {
            engine,
            host,
            known: Mutex::new(known),
            device: this_device(config_dir),
            hotkeys,
            talk,
            settings: Mutex::new(settings),
            file: SettingsFile::new(&config_dir.join(SETTINGS_FILE)),
            link: Mutex::default(),
            problems,
            tell,
        }
    }

    /// Reads the settings and what was wrong with them.
    pub fn load_settings(config_dir: &Path) -> (Settings, Vec<AppError>) {
        let (settings, problem) = SettingsFile::new(&config_dir.join(SETTINGS_FILE)).load();
        (settings, problem.into_iter().collect())
    }

    /// Passes the engine's events on until it ends.
    pub async fn follow_engine(&self) {
        let mut events = self.engine.subscribe();
        loop {
            match events.recv().await {
                Ok(event) => (self.tell)(AppEvent::Engine(event)),
                Err(RecvError::Lagged(_)) => self.tell_engine_state().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Everything, for a window that opens.
    pub async fn state(&self, version: String) -> Result<AppState, AppError> {
        Ok(AppState {
            engine: self.engine.state().await?,
            hosting: self.host.state(),
            settings: self.settings().clone(),
            hotkey: self.hotkeys.state(),
            link: lock(&self.link).take(),
            problems: self.problems.clone(),
            version,
        })
    }

    /// Keeps an invite link for a window that opens, and tells the one that is open.
    pub fn open_link(&self, link: String) {
        *lock(&self.link) = Some(link.clone());
        (self.tell)(AppEvent::Link(link));
    }

    /// What the form for hosting needs to know.
    pub async fn host_setup(&self) -> Result<HostSetup, AppError> {
        self.host.setup().await
    }

    /// Starts the server and logs in to it. Whoever cannot log in does not host.
    pub async fn start_hosting(&self, request: HostRequest) -> Result<(), AppError> {
        let server = self.host.start(&request).await?;
        self.host.step(HostingStep::LogIn);
        let login = Login {
            address: server.address,
            fingerprint: server.fingerprint,
            organization: None,
            username: request.username.clone(),
            password: request.password,
            register: None,
            device: Some(self.device.clone()),
        };
        if let Err(error) = self.engine.connect(login).await {
            self.host.stop().await;
            return Err(error.into());
        }
        let public_host = self.settings().hosting.public_host.clone();
        self.host.show(public_host.as_deref()).await;
        self.remember(|settings| {
            settings.hosting = HostDefaults {
                username: Some(request.username),
                control_port: request.control_port,
                voice_port: request.voice_port,
                public_host,
            };
        });
        Ok(())
    }

    /// Leaves the hosted server, then closes it for everybody.
    pub async fn stop_hosting(&self) -> Result<(), AppError> {
        if !matches!(self.host.state(), Hosting::Running(_)) {
            return Err(AppError::new(AppErrorCode::HostBusy, "no server is hosted that could be stopped"));
        }
        self.engine.disconnect().await?;
        self.host.stop().await;
        Ok(())
    }

    /// Leaves the server.
    pub async fn disconnect(&self) -> Result<(), AppError> {
        Ok(self.engine.disconnect().await?)
    }

    /// Enters a channel.
    pub async fn join(&self, channel: ChannelId) -> Result<(), AppError> {
        Ok(self.engine.join(channel).await?)
    }

    /// Leaves the channel.
    pub async fn leave(&self) -> Result<(), AppError> {
        Ok(self.engine.leave().await?)
    }

    /// Turns one's own microphone and speaker off or on.
    pub async fn set_self(&self, muted: bool, deafened: bool) -> Result<(), AppError> {
        let result = self.engine.set_self(muted, deafened).await;
        self.tell_engine_state().await;
        Ok(result?)
    }

    /// Turns the microphone off, or both on again: what the tray offers.
    pub async fn toggle_mute(&self) -> Result<(), AppError> {
        let state = self.engine.state().await?;
        self.set_self(!(state.muted || state.deafened), false).await
    }

    /// Holds or lets go the window's push-to-talk button.
    pub fn push_to_talk(&self, pressed: bool) {
        self.talk.hold(|held| held.button = pressed);
    }

    /// Applies and stores settings.
    pub async fn save_settings(&self, settings: Settings) -> Result<(), AppError> {
        let settings = Settings { voice: settings.voice.clone().clamped(), ..settings };
        if let Some(name) = &settings.hosting.public_host {
            public_address(name, settings.hosting.control_port).map_err(invalid_address)?;
        }
        let before = std::mem::replace(&mut *self.settings(), settings.clone());
        let written = self.file.save(&settings);
        if settings.hotkey != before.hotkey {
            self.hotkeys.bind(settings.hotkey.as_ref());
        }
        if settings.hosting.public_host != before.hosting.public_host
            && matches!(self.host.state(), Hosting::Running(_))
        {
            self.host.show(settings.hosting.public_host.as_deref()).await;
        }
        let voice = (settings.voice != before.voice).then(|| settings.voice.clone());
        (self.tell)(AppEvent::Settings(settings));
        if let Some(voice) = voice {
            self.engine.apply(voice).await?;
        }
        written
    }

    /// The devices there are now.
    pub async fn devices(&self) -> Result<Devices, AppError> {
        Ok(self.engine.devices().await?)
    }

    /// Waits for the next key or button.
    pub async fn capture_hotkey(&self) -> Option<Hotkey> {
        self.hotkeys.capture().await
    }

    /// Ends the waiting.
    pub fn cancel_capture(&self) {
        self.hotkeys.call_off();
    }

    /// Leaves, tells everybody who is connected to the hosted server, and closes it.
    pub async fn drain(&self) {
        self.engine.shut_down().await;
        self.host.stop().await;
    }

    /// The settings, for as short as can be.
    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    /// Changes settings by the app itself; what cannot be stored is told and holds until the end.
    pub(crate) fn remember(&self, change: impl FnOnce(&mut Settings)) {
        let settings = {
            let mut settings = self.settings();
            change(&mut settings);
            settings.clone()
        };
        if let Err(error) = self.file.save(&settings) {
            (self.tell)(AppEvent::Problem(error));
        }
        (self.tell)(AppEvent::Settings(settings));
    }

    async fn tell_engine_state(&self) {
        // An engine that has ended has nothing to tell.
        if let Ok(state) = self.engine.state().await {
            (self.tell)(AppEvent::EngineState(Box::new(state)));
        }
    }
}

impl PushToTalk {
    fn hold(&self, change: impl FnOnce(&mut Held)) {
        let mut held = lock(&self.held);
        change(&mut held);
        // Under the lock, so that the last change is the last one that the engine hears.
        self.engine.set_key(held.key || held.button);
    }
}

const SETTINGS_FILE: &str = "settings.json";
const KNOWN_SERVERS_FILE: &str = "known_servers.json";
const SERVER_FOLDER: &str = "server";

#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
pub(crate) fn invalid_address(error: impl ToString) -> AppError {
    let code = voip_client::ClientErrorCode::InvalidAddress;
    AppError::new(AppErrorCode::Client(code), error.to_string())
}

/// Every holder leaves what it locks whole, so a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
