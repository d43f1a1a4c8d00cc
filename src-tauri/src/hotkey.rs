//! The push-to-talk key: which one it is, and whether it is held, wherever the keyboard's focus lies.

mod machine;
#[cfg(target_os = "linux")]
mod names;
#[cfg(not(target_os = "linux"))]
mod shortcut;
#[cfg(target_os = "linux")]
mod x11;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine::{Input, Machine, Output};
#[cfg(not(target_os = "linux"))]
pub use shortcut::Source;
use tokio::sync::oneshot;
#[cfg(target_os = "linux")]
pub use x11::Source;

use crate::api::{AppError, AppErrorCode, Hotkey, HotkeyCapture, HotkeyInput, HotkeyState};

/// Hears the key from its source and tells when it goes down and up.
pub struct Hotkeys {
    shared: Arc<Shared>,
    source: Option<Source>,
}

struct Shared {
    state: Mutex<State>,
    changed: Box<dyn Fn(HotkeyState) + Send + Sync>,
}

struct State {
    machine: Machine,
    /// Whoever waits for the next key.
    waiting: Option<oneshot::Sender<Option<HotkeyInput>>>,
    capture: HotkeyCapture,
    /// What the source cannot hear.
    limits: Option<AppError>,
    /// Why the key that was chosen cannot be had.
    refused: Option<AppError>,
}

impl Hotkeys {
    /// Listens to the source that `open` makes, and tells `changed` of every change. Where there is no source the
    /// window hears what it can.
    pub fn start(
        open: impl FnOnce(Listener) -> Result<Source, String>,
        changed: impl Fn(HotkeyState) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            machine: Machine::default(),
            waiting: None,
            capture: HotkeyCapture::Window,
            limits: None,
            refused: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Box::new(changed) });
        let source = match open(Listener(Arc::clone(&shared))) {
            Ok(source) => {
                let mut state = shared.lock();
                state.machine = Machine::new(source.escape());
                state.capture = CAPTURE;
                state.limits = Source::limits().map(limited);
                drop(state);
                Some(source)
            }
            Err(reason) => {
                shared.lock().limits = Some(limited(&reason));
                None
            }
        };
        Self { shared, source }
    }

    /// The key now.
    pub fn state(&self) -> HotkeyState {
        self.shared.lock().shown()
    }

    /// Listens to this key from now on.
    pub fn bind(&self, hotkey: Option<&Hotkey>) {
        let refused = self.source.as_ref().and_then(|source| source.bind(hotkey).err());
        self.shared.lock().refused = refused.as_deref().map(limited);
        self.shared.take(Input::Bind(hotkey.map(|hotkey| hotkey.input.clone())));
        self.shared.tell();
    }

    /// Waits for the next key or button that can be bound; `None` when called off.
    pub async fn capture(&self) -> Option<Hotkey> {
        let source = self.source.as_ref()?;
        let (sender, receiver) = oneshot::channel();
        self.shared.take(Input::CallOff);
        self.shared.lock().waiting = Some(sender);
        self.shared.take(Input::Capture);
        let input = receiver.await.ok()??;
        Some(Hotkey { label: source.label(&input), input })
    }

    /// Ends the waiting.
    pub fn call_off(&self) {
        self.shared.take(Input::CallOff);
    }
}

/// The source's end: takes what it hears.
pub struct Listener(Arc<Shared>);

impl Listener {
    /// A key or button went down.
    pub fn pressed(&self, input: HotkeyInput) {
        self.0.take(Input::Pressed(input));
    }

    /// A key or button went up.
    pub fn released(&self, input: HotkeyInput) {
        self.0.take(Input::Released(input));
    }

    /// Nothing will be heard any more.
    #[cfg(target_os = "linux")]
    pub fn lost(&self, reason: &str) {
        self.0.lock().limits = Some(limited(reason));
        self.0.take(Input::Lost);
        self.0.tell();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock panics in the middle of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let shown = self.lock().shown();
        (self.changed)(shown);
    }

    fn take(&self, input: Input) {
        let mut state = self.lock();
        match state.machine.step(input) {
            Some(Output::Held(_)) => {
                drop(state);
                self.tell();
            }
            Some(Output::Captured(input)) => {
                if let Some(waiting) = state.waiting.take() {
                    // Whoever waited may have gone.
                    let _ = waiting.send(input);
                }
            }
            None => {}
        }
    }
}

impl State {
    fn shown(&self) -> HotkeyState {
        HotkeyState {
            capture: self.capture,
            pressed: self.machine.held(),
            problem: self.refused.clone().or_else(|| self.limits.clone()),
        }
    }
}

#[cfg(target_os = "linux")]
const CAPTURE: HotkeyCapture = HotkeyCapture::Host;
#[cfg(not(target_os = "linux"))]
const CAPTURE: HotkeyCapture = HotkeyCapture::Window;

fn limited(reason: &str) -> AppError {
    let message = format!("the push-to-talk key may not be heard everywhere: {reason}");
    AppError::new(AppErrorCode::HotkeyLimited, message)
}
