//! The system's sound cards, through cpal, which is imported nowhere else.
//!
//! Each stream lives on a thread of its own from opening to closing. Opening and closing may hang with the sound
//! server (closing a `PulseAudio` stream whose device is gone does), and then it is that thread that hangs, for
//! which nobody waits longer than a moment.

mod buffers;
mod callback;
#[cfg(target_os = "linux")]
mod cookie;
mod stream;
mod thread;

use std::{
    any::Any,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use cpal::{
    Device, DeviceId, Error, ErrorKind, Host, HostId,
    traits::{DeviceTrait, HostTrait},
};

pub use callback::{microphone_callback, speaker_callback};
use stream::Running;
use thread::{Hold, on_thread};

use super::{AudioError, Backend, DeviceInfo, Devices, InputStream, OutputStream, stream::Failure};

/// How often a device on a sound server is looked for.
const WATCH: Duration = Duration::from_millis(250);

/// The devices of this computer. `PulseAudio` (or `PipeWire` in its place) if there is one, else what the system has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpal;

/// How cpal calls the host whose streams the sound server moves about.
const PULSE: &str = "pulseaudio";

/// For looking, one for the process: a connection to a sound server that has no stream costs a thread that never ends.
static HOST: Mutex<Option<Arc<Host>>> = Mutex::new(None);

impl Backend for Cpal {
    fn devices(&self) -> Result<Devices, AudioError> {
        let listed = on_thread(|answer| {
            let listed = with_host(|host| {
                let info = |device: Device, default: &Option<DeviceId>| {
                    let id = device.id().ok()?;
                    let is_default = default.as_ref() == Some(&id);
                    Some(DeviceInfo { id: id.to_string(), name: name_of(&device), is_default })
                };
                let default = host.default_input_device().and_then(|device| device.id().ok());
                let microphones = host.input_devices()?.filter(|device| !is_monitor(device));
                let inputs = microphones.filter_map(|device| info(device, &default)).collect();
                let default = host.default_output_device().and_then(|device| device.id().ok());
                let outputs = host.output_devices()?.filter_map(|device| info(device, &default)).collect();
                Ok(Devices { inputs, outputs })
            });
            answer.give(listed);
        })?;
        listed.map_err(|error| failed("the sound system", &error))
    }

    fn open_input(&self, id: Option<&str>) -> Result<InputStream, AudioError> {
        let microphone = |host: &Host| host.default_input_device().filter(|device| !is_monitor(device));
        open(id, microphone, AudioError::NoMicrophone, |device, hold| {
            let opened = stream::input(device, &name_of(device))?;
            Ok((opened.running, (opened.stream)(hold)))
        })
    }

    fn open_output(&self, id: Option<&str>) -> Result<OutputStream, AudioError> {
        open(id, Host::default_output_device, AudioError::NoSpeaker, |device, hold| {
            let opened = stream::output(device, &name_of(device))?;
            Ok((opened.running, (opened.stream)(hold)))
        })
    }
}

/// Opens a device on a thread that holds it until what `make` returns, with the guard in it, is dropped.
fn open<S: Send + 'static>(
    id: Option<&str>,
    default: fn(&Host) -> Option<Device>,
    missing: AudioError,
    make: impl FnOnce(&Device, Box<dyn Any + Send>) -> Result<(Running, S), Error> + Send + 'static,
) -> Result<S, AudioError> {
    let id = id.map(str::to_owned);
    on_thread(move |answer| {
        let found = with_host(|host| find(host, id.as_deref(), default));
        let device = match found {
            Ok(Some(device)) => device,
            Ok(None) => return answer.give(Err(missing)),
            Err(error) => return answer.give(Err(failed("the sound system", &error))),
        };
        let (hold, released) = Hold::new();
        match make(&device, Box::new(hold)) {
            Ok((running, stream)) => {
                // If nobody waits any more, this drops the stream, and with it the hold.
                answer.give(Ok(stream));
                watch(&device, &running.failure, &released.stop);
                drop(running);
                let _ = released.done.send(());
            }
            // ALSA always names a default device, also where there is no sound card behind it.
            Err(error) if id.is_none() && error.kind() == ErrorKind::DeviceNotAvailable => {
                answer.give(Err(missing));
            }
            Err(error) => answer.give(Err(failed(&name_of(&device), &error))),
        }
    })?
}

/// Waits for the hold to be released. Meanwhile looks whether the device is still there: when it goes, a sound
/// server moves its streams elsewhere, a microphone's even to what the speaker plays.
fn watch(device: &Device, failure: &Failure, stop: &Receiver<()>) {
    let id = id_on_server(device);
    while stop.recv_timeout(WATCH) == Err(RecvTimeoutError::Timeout) {
        let Some(id) = &id else { continue };
        if with_host(|host| Ok(host.device_by_id(id).is_none())) != Ok(false) {
            failure.set(AudioError::Failed { device: name_of(device), reason: "it was unplugged".into() });
            let _ = stop.recv();
            return;
        }
    }
}

/// Asks the host that is kept; if it does not answer any more, a new one.
fn with_host<T>(ask: impl Fn(&Host) -> Result<T, Error>) -> Result<T, Error> {
    let kept = HOST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // A sound server that has come up in the meantime is preferred to going around it.
    if let Some(host) = kept.filter(|host| host.id() == preferred() && host.devices().is_ok()) {
        return ask(&host);
    }
    #[cfg(target_os = "linux")]
    if preferred().to_string() == PULSE {
        cookie::make_sure();
    }
    let host = Arc::new(cpal::default_host());
    let result = ask(&host);
    *HOST.lock().unwrap_or_else(PoisonError::into_inner) = Some(host);
    result
}

fn preferred() -> HostId {
    // In the order of preference; a server's socket is looked for, and not connected to.
    let available = cpal::available_hosts();
    let pulse = available.iter().find(|id| id.to_string() == PULSE);
    pulse.copied().unwrap_or_else(|| cpal::default_host().id())
}

/// The device with this id, or the default one.
fn find(
    host: &Host,
    id: Option<&str>,
    default: fn(&Host) -> Option<Device>,
) -> Result<Option<Device>, Error> {
    let Some(id) = id else { return Ok(default(host)) };
    // An id from a host that this computer does not have names no device here.
    let Ok(id) = id.parse::<DeviceId>() else { return Ok(None) };
    if id.host() == host.id() {
        return Ok(host.device_by_id(&id));
    }
    Ok(cpal::host_from_id(id.host())?.device_by_id(&id))
}

/// `PulseAudio` and what stands in for it.
fn is_on_server(id: &DeviceId) -> bool {
    id.host().to_string() == PULSE
}

fn id_on_server(device: &Device) -> Option<DeviceId> {
    device.id().ok().filter(is_on_server)
}

/// Whether this is no microphone, but what a speaker plays. Such a source is used only if its id is asked for.
fn is_monitor(device: &Device) -> bool {
    device.id().is_ok_and(|id| is_on_server(&id) && id.id().ends_with(".monitor"))
}

fn name_of(device: &Device) -> String {
    device.description().map_or_else(|_| "sound device".into(), |description| description.name().into())
}

fn failed(device: &str, error: &Error) -> AudioError {
    AudioError::Failed { device: device.into(), reason: error.to_string() }
}

/// Whether a running stream is of no more use after this error.
fn is_fatal(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied | ErrorKind::Xrun)
}
