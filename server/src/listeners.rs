//! The two sockets, bound before anything else happens, so that a taken port is known at once.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use crate::config::Config;

/// A connection takes no more while so many bytes of it have not been sent.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 16 * 1024;

/// Both sockets of a server.
#[derive(Debug)]
pub struct Listeners {
    /// Control plane.
    pub control: TcpListener,
    /// Voice plane.
    pub voice: UdpSocket,
}

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error("port {port} ({protocol}) is in use by another program: stop it, or choose another port ({key})")]
    InUse {
        /// Which.
        port: u16,
        /// TCP or UDP.
        protocol: &'static str,
        /// The key of the configuration that names it.
        key: &'static str,
    },
    /// Anything else.
    #[error("cannot listen on {address} ({protocol}): {reason}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// TCP or UDP.
        protocol: &'static str,
        /// What the system said.
        reason: io::Error,
    },
}

impl Listeners {
    /// Binds what the configuration names; port 0 takes a free one.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        let ip = config.server.bind_address;
        let control = SocketAddr::new(ip, config.server.control_port);
        let voice = SocketAddr::new(ip, config.server.voice_port);
        let listeners = Self {
            control: bind_control(control)
                .map_err(|error| refused(error, control, "TCP", "server.control_port"))?,
            voice: UdpSocket::bind(voice)
                .map_err(|error| refused(error, voice, "UDP", "server.voice_port"))?,
        };
        Ok(listeners)
    }

    /// The TCP port.
    pub fn control_port(&self) -> u16 {
        self.control.local_addr().map_or(0, |address| address.port())
    }

    /// The UDP port.
    pub fn voice_port(&self) -> u16 {
        self.voice.local_addr().map_or(0, |address| address.port())
    }
}

/// As the standard library binds, with a longer queue for many who connect at once.
fn bind_control(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server need not wait for the connections of the one before to time out. On Windows the
    // option would let two servers share the port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    // Accepted connections inherit it. What the network has not taken waits here and not in the system, so voice on
    // the control socket stays fresh, and a control message never queues behind seconds of it.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn refused(error: io::Error, address: SocketAddr, protocol: &'static str, key: &'static str) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { port: address.port(), protocol, key },
        _ => BindError::Other { address, protocol, reason: error },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let mut config = Config::embedded(Path::new("unused"), 0, 0);
        config.server.bind_address = [127, 0, 0, 1].into();
        let first = Listeners::bind(&config).unwrap();
        config.server.voice_port = first.voice_port();
        let error = Listeners::bind(&config).unwrap_err();
        assert!(matches!(error, BindError::InUse { port, .. } if port == first.voice_port()), "{error}");
        config.server.control_port = first.control_port();
        let error = Listeners::bind(&config).unwrap_err();
        assert!(matches!(error, BindError::InUse { port, .. } if port == first.control_port()), "{error}");
    }
}
