# Sourced by tests/run and tests/soak: installs the real parts that the tests use, each by name.
# What can't be installed stops the run with the name of the missing part; nothing is skipped.

PARTS="${PORTCULLIS_TEST_PARTS:-$HOME/.cache/portcullis/parts}"

missing() { printf 'missing: %s\n  %s\n' "$1" "$2" >&2; exit 1; }

install_debian() { # command package
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] || missing "$2" "install it as root: apt-get install $2"
    (apt-get install -y -qq "$2" || { apt-get update -qq && apt-get install -y -qq "$2"; }) >"$PARTS/apt-$2.log" 2>&1 \
        || missing "$2" "apt-get install $2 failed; see $PARTS/apt-$2.log"
}

# The server's programs are not on the path. Tests start servers of their own, so Debian's is not to start one.
install_postgres() {
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    install_debian initdb postgresql
}

# Tests start servers of their own, so Debian's is not to start one.
install_redis() {
    command -v redis-server >/dev/null && return
    local policy=""
    if [ "$(id -u)" = 0 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d # how Debian is told not to start what it installs
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    fi
    install_debian redis-server redis-server
    [ -z "$policy" ] || rm -f "$policy"
}

# The library of the Go verifier has no command by which it could be found.
install_go_mod() {
    [ -e /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog/tlog.go ] && return
    install_debian golang-golang-x-mod-dev golang-golang-x-mod-dev
}

install_python() { # requirements venv
    local want="$PWD/tests/parts/$1" venv="$PARTS/$2"
    cmp -s "$want" "$venv/requirements.txt" && return
    command -v python3 >/dev/null || missing python3 "install Python 3.11 or newer with venv"
    rm -rf "$venv" && python3 -m venv "$venv" || missing python3-venv "apt-get install python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$want" \
        || missing "Python packages" "pip install -r tests/parts/$1 failed"
    cp "$want" "$venv/requirements.txt"
}

install_npm() {
    local want="$PWD/tests/parts/package.json" have="$PARTS/npm/package.json.done"
    cmp -s "$want" "$have" && return
    command -v npm >/dev/null || missing npm "install Node 20 or newer with npm"
    mkdir -p "$PARTS/npm" && cp "$want" "$PARTS/npm/package.json"
    (cd "$PARTS/npm" && npm install --no-audit --no-fund --silent) \
        || missing "npm packages" "npm install of tests/parts/package.json failed"
    cp "$want" "$have"
}

install_parts() {
    mkdir -p "$PARTS"
    command -v cargo >/dev/null || missing cargo "install the Rust toolchain 1.95 or newer"
    install_debian gcc gcc
    install_debian cmake cmake
    install_debian cvc5 cvc5
    install_debian curl curl
    install_debian git git
    install_debian softhsm2-util softhsm2
    install_debian faketime faketime
    install_debian mkfs.ext4 e2fsprogs
    install_debian go golang-go
    install_go_mod
    install_postgres
    install_redis
    install_debian chromium chromium
    install_python requirements.txt venv
    install_python requirements-sdk-5.txt venv-sdk-5 # the oldest SDK that must work; both in one venv do not go
    install_npm
    export PORTCULLIS_TEST_PARTS="$PARTS"
}
