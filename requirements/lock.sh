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
  printf 'torch==%s\n' "$torch" | compile - -c requirements/trainer.lock -o "requirements/torch-$torch.lock"
done
# What the Hugging Face example adds to the pytorch-cuda image.
compile requirements/huggingface.in -c requirements/trainer.lock -c requirements/torch-2.15.0.lock \
  -o requirements/huggingface.lock
compile pyproject.toml requirements/trainer.in --extra operator --extra cli --extra dev \
  -c requirements/operator.lock -c requirements/trainer.lock -c requirements/torch-2.15.0.lock -o requirements/dev.lock
