#!/usr/bin/env bash
# Writes .env from .env.example with fresh secrets, and the key of the MongoDB replica set. Keeps what is there already.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
env=${1:-$here/../../.env}
key=${2:-$here/mongo/keyfile}
umask 077
mkdir -p "$(dirname "$key")"
[ -e "$key" ] || openssl rand -base64 756 > "$key"
[ -e "$env" ] && { echo "$env is there already; nothing changed" >&2; exit 0; }
while IFS= read -r line; do
  case $line in
    *_PASSWORD=) echo "$line$(openssl rand -hex 24)" ;;
    *_KEY=|*_KEY_RING=k1:) echo "$line$(openssl rand -base64 32)" ;;
    *) echo "$line" ;;
  esac
done < "$here/.env.example" > "$env"
echo "$env is written; still empty:"
grep -E '^[A-Z_]+=$' "$env" || true
