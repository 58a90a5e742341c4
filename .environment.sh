# Sourced by ./run and ./check: finds a Python, makes .venv and installs pinned dependencies into it.
# Usage: prepare_environment requirements.txt

find_python() {
    local candidate
    for candidate in "${HARNESS_PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "no Python 3.11 or later was found (looked for \$HARNESS_PYTHON, python3.11 to python3.13, python3, python)." >&2
    echo "Install one, or name it: HARNESS_PYTHON=/path/to/python3.11 $0 ..." >&2
    return 4
}

prepare_environment() {
    local root="$1" requirements="$2" python wanted stamp
    stamp="$root/.venv/.installed-$requirements"
    wanted="$root $(cat "$root"/requirements*.txt | cksum)"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$root/.venv/bin/python" -c '' 2>/dev/null; then
        compile_kernels "$root" "$requirements"
        return 0
    fi
    if ! "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python="$(find_python)" || return 4
        if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$python cannot make virtual environments: its 'venv' or 'ensurepip' module is missing." >&2
            echo "On Debian and Ubuntu: apt-get install python3-venv. Or name another Python: HARNESS_PYTHON=... $0" >&2
            return 4
        fi
        echo "Creating .venv with $("$python" --version) (first run only) ..." >&2
        "$python" -m venv --clear "$root/.venv" || return 4
    fi
    echo "Installing the pinned dependencies of $requirements into .venv ..." >&2
    if ! "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$root/$requirements" >"$root/.venv/install.log" 2>&1; then
        cat "$root/.venv/install.log" >&2
        echo "The dependencies could not be installed; the output of pip is above. Is the package index reachable?" >&2
        return 4
    fi
    # The packages are imported from this checkout.
    "$root/.venv/bin/python" - "$root" <<'PYTHON' || return 4
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "multiraft_harness_checkout.pth").write_text(sys.argv[1] + "\n")
PYTHON
    echo "$wanted" >"$stamp"
    compile_kernels "$root" "$requirements"
}

# Compiles the kernels when one has changed: for ./check before it goes on, for ./run in the background, since
# the first run should begin at once. Until one is compiled, and where none can be, they run interpreted, with the same
# verdicts; it is tried again when a kernel or the compiler has changed.
compile_kernels() {
    local root="$1" stamp="$1/.venv/.kernels" building="$1/.venv/.kernels-building" wanted
    [ -f "$root/build_kernels.py" ] || return 0
    wanted="$root $(command -v cc gcc clang | tr '\n' ' ') $(find "$root/results" "$root/checkers" "$root/harness" -name '*_kernel.py' -print0 |
        LC_ALL=C sort -z | xargs -0 cat "$root/build_kernels.py" "$root/requirements.txt" | cksum)"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return 0
    fi
    if [ "$2" = requirements.txt ]; then
        if kill -0 "$(cat "$building" 2>/dev/null)" 2>/dev/null; then
            return 0 # An earlier ./run has begun to, and is not done.
        fi
        echo "Compiling kernels in the background (a minute or two); until then checking and simulating are slower ..." >&2
        (
            trap '' INT HUP
            nice -n 5 "$root/.venv/bin/python" "$root/build_kernels.py" --quiet
            echo "$wanted" >"$stamp"
        ) </dev/null >"$root/.venv/kernels.log" 2>&1 &
        echo $! >"$building"
        return 0
    fi
    "$root/.venv/bin/python" "$root/build_kernels.py" --quiet
    echo "$wanted" >"$stamp"
}
