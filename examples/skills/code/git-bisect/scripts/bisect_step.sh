#!/usr/bin/env bash
# One step of `git bisect run`: 0 good, 1 bad, 125 cannot be tested. Set BUILD, CHECK and FAULT.
set -uo pipefail

: "${BUILD:=make -s}"
: "${CHECK:?set CHECK to the command that shows the fault}"
: "${FAULT:?set FAULT to a text that appears only when the fault is there}"
: "${REPEATS:=1}"

git clean -fdxq -e .venv -e node_modules
bash -c "$BUILD" >/tmp/bisect-build.log 2>&1 || exit 125

for ((run = 1; run <= REPEATS; run++)); do
  output=$(timeout 120 bash -c "$CHECK" 2>&1)
  status=$?
  if grep -qF -- "$FAULT" <<<"$output"; then
    exit 1
  fi
  if ((status != 0)); then
    exit 125 # it failed, but for another reason
  fi
done
exit 0
