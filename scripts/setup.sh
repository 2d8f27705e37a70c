# Makes .venv from requirements.lock and installs wardround into it. Sourced by ./demo and ./test; leaves $root and $venv.
#
# Each of the two stages, when it is finished, leaves copies of what it was made from in .venv/.made-from. The next start compares them and
# goes on at once. After an interruption the copies are not there, so the stage begins anew.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
made_from=$venv/.made-from
log=$venv/setup.log
torch=torch==2.13.0

packages_current() {
    [ -x "$venv/bin/python" ] && [ -f "$made_from/root" ] && [ "$(<"$made_from/root")" = "$root" ] &&
        cmp -s "$root/requirements.lock" "$made_from/requirements.lock" && cmp -s "$root/scripts/setup.sh" "$made_from/setup.sh"
}

wardround_current() {
    cmp -s "$root/pyproject.toml" "$made_from/pyproject.toml"
}

find_python() {
    local candidate candidates=(python3.11 python3.12 python3.13 python3.14 python3)
    if [ -n "${PYTHON:-}" ]; then
        candidates=("$PYTHON")
    fi
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "wardround needs Python 3.11 to 3.14 with its venv module, and ${PYTHON:-this machine} does not offer it." >&2
    echo "Install it (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13) or name yours: PYTHON=/path/to/python3." >&2
    return 2
}

# Runs one step quietly; its output is in the log and is shown when the step fails.
step() {
    local what=$1
    shift
    echo "  $what"
    if ! "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        echo "Set-up stopped at '$what'; the lines above say why (all of it: $log). Mend that and run the same command again." >&2
        exit 1
    fi
}

install_packages() {
    local python=$1 pip=("$venv/bin/python" -m pip --no-input --disable-pip-version-check install)
    echo "Setting up .venv, once; about 360 MB to download with a CPU build of torch, more where pip takes a GPU build."
    rm -rf -- "$venv"
    mkdir -p "$venv"
    step "a virtual environment of $("$python" -V)" "$python" -m venv "$venv"
    # Torch by itself, so that pip takes the build that suits this machine and nothing else can choose another; the rest by hash; then
    # whatever libraries that build of torch still lacks (none for a CPU build).
    step "$torch" "${pip[@]}" --no-deps "$torch"
    step "the packages of requirements.lock" "${pip[@]}" --no-deps --require-hashes -r "$root/requirements.lock"
    step "libraries of a GPU build, if it is one" "${pip[@]}" "$torch"
    mkdir "$made_from"
    cp "$root/requirements.lock" "$root/scripts/setup.sh" "$made_from/"
    echo "$root" >"$made_from/root"
}

install_wardround() {
    local pip=("$venv/bin/python" -m pip --no-input --disable-pip-version-check)
    rm -f -- "$made_from/pyproject.toml"
    step "wardround itself" "${pip[@]}" install --no-deps --no-build-isolation --editable "$root"
    step "a check that all of it fits together" "${pip[@]}" check
    cp "$root/pyproject.toml" "$made_from/"
}

set_up() {
    local python
    if packages_current && wardround_current; then
        return
    fi
    if command -v flock >/dev/null; then
        exec 9<"$root"
        flock -n 9 || { echo "Another set-up is at work here; waiting for it." && flock 9; }
    fi
    if ! packages_current; then
        python=$(find_python) || exit 2
        install_packages "$python"
    fi
    if ! wardround_current; then
        install_wardround
        echo "Set up in $SECONDS s."
    fi
    exec 9<&-
}

set_up
