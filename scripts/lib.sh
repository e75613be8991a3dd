# shellcheck shell=bash
# Common ground of the scripts: where the tree is, how to talk, how to become root. Sourced, not run.
set -euo pipefail

NESTWALK_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
NESTWALK_CACHE=${NESTWALK_CACHE:-$NESTWALK_ROOT/.cache}
NESTWALK_JOBS=${NESTWALK_JOBS:-$(nproc)}
readonly NESTWALK_SKIP=77  # exit status of something that could not be had here, the automake convention

# Messages go to standard error; standard output belongs to results.
say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  say "$@"
  exit 1
}
skip() {
  printf '%s: SKIPPED: %s\n' "$(basename "$0")" "$*" >&2
  exit "$NESTWALK_SKIP"
}

# Runs a command as root: directly, or with sudo where there is one.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "needs root for '$*', and there is no sudo: run this script as root"
  fi
}

# Those of the named packages that are not installed, one a line.
missing_packages() {
  printf '%s\n' "$@" | sort | comm -23 - <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
    sed -n 's/^installed //p' | sort -u)
}

update_lists() {
  say 'apt-get update'
  as_root apt-get update -qq >&2
}
