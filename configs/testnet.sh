#!/usr/bin/env bash
# A local test network: one host that serves models/mnist.onnx and N clients (default 2), until Ctrl-C.
# Repos are made below a folder (default: a temporary one).
set -euo pipefail
cd "$(dirname "$0")/.."
clients=${1:-2}
folder=${2:-$(mktemp -d)}
minionn() { node dist/cli/bin.js "$@"; }
npm run --silent build >/dev/null
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait' EXIT
for name in host $(seq -f 'client%g' "$clients"); do
  [ -d "$folder/$name/db" ] || minionn init --repo "$folder/$name" --config configs/client.yaml
done
minionn model show mnist --repo "$folder/host" >/dev/null 2>&1 ||
  minionn model add models/mnist.onnx --name mnist --card models/mnist.yaml --repo "$folder/host"
for name in host $(seq -f 'client%g' "$clients"); do
  minionn daemon --repo "$folder/$name" &
  pids+=($!)
done
echo "repos in $folder; query with: node dist/cli/bin.js query --repo $folder/client1 --peer ADDRESS --model mnist FILE"
wait
