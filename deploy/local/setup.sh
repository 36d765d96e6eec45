#!/usr/bin/env bash
# Makes .venv from the hash-pinned lock. Says what is missing instead of failing somewhere later.
set -euo pipefail
cd "$(dirname "$0")/../.."
for python in python3.11 python3.12 python3; do
  command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && break
  python=""
done
[ -n "$python" ] || { echo "Python 3.11 or later is missing. Install it (Debian: apt install python3.11 python3.11-venv)." >&2; exit 1; }
# Not by .venv/bin/python: without python3-venv Debian leaves that behind and no pip beside it.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  free=$(df -Pk . | awk 'NR == 2 {print $4}')
  if [ "$free" -lt $((3 * 1024 * 1024)) ]; then
    echo "$((free / 1024)) MB are free in $PWD; packages, Kafka and data need 3 GB. Make room and try again." >&2
    exit 1
  fi
  "$python" -m venv .venv || { echo "python3-venv is missing (Debian: apt install python3-venv)." >&2; exit 1; }
fi
echo "  installing the pinned packages into .venv; the first time this takes minutes"
# One line that grows on a terminal, one for each 25 packages elsewhere; whatever else pip says at the end is its word of an error.
[ -t 1 ] && on_terminal=1 || on_terminal=0
.venv/bin/python -m pip install --disable-pip-version-check --require-hashes --no-deps --progress-bar off -r requirements-dev.txt |
  awk -v of="$(grep -c '==' requirements-dev.txt)" -v terminal="$on_terminal" '
    /^(Collecting|Requirement already satisfied)/ {
      n++
      if (terminal) printf "\r  %d of %d packages", n, of
      else if (n % 25 == 0 || n == of) printf "  %d of %d packages\n", n, of
      fflush()
    }
    /^Installing/ { printf "%s  unpacking them\n", terminal ? "\n" : ""; fflush() }'
