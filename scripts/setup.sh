#!/usr/bin/env bash
# Installs what is missing, and does nothing when all is there.
#
#   scripts/setup.sh run     what `make run` takes
#   scripts/setup.sh demo    what `make demo` takes
#   scripts/setup.sh bench   what `make bench` takes
#   scripts/setup.sh quality what `make quality` takes
#   scripts/setup.sh test    what `make test` takes
#   scripts/setup.sh lint    what `make lint` takes
#   scripts/setup.sh all     all of it (the default)
#
# Debian packages are installed by apt-get, through sudo where that is needed; elsewhere they are listed by
# their Debian names. npm packages go into the checkout, cargo tools into cargo's own folder, Python packages
# into a folder of the cache.
# Rust and Node.js it does not install: it says where they come from.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/host.sh

# Oldest Node.js that the UI's tools run on.
readonly NODE=20.19
readonly CARGO_DENY=0.20.2
readonly TAURI_DRIVER=2.1.0

# libopus-dev is left out on purpose: the build would link Debian's old libopus instead of its own.
readonly BUILD_PACKAGES="build-essential cmake pkg-config libwebkit2gtk-4.1-dev libayatana-appindicator3-dev \
libasound2-dev libdbus-1-dev"
readonly DISPLAY_PACKAGES="xvfb dbus imagemagick fonts-dejavu-core fonts-noto-color-emoji"
readonly SOUND_PACKAGES="pulseaudio pulseaudio-utils"
# Recorded speech.
readonly SPEECH_PACKAGES="alsa-utils"
# The programs alone: what Debian starts by itself is left as it is, and no test talks to it.
readonly DATABASE_PACKAGES="postgresql"
# Recorded speech in several languages, at 16 kHz.
readonly VOICE_PACKAGES="asterisk-core-sounds-en-g722 asterisk-core-sounds-it-g722 asterisk-core-sounds-es-g722 \
asterisk-core-sounds-fr-g722 asterisk-core-sounds-ru-g722"
# Counts instructions.
readonly BENCH_PACKAGES="valgrind"
readonly TEST_PACKAGES="iproute2 xdotool webkit2gtk-driver chromium python3-venv"

main() {
    local level=${1:-all}
    check_rust
    check_node
    case $level in
        run)
            local packages=$BUILD_PACKAGES
            has_display || packages+=" $DISPLAY_PACKAGES"
            has_sound || packages+=" $SOUND_PACKAGES"
            install_packages "$packages"
            install_npm ui
            ;;
        demo)
            install_packages "$BUILD_PACKAGES $SPEECH_PACKAGES"
            ;;
        bench)
            install_packages "$BUILD_PACKAGES $SPEECH_PACKAGES $DATABASE_PACKAGES $BENCH_PACKAGES"
            install_exactly gungraun-runner "$(locked_version gungraun)"
            ;;
        quality)
            install_packages "$BUILD_PACKAGES $VOICE_PACKAGES python3-dev python3-venv"
            install_python quality tests/quality/requirements.txt
            ;;
        test)
            install_packages "$BUILD_PACKAGES $DISPLAY_PACKAGES $SOUND_PACKAGES $SPEECH_PACKAGES \
$DATABASE_PACKAGES $TEST_PACKAGES"
            install_npm ui
            install_npm tests/desktop
            install_cargo tauri-driver "$TAURI_DRIVER"
            install_python schemathesis tests/api/requirements.txt
            ;;
        lint)
            install_packages "$BUILD_PACKAGES"
            install_npm ui
            install_npm tests/desktop
            install_cargo cargo-deny "$CARGO_DENY"
            ;;
        all)
            main test
            main lint
            ;;
        *) fail "there is no level '$level': it is run, demo, bench, quality, test, lint or all" ;;
    esac
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    command -v cargo >/dev/null || PATH=$PATH:$(cargo_bin)
    command -v cargo >/dev/null ||
        fail "Rust is missing. Install rustup (https://rustup.rs): it fetches Rust $wanted by itself; then run this again"
    # With rustup, the first call here installs the toolchain that rust-toolchain.toml names.
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "$found" "$wanted" || fail "Rust $wanted or newer is needed, and this is $found. Run: rustup update"
}

check_node() {
    local hint="Install it from your distribution (Debian 13: apt-get install nodejs npm) or https://nodejs.org"
    command -v node >/dev/null && command -v npm >/dev/null || fail "Node.js (with npm) is missing. $hint; then run this again"
    local found
    found=$(node --version)
    at_least "${found#v}" "$NODE" || fail "Node.js $NODE or newer is needed, and this is $found. $hint"
}

install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        list_packages "$1"
        return
    fi
    local missing
    missing=$(missing_packages "$1")
    [ -n "$missing" ] || return 0
    say "Debian packages that are missing:" $missing
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "only root may install them. As root, run: apt-get install --no-install-recommends" $missing
        root=(sudo)
    fi
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    # An old list of packages often does; a failing update (one dead mirror of several) need not matter.
    "${root[@]}" "${apt[@]}" update || say "apt-get update failed; going on with the lists that are there"
    # shellcheck disable=SC2086 # names of packages: words
    "${root[@]}" "${apt[@]}" install -y --no-install-recommends $missing ||
        fail "apt-get could not install them: see what it says above"
}

missing_packages() {
    local installed wanted
    # dpkg-query fails where it knows nothing of a package: that one is missing.
    # shellcheck disable=SC2086
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $1 2>/dev/null | sed -n 's/^installed //p' || true)
    for wanted in $1; do
        grep -qxF "$wanted" <<<"$installed" || echo "$wanted"
    done
}

# Where there is no apt-get: tells what is missing, by its Debian name, and fails if the build needs it.
list_packages() {
    local package missing=() essential=()
    for package in $1; do
        is_there "$package" || missing+=("$package")
    done
    for package in $BUILD_PACKAGES; do
        is_there "$package" || essential+=("$package")
    done
    [ ${#missing[@]} = 0 ] ||
        say "this is not Debian: install with your own package manager what Debian calls: ${missing[*]}"
    [ ${#essential[@]} = 0 ] || fail "the build cannot go on without: ${essential[*]}"
}

# Whether what a Debian package brings is there by other ways.
is_there() {
    local linux
    linux=$([ "$(uname)" = Linux ] && echo yes || true)
    case $1 in
        build-essential) command -v cc && command -v make ;;
        libwebkit2gtk-4.1-dev) [ -z "$linux" ] || pkg-config --exists webkit2gtk-4.1 ;;
        libayatana-appindicator3-dev) [ -z "$linux" ] || pkg-config --exists ayatana-appindicator3-0.1 ;;
        libasound2-dev) [ -z "$linux" ] || pkg-config --exists alsa ;;
        libdbus-1-dev) [ -z "$linux" ] || pkg-config --exists dbus-1 ;;
        pkg-config | dbus) [ -z "$linux" ] || command -v "${1/dbus/dbus-run-session}" ;;
        xvfb) [ -z "$linux" ] || command -v Xvfb ;;
        imagemagick) [ -z "$linux" ] || command -v import ;;
        fonts-*) true ;;
        pulseaudio-utils) [ -z "$linux" ] || command -v pactl ;;
        webkit2gtk-driver) [ -z "$linux" ] || command -v WebKitWebDriver ;;
        postgresql) command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' ;;
        python3-dev) [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ;;
        asterisk-core-sounds-*) compgen -G "/usr/share/asterisk/sounds/$(cut -d - -f 4 <<<"$1")*/demo-instruct.g722" ;;
        python3-venv) python3 -c 'import ensurepip, venv' ;;
        alsa-utils) [ -e /usr/share/sounds/alsa/Front_Center.wav ] ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# npm packages of a folder, when its lock file is not the one they were last installed from.
install_npm() {
    local stamp=$1/node_modules/.setup wanted
    [ -e "$1/package-lock.json" ] || return 0
    wanted=$(cat "$1/package.json" "$1/package-lock.json" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "npm packages of $1"
    npm --prefix "$1" ci --no-audit --no-fund || fail "npm could not install the packages of $1: see what it says above"
    echo "$wanted" >"$stamp"
}

# Python packages of a list, in an environment of their own, when the list is not the one it was made from.
install_python() {
    local folder=${XDG_CACHE_HOME:-$HOME/.cache}/voip/$1 wanted
    wanted=$(cksum <"$2")
    [ -x "$folder/bin/python3" ] && [ "$(cat "$folder/.setup" 2>/dev/null)" = "$wanted" ] && return
    say "Python packages of $2"
    command -v python3 >/dev/null || fail "Python 3.10 or newer is missing: install it, then run this again"
    { python3 -m venv --clear "$folder" && "$folder/bin/pip" install --quiet --requirement "$2"; } ||
        fail "the Python packages of $2 could not be installed: see what it says above"
    echo "$wanted" >"$folder/.setup"
}

# A program of cargo's registry, unless there is one of that version or a newer one of its series.
install_cargo() {
    local name=$1 version=$2 found
    found=$(installed_version "$name")
    [ -z "$found" ] || ! at_least "$found" "$version" || return 0
    build_tool "$name" "$version"
}

build_tool() {
    local name=$1 version=$2
    say "$name $version (built from source: a few minutes)"
    # Built in a folder of its own and for a short build: the speed of these tools does not matter here.
    env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=false \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --locked "$name" --version "$version" ||
        fail "cargo could not install $name: see what it says above"
}

# As install_cargo, where the program and a library of ours must be of one version.
install_exactly() {
    [ "$(installed_version "$1")" = "$2" ] || build_tool "$1" "$2"
}

# The version of a library that the build takes.
locked_version() {
    sed -n "/^name = \"$1\"$/{n;s/^version = \"\(.*\)\"/\1/p;q}" Cargo.lock
}

# The version that cargo installed, or that the program tells; nothing if it is not there.
installed_version() {
    local list
    list=$(cargo_bin)/../.crates.toml
    if [ -x "$(cargo_bin)/$1" ] && [ -e "$list" ]; then
        sed -n "s/^\"$1 \([0-9.]*\) .*/\1/p" "$list"
    elif command -v "$1" >/dev/null; then
        # Installed in another way: it is taken as it is.
        echo 999
    fi
}

cargo_bin() {
    echo "${CARGO_HOME:-$HOME/.cargo}/bin"
}

# Whether version $1 is $2 or newer.
at_least() {
    [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

say() {
    echo "setup: $*"
}

fail() {
    echo "setup: $*" >&2
    exit 1
}

main "$@"
