#!/usr/bin/env bash
# Restore a pg_dump directory or custom file into a scratch database, count rows, time it, drop it.
set -euo pipefail

dump=${1:?usage: restore_drill.sh DUMP}
scratch="drill_$(date +%Y%m%d_%H%M%S)"

cleanup() { dropdb --if-exists "$scratch"; }
trap cleanup EXIT

createdb "$scratch"
started=$(date +%s)
pg_restore --jobs=4 --no-owner --exit-on-error --dbname="$scratch" "$dump"
echo "restored in $(($(date +%s) - started)) s"

psql --no-psqlrc --dbname="$scratch" --command="ANALYZE" >/dev/null
psql --no-psqlrc --dbname="$scratch" --command="
  SELECT c.relname AS table, c.reltuples::bigint AS rows,
         pg_size_pretty(pg_total_relation_size(c.oid)) AS size
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  ORDER BY c.reltuples DESC LIMIT 20"
