#!/bin/sh
# `python -m benchmarks gpu` on a host without a network.
#
#   benchmarks/gpu_offline.sh pack FOLDER          here: fills the folder with wheels, in parts
#   benchmarks/gpu_offline.sh run FOLDER [OPTION]  there, in a copy of this repository: installs, runs
#
# The parts are of at most 60 MB, for hosts that take files in parts: copy them one by one. Both
# hosts must be x86-64 Linux; PYTHON_VERSION names the Python there, where it is not the one here.
# torch is not packed, for it is as large as all the rest ten times over: where the host has it, the
# figures of transformers are measured too. cuBLAS 12 (nearly 600 MB) is packed with WITH_CUBLAS=1;
# where the host has cuBLAS 13, the benchmark uses that.
set -eu

usage() { sed -n '3,4p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
command=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

pack() {
    version=${PYTHON_VERSION:-$("$python" -c 'import platform; print(platform.python_version())')}
    extras=bench${WITH_CUBLAS:+,cuda}
    # pip matches the platform's name to the letter, so that each one in use has to be named.
    platforms=$(for glibc in 2_17 2_24 2_27 2_28 2_31 2_34; do
        printf -- '--platform manylinux_%s_x86_64 ' "$glibc"
    done)
    "$python" -m pip wheel -q --no-deps -w "$folder/wheels" "$root"
    # shellcheck disable=SC2086
    "$python" -m pip download -q -d "$folder/wheels" --only-binary=:all: --implementation cp \
        --python-version "$version" $platforms --platform manylinux2014_x86_64 \
        -c "$root/constraints.txt" "$(echo "$folder"/wheels/serve_app-*.whl)[$extras]" transformers
    rm "$folder"/wheels/serve_app-*.whl # the repository's own files are what runs
    tar -C "$folder" -cf - wheels | split -b 60m - "$folder/wheels.tar."
    rm -r "$folder/wheels"
    git -C "$root" rev-parse HEAD > "$folder/commit"
    du -m "$folder"/wheels.tar.*
}

run() {
    if [ ! -d "$folder/site" ]; then
        cat "$folder"/wheels.tar.* | tar -C "$folder" -xf -
        "$python" -m pip install -q --no-index --find-links "$folder/wheels" --no-deps \
            --no-compile --target "$folder/unfinished" "$folder"/wheels/*.whl
        mv "$folder/unfinished" "$folder/site"
    fi
    cd "$root"
    # The host's own packages (torch) stay visible behind these.
    export PYTHONPATH="$root:$folder/site${PYTHONPATH:+:$PYTHONPATH}"
    export BENCHMARKS_COMMIT="${BENCHMARKS_COMMIT:-$(cat "$folder/commit")}"
    exec "$python" -m benchmarks gpu "$@"
}

case $command in
    pack) pack ;;
    run) run "$@" ;;
    *) usage ;;
esac
