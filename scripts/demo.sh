#!/usr/bin/env bash
# The main job, whole: train on gcide:train, compress to 2 bits, to ternary by error-corrected rounding and to ternary by plain
# rounding, evaluate all on gcide:valid, print one table, and let the trained and the ternary model speak.
#   usage: demo.sh [RECIPE [FOLDER]]      default: recipes/demo.toml runs/demo
set -euo pipefail
cd "$(dirname "$0")/.."
recipe=${1:-recipes/demo.toml}
out=${2:-runs/demo}
mote=build/mote

rm -rf "$out"
mkdir -p "$out"
begin=$(date +%s)
"$mote" train "$recipe" --out "$out/trained" --json >"$out/train.json"
compressed() {  # NAME FLAGS...
  local name=$1
  shift
  "$mote" compress "$out/trained" "$out/$name" "$@" --json >"$out/$name.json"
}
compressed 2-bit --bits 2
compressed ternary --bits ternary
compressed ternary-rtn --bits ternary --method rtn
for model in trained 2-bit ternary ternary-rtn; do
  "$mote" eval "$out/$model" --data gcide:valid --max-bytes 300000 --json >"$out/$model.eval.json"
done
python3 scripts/demo_table.py "$out"
for model in trained ternary; do
  echo
  echo "== the $model model, asked to go on from \"Water is\":"
  "$mote" generate "$out/$model" -p "Water is" -n 60 --temperature 0.7 --seed 1
done
echo
echo "$(($(date +%s) - begin)) seconds in all; everything lies in $out"
