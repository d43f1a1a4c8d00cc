# What this machine has. To be sourced.

# Whether windows can be shown.
has_display() {
    [ "$(uname)" != Linux ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]
}

# Whether there is a sound server or a sound card.
has_sound() {
    [ "$(uname)" != Linux ] || [ -n "${PULSE_SERVER:-}" ] ||
        [ -S "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/pulse/native" ] || compgen -G '/dev/snd/pcm*' >/dev/null
}
