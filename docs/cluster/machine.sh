#!/bin/bash
# All GPUs of one machine, or PROCESSES=N processes of a CPU: bash docs/cluster/machine.sh COMMAND METHOD ...
set -euo pipefail
cd "$(dirname "$0")/../.."

processes=${PROCESSES:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}
if [ "$processes" -eq 0 ]; then processes=1; fi
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( cores > processes ? cores / processes : 1 ))}
exec "${PYTHON:-.venv/bin/python}" -m torch.distributed.run --standalone --nproc_per_node "$processes" "$@"
