#!/usr/bin/env bash
# Runs a command with a display and sound: the machine's own, or virtual ones where it has none.
#
#   scripts/desktop-env.sh [--private] COMMAND...
#
# A virtual display is an Xvfb of its own, virtual sound a PulseAudio of its own with a microphone that hears
# what is played into the sink `microphone_input`, and a speaker whose sound is recorded from `speaker.monitor`.
# --private uses virtual ones in any case: tests then neither see nor disturb the desktop they run on.
# Whatever this starts ends with the command.
set -euo pipefail
. "$(dirname "$0")/host.sh"

private=
[ "${1:-}" != --private ] || { private=yes && shift; }
[ $# -gt 0 ] || { echo "usage: $0 [--private] COMMAND..." >&2 && exit 2; }

main() {
    if [ -z "$private" ] && has_display && has_sound; then exec "$@"; fi
    folder=$(mktemp -d "${TMPDIR:-/tmp}/voip-desktop.XXXXXX")
    trap stop EXIT
    # Tests of sound are tests of time: where it may, what runs here goes before other work.
    [ -z "$private" ] || renice -n -10 -p $$ >/dev/null 2>&1 || true
    # The signal's own status; EXIT then stops all.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -m 700 "$folder/run"
    [ -z "$private" ] && has_sound || start_sound
    [ -z "$private" ] && has_display || start_display
    [ -n "$private" ] || tell
    run "$@"
}

start_display() {
    need Xvfb xvfb
    need dbus-run-session dbus
    unset WAYLAND_DISPLAY
    setsid Xvfb -displayfd 3 -screen 0 1280x800x24 -nolisten tcp 3>"$folder/display" >"$folder/xvfb.log" 2>&1 &
    started+=($!)
    wait_for "Xvfb" "$folder/xvfb.log" test -s "$folder/display"
    DISPLAY=:$(cat "$folder/display")
    export DISPLAY
    virtual_display=yes
}

start_sound() {
    need pulseaudio pulseaudio
    need pactl pulseaudio-utils
    export PULSE_SERVER=unix:$folder/pulse.sock
    cat >"$folder/default.pa" <<P
load-module module-native-protocol-unix socket=$folder/pulse.sock auth-anonymous=1
load-module module-null-sink sink_name=speaker rate=48000 channels=1 sink_properties=device.description=Speaker
load-module module-null-sink sink_name=microphone_input rate=48000 channels=1 sink_properties=device.description=Microphone-input
load-module module-remap-source source_name=microphone master=microphone_input.monitor source_properties=device.description=Microphone
set-default-sink speaker
set-default-source microphone
P
    HOME=$folder XDG_RUNTIME_DIR=$folder/run XDG_CONFIG_HOME=$folder setsid pulseaudio -n -F "$folder/default.pa" \
        --daemonize=no --exit-idle-time=-1 --use-pid-file=no --log-target="file:$folder/pulse.log" 2>/dev/null &
    started+=($!)
    wait_for "PulseAudio" "$folder/pulse.log" pactl get-default-source
    virtual_sound=yes
}

tell() {
    echo
    if [ -n "${virtual_display:-}" ]; then
        echo "There is no display here: the window opens on a virtual one, DISPLAY=$DISPLAY."
        echo "  a picture of it:  DISPLAY=$DISPLAY import -window root window.png"
        if command -v x11vnc >/dev/null; then
            echo "  to see and use it: x11vnc -localhost -forever -display $DISPLAY, then a VNC viewer on port 5900"
        else
            echo "  to see and use it: install x11vnc, then x11vnc -localhost -forever -display $DISPLAY, and a VNC viewer on port 5900"
        fi
    fi
    if [ -n "${virtual_sound:-}" ]; then
        echo "There is no sound card here: microphone and speaker are virtual, PULSE_SERVER=$PULSE_SERVER."
        echo "  to be heard:      PULSE_SERVER=$PULSE_SERVER paplay --device=microphone_input speech.wav"
        echo "  to hear:          PULSE_SERVER=$PULSE_SERVER parecord --device=speaker.monitor heard.wav"
    fi
    echo "Ctrl+C ends all of it."
    echo
}

# Runs the command and returns its status. It is the leader of a process group, so that it can be ended whole.
run() {
    local command=("$@")
    # Its helpers end with its own message bus.
    [ -z "${virtual_display:-}" ] || command=(dbus-run-session -- "$@")
    if [ -z "${XDG_RUNTIME_DIR:-}" ] || [ -n "$private" ]; then export XDG_RUNTIME_DIR=$folder/run; fi
    setsid "${command[@]}" <&0 &
    started+=($!)
    wait $!
}

started=()
folder=

stop() {
    local status=$? at
    trap '' HUP INT TERM
    for ((at = ${#started[@]} - 1; at >= 0; at--)); do
        end_group "${started[at]}"
    done
    [ -z "$folder" ] || rm -rf "$folder"
    exit "$status"
}

# Ends a process group: politely, and after ten seconds for good.
end_group() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    for _ in {1..100}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

need() {
    command -v "$1" >/dev/null || { echo "$1 is missing: install the package $2, or run make setup" >&2 && exit 1; }
}

# wait_for NAME LOG COMMAND...: until the command succeeds, ten seconds at most.
wait_for() {
    local name=$1 log=$2
    shift 2
    for _ in {1..100}; do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "$name did not start:" >&2
    cat "$log" >&2
    exit 1
}

main "$@"
