# The worker: CUDA torch, the trainer, and data to try it on. It runs on a CPU too, so that what is tested is what is shipped.
#   docker build -f images/pytorch-cuda.Dockerfile -t pytorch-cuda:v2.15 .
# Pin BASE by digest where builds have to be repeatable to the byte.
ARG BASE=debian:bookworm-slim

# Everything that changes with a lock file, and never with the project's own sources: 99.9 % of the image.
FROM ${BASE} AS dependencies
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
      ca-certificates dataset-fashion-mnist python3 python3-venv tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
# HOME belongs to group 0 as well: some platforms run every pod under a user id of their own choice, in group 0.
RUN groupadd --gid 1000 ganger \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /home/ganger --shell /usr/sbin/nologin ganger \
 && install -d -o 1000 -g 0 -m 2775 /home/ganger
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/ganger \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG TORCH_VERSION=2.15.0
COPY requirements/trainer.lock requirements/torch-${TORCH_VERSION}.lock /opt/requirements/
# One command for both locks: pip then refuses versions that do not agree. Bytecode is written here, since the root file
# system is read-only at run time. /opt/ganger is found by a .pth file, so that PYTHONPATH stays the user's.
RUN python3 -m venv /opt/venv \
 && pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
      -r /opt/requirements/trainer.lock -r /opt/requirements/torch-${TORCH_VERSION}.lock \
 && python -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'ganger.pth').write_text('/opt/ganger\n')" \
 && python -c "import torch; assert torch.version.cuda, 'not a CUDA build'" \
 && rm -rf /tmp/* /root/.cache

FROM dependencies
# Without it onnxruntime tells its makers of every use, and keeps a number of this machine's in HOME.
ENV ORT_DISABLE_TELEMETRY=1
COPY operator/ganger/__init__.py operator/ganger/contract.py operator/ganger/py.typed /opt/ganger/ganger/
COPY jobs/ganger_trainer /opt/ganger/ganger_trainer
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/ganger
ARG REVISION=unknown
ARG VERSION=0.0.0
ARG TORCH_VERSION=2.15.0
LABEL org.opencontainers.image.title="pytorch-cuda" \
      org.opencontainers.image.description="A Ganger worker: torch ${TORCH_VERSION} with CUDA and the Ganger trainer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 1000:1000
WORKDIR /home/ganger
# An init process that reaps orphans. Not -g: the supervisor passes SIGTERM on when the workers can save, and a second one,
# which a signal to the whole group would look like, ends them at once.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "ganger_trainer"]
