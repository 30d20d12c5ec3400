#!/usr/bin/env bash
# Write pods, events, descriptions and logs of one namespace to a folder; reads only.
set -euo pipefail

namespace=${1:?usage: snapshot.sh NAMESPACE [FOLDER]}
folder=${2:-"snapshot-$namespace-$(date +%Y%m%dT%H%M%S)"}
mkdir -p "$folder/logs"

kubectl -n "$namespace" get all,configmaps,pvc,ingress,networkpolicies -o wide >"$folder/objects.txt"
kubectl -n "$namespace" get events --sort-by=.lastTimestamp >"$folder/events.txt"
kubectl -n "$namespace" describe pods >"$folder/pods.txt"

kubectl -n "$namespace" get pods -o name | while read -r pod; do
  file="$folder/logs/${pod#pod/}"
  kubectl -n "$namespace" logs "$pod" --all-containers --tail=500 >"$file.log" 2>&1 || true
  kubectl -n "$namespace" logs "$pod" --all-containers --previous --tail=500 \
    >"$file.previous.log" 2>/dev/null || rm -f "$file.previous.log"
done

echo "$folder"
