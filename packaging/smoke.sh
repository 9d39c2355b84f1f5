#!/usr/bin/env bash
# Build the wheel and the source distribution, install each in a clean environment outside the
# clone, and use it there: `make package`, or packaging/smoke.sh [--quick] [--release].
#   --quick    no `unmask demo`, which trains for some minutes
#   --release  require the project's URLs in the metadata
# PYTHON names the interpreter, TORCH the requirement of PyTorch, DIST the output folder.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON=${PYTHON:-python3} TORCH=${TORCH:-torch==2.13.0} DIST=${DIST:-$root/dist}
quick=0 check=()
for option in "$@"; do
  case "$option" in
    --quick) quick=1 ;;
    --release) check+=(--release) ;;
    *) echo "unknown option $option: expected --quick or --release" >&2; exit 2 ;;
  esac
done

# The clone, the caller's environment and its user folder must not be seen.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_CONSTRAINT="$root/constraints.txt" PIP_BUILD_CONSTRAINT="$root/constraints.txt"
work="$(mktemp -d "${TMPDIR:-/tmp}/unmask-package.XXXXXX")"
mkdir -p "$DIST" && DIST="$(cd "$DIST" && pwd)"
trap 'rm -rf "$work"' EXIT
export HOME="$work/home" XDG_CACHE_HOME="$work/cache" MPLCONFIGDIR="$work/matplotlib"
mkdir -p "$HOME"

# Without the rights to make a network namespace, the commands run with the network.
offline=()
if unshare -n true 2>/dev/null; then offline=(unshare -n); fi
step() { echo "== $* ($SECONDS s)"; }

step "build"
"$PYTHON" -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet build hatchling
rm -f "$DIST"/unmask-*.whl "$DIST"/unmask-*.tar.gz
# The sdist first, and the wheel from it: what is missing from the sdist is missing from both.
(cd "$work" && "$work/build/bin/python" -m build --no-isolation --outdir "$DIST" "$root")
"$PYTHON" "$root/packaging/check.py" "$DIST" "${check[@]}"

step "install the wheel"
"$PYTHON" -m venv "$work/clean"
bin="$work/clean/bin"
"$bin/python" -m pip install --quiet "$TORCH"
"$bin/python" -m pip install --quiet "$DIST"/unmask-*.whl
"$bin/python" -m pip check
echo "environment: $(du -sm "$work/clean" | cut -f1) MB, unmask alone:" \
  "$(du -sm "$work"/clean/lib/python3*/site-packages/unmask | cut -f1) MB"

use() {
  cd "$work" && rm -rf use && mkdir use && cd use
  "$bin/python" - <<PY
import pathlib, unmask
place = pathlib.Path(unmask.__file__).resolve()
assert not place.is_relative_to("$root"), f"unmask comes from the clone: {place}"
PY
  "$bin/unmask" --version
  "$bin/unmask" models -q >models.txt && grep -q nuclei models.txt
  "${offline[@]}" "$bin/unmask" synth --kind nuclei --count 2 --size 128,128 --out drawn -q
  "${offline[@]}" "$bin/unmask" predict drawn/images --model nuclei --out labels --table -q
  "${offline[@]}" "$bin/unmask" evaluate --truth drawn/labels --predicted labels --metrics f1@0.5 \
    --out report.json
  "$bin/python" - <<'PY'
import json
score = json.load(open("report.json"))["summary"]["f1@0.5"]["mean"]
assert score > 0.5, f"expected F1@0.5 above 0.5 on drawn nuclei, found {score}"
PY
}

step "use the wheel"
use
if [ "$quick" = 0 ]; then
  step "unmask demo"
  "${offline[@]}" "$bin/unmask" demo --out demo -q
  test -s demo/report.html
fi

step "install and use the sdist"
"$bin/python" -m pip install --quiet hatchling
"$bin/python" -m pip install --quiet --no-deps --no-build-isolation --force-reinstall \
  "$DIST"/unmask-*.tar.gz
use
step "done"
