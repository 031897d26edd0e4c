#!/usr/bin/env bash
# Builds every fuzzer of tests/fuzz and runs each for SECONDS on a copy of its kept corpus; fails on the first crash, whose input it
# leaves in build-fuzz/crashes.
#   scripts/fuzz.sh SECONDS
set -euo pipefail
seconds=${1:?usage: scripts/fuzz.sh SECONDS}
cd "$(dirname "$0")/.."
if ! command -v clang++-14 > /dev/null; then
  echo "skipped: fuzzing needs clang++-14"
  exit 0
fi
build=build-fuzz
log=$build.log.tmp
if ! { cmake --preset fuzz -Wno-dev && cmake --build --preset fuzz -j "$(nproc)"; } > "$log" 2>&1; then
  cat "$log"
  rm -f "$log"
  exit 1
fi
rm -f "$log"
mkdir -p $build/crashes
for source in tests/fuzz/*_fuzz.cpp; do
  name=$(basename "$source" _fuzz.cpp)
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  echo "fuzzing $name for $seconds s"
  if ! $build/tests/fuzz/"${name}_fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
      -artifact_prefix=$build/crashes/"$name"- "$corpus" tests/fuzz/corpus/"$name" > $build/"$name".log 2>&1; then
    tail -40 $build/"$name".log
    exit 1
  fi
  grep -E '^Done|DONE' $build/"$name".log | tail -1
done
