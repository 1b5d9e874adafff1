# A dev session: the workers' image with JupyterLab, sshd and what a person at a terminal expects.
#   docker build -f images/pytorch-cuda-dev.Dockerfile -t pytorch-cuda-dev:v2.15 .
# Your own image for sessions is this file with BASE=YOUR-IMAGE, if that one was made FROM pytorch-cuda.
ARG BASE=pytorch-cuda:v2.15

FROM ${BASE} AS dependencies
USER 0
# No server is started by this, and no host key stays: each session makes its own.
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
      git less nano openssh-client openssh-server procps \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log /etc/ssh/ssh_host_*
# A login has a shell, begins in the workspace, and finds the image's Python: /etc/profile sets PATH anew.
RUN usermod --shell /bin/bash --home /workspace ganger \
 && install -d -o 1000 -g 0 -m 2775 /workspace \
 && echo 'PATH=/opt/venv/bin:$PATH' > /etc/profile.d/ganger.sh
COPY requirements/session.lock /opt/requirements/
RUN pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r /opt/requirements/session.lock \
 && install -d /opt/venv/share/jupyter/lab/settings \
 && echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' \
      > /opt/venv/share/jupyter/lab/settings/overrides.json \
 && rm -rf /tmp/*

FROM dependencies
COPY jobs/ganger_session /opt/ganger/ganger_session
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/ganger/ganger_session
ARG REVISION=unknown
ARG VERSION=0.0.0
ARG TORCH_VERSION=2.15.0
LABEL org.opencontainers.image.title="pytorch-cuda-dev" \
      org.opencontainers.image.description="A Ganger dev session: pytorch-cuda with JupyterLab and sshd" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 1000:1000
WORKDIR /workspace
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "ganger_session"]
