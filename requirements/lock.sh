#!/usr/bin/env bash
# Write every lock of this folder. Needs uv; each entry carries hashes and no index address.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  uv pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 \
    --python-platform x86_64-unknown-linux-gnu --custom-compile-command "make lock" "$@"
}
# One version of each package everywhere: later locks are constrained by earlier ones.
compile pyproject.toml --extra operator -o requirements/operator.lock
compile requirements/trainer.in -c requirements/operator.lock -o requirements/trainer.lock
for torch in 2.15.0 2.6.0; do
  # With what makes and checks model files: it shares sympy with torch, and 2.6 wants another one than 2.15.
  printf 'torch==%s\nonnx>=1.17\nonnxruntime>=1.20\nonnxscript>=0.5\n' "$torch" | compile - -c requirements/trainer.lock -o "requirements/torch-$torch.lock"
done
# What the Hugging Face example adds to the pytorch-cuda image.
compile requirements/huggingface.in -c requirements/trainer.lock -c requirements/torch-2.15.0.lock \
  -o requirements/huggingface.lock
# What the image of dev sessions adds to it.
compile requirements/session.in -c requirements/operator.lock -c requirements/trainer.lock \
  -c requirements/torch-2.15.0.lock -o requirements/session.lock
compile pyproject.toml requirements/trainer.in requirements/session.in --extra operator --extra cli --extra dev \
  -c requirements/operator.lock -c requirements/trainer.lock -c requirements/session.lock \
  -c requirements/torch-2.15.0.lock -o requirements/dev.lock
# The loops that `make bench ONLY=frameworks` runs beside ours.
compile requirements/bench.in -c requirements/dev.lock -c requirements/torch-2.15.0.lock -c requirements/huggingface.lock \
  -o requirements/bench.lock
