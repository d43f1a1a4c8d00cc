#!/usr/bin/env bash
# From mouth to ear through real sound streams and a server on this machine: `voip-cli` on a rig of virtual sound
# cards, by turns with the Mumble client on the same rig. Each turn starts everything anew.
#
#   RIG_FOLDER=... tests/quality/mouth-to-ear.sh [PEER...]
#
# PEER is default or tuned (Mumble's settings); without any, ours alone is measured.
#
# RIG_FOLDER is the rig: lib.sh (PulseAudio with one virtual card for both ends), measure.py (chirps), mumble.sh. Other
# variables: RUNS (10), CLICKS (30) for each turn, BITRATE (40000), PROFILE (release),
# M2E_VENV (the rig's Python, made where it is missing).
#
# A line of JSON for each turn on standard error, one for all on standard output.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "mouth-to-ear: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

[ -f "${RIG_FOLDER:-}/lib.sh" ] || fail "there is no rig in '${RIG_FOLDER:-}': name its folder with RIG_FOLDER"
RIG_FOLDER=$(cd "$RIG_FOLDER" && pwd)
PROFILE=${PROFILE:-release} RUNS=${RUNS:-10} CLICKS=${CLICKS:-30}
bin=$(scripts/target.sh)/$PROFILE
cargo build --quiet --profile "${PROFILE/debug/dev}" -p voip-server -p voip-client --bins
venv=${M2E_VENV:-/tmp/m2e-venv} python=${M2E_VENV:-/tmp/m2e-venv}/bin/python
[ -x "$python" ] || { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet -r "$RIG_FOLDER/requirements.txt"; }
. "$RIG_FOLDER/lib.sh"
turns=$(mktemp) turn=$(mktemp) peer_pid=
finish() {
    # It stops its own rig.
    [ -z "$peer_pid" ] || { kill "$peer_pid" && wait "$peer_pid"; } 2>/dev/null || true
    rig_stop
    rm -f "$turns" "$turn"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PYTHONDONTWRITEBYTECODE=1

# What a client of ours writes once it is in the channel.
joined() { grep -q 'voip-cli: in ' "$RIG/$1.log"; }

device() { # Microphones|Speakers, name: its id
    # shellcheck disable=SC2046
    env $(rig_client "$RIG/devices") "$bin/voip-cli" devices | sed -n "/^$1:/,/^[A-Z].*:$/ s/.*\[\(.*\)\]$/\1/p" | grep "[:/.]$2\$\|^$2\$" | head -1
}

ours() {
    rig_start
    mkdir "$RIG/server"
    rig_spawn env VOIP_SERVER__BIND_ADDRESS=127.0.0.1 "$bin/voip-server" serve --control-port 0 --voice-port 0 \
        --data-dir "$RIG/server" >"$RIG/server.log" 2>&1
    rig_wait 100 grep -q '^Stop with' "$RIG/server.log" || fail "the server does not start: $RIG/server.log"
    local invite
    invite=$(sed -n 's/^Invite: //p' "$RIG/server.log")
    local talk=(VOIP_PASSWORD=mouth-to-ear "$bin/voip-cli" talk --server "$invite" --register --channel General --bitrate "${BITRATE:-40000}" --json)
    local ear mic void
    ear=$(device Speakers ear) mic=$(device Microphones mic) void=$(device Speakers void)
    [ -n "$ear" ] && [ -n "$mic" ] && [ -n "$void" ] || fail "the client does not see the rig's devices: ear '$ear', mic '$mic', void '$void'"
    # shellcheck disable=SC2046 # words of env
    rig_spawn env $(rig_client "$RIG/listener") "${talk[@]}" --user listener --listen --speaker "$ear" \
        >"$RIG/listener.json" 2>"$RIG/listener.log"
    local listener=$rig_last
    # shellcheck disable=SC2046
    rig_spawn env $(rig_client "$RIG/talker") "${talk[@]}" --user talker --microphone "$mic" \
        --speaker "$void" >"$RIG/talker.json" 2>"$RIG/talker.log"
    rig_wait 100 joined listener || fail "the listener does not join: $(cat "$RIG/listener.log")"
    rig_wait 100 joined talker || fail "the talker does not join: $(cat "$RIG/talker.log")"
    rig_spawn "$python" "$RIG_FOLDER/measure.py" --label ours --clicks "$CLICKS" >"$RIG/result.json"
    wait "$rig_last" || fail "nothing was heard: $(cat "$RIG/result.json" "$RIG"/*.log)"
    kill -INT "$listener"
    wait "$listener" || true
    "$python" - "$RIG/result.json" "$RIG/listener.json" <<'P'
import json, sys
measured, told = (json.load(open(name)) for name in sys.argv[1:])
talker = max(told["talkers"], key=lambda talker: talker["received"])
measured |= {"estimate_ms": told["mouth_to_ear_ms"], "buffer_ms": told["jitter_buffer_ms"],
             "underruns": told["device_underruns"], "concealed": talker["concealed"], "late": talker["late"]}
print(json.dumps(measured))
P
    rig_stop
}

for run in $(seq "$RUNS"); do
    say "turn $run of $RUNS"
    # Not into a pipe: what stops the rig lives in this shell.
    ours >"$turn"
    tee -a "$turns" <"$turn" >&2
    for peer in "$@"; do
        CONF=$peer RUNS=1 "$RIG_FOLDER/mumble.sh" latency --clicks "$CLICKS" >"$turn" &
        peer_pid=$!
        wait "$peer_pid" || fail "Mumble ($peer) could not be measured: see above"
        peer_pid=
        tee -a "$turns" <"$turn" >&2
    done
done
"$python" - "$turns" <<'P'
import json, sys
import statistics as st
rows = [json.loads(line) for line in open(sys.argv[1])]
out = {}
for label in dict.fromkeys(row["label"] for row in rows):
    mine = [row for row in rows if row["label"] == label]
    delays = sorted(d for row in mine for d in row["delays_ms"] if d is not None)
    medians = [row["p50_ms"] for row in mine]
    out[label] = {"turns": len(mine), "chirps": len(delays), "median_ms": round(st.median(delays), 1),
                  "p95_ms": delays[int(len(delays) * 0.95)], "medians_ms": [min(medians), max(medians)]}
    told = [row["estimate_ms"] - row["p50_ms"] for row in mine if row.get("estimate_ms")]
    if told:
        out[label] |= {"estimate_off_ms": [round(min(told), 1), round(max(told), 1)],
                       "underruns": sum(row["underruns"] for row in mine)}
for label, row in out.items():
    if label != "ours":
        row["ours_of_it"] = round(out["ours"]["median_ms"] / row["median_ms"], 3)
print(json.dumps(out))
P
