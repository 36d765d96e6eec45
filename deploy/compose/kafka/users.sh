#!/usr/bin/env bash
# One SCRAM user per service, from <SERVICE>_KAFKA_PASSWORD; may run again. Runs beside the broker, on its loopback listener.
set -euo pipefail
for user in ${KAFKA_USERS:-intake scheduling monitoring notifications}; do
  name="${user^^}_KAFKA_PASSWORD"
  [ -n "${!name:-}" ] || { echo "$name: field required" >&2; exit 2; }
  settings=$(mktemp)
  printf 'SCRAM-SHA-256=password=%s\n' "${!name}" > "$settings"
  "${KAFKA_CONFIGS:-/opt/kafka/bin/kafka-configs.sh}" --bootstrap-server "${KAFKA_OPERATOR_BOOTSTRAP_SERVERS:-127.0.0.1:9092}" \
    --alter --entity-type users --entity-name "$user" --add-config-file "$settings"
  rm -f "$settings"
done
