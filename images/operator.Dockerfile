# The operator: Python, a Kubernetes client, no torch, no compiler, no pip.
#   docker build -f images/operator.Dockerfile -t ganger-operator:0.1.0 .
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS environment
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ca-certificates python3 python3-venv
COPY requirements/operator.lock /opt/requirements/
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
      -r /opt/requirements/operator.lock \
 && /opt/venv/bin/python -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'ganger.pth').write_text('/opt/ganger\n')" \
 && /opt/venv/bin/pip uninstall --quiet --yes setuptools pip

FROM ${BASE} AS dependencies
RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ca-certificates python3 tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
RUN groupadd --gid 1000 ganger \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /home/ganger --shell /usr/sbin/nologin ganger \
 && install -d -o 1000 -g 0 -m 2775 /home/ganger
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/ganger \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=environment /opt/venv /opt/venv

FROM dependencies
COPY operator/ganger /opt/ganger/ganger
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/ganger
ARG REVISION=unknown
ARG VERSION=0.0.0
LABEL org.opencontainers.image.title="ganger-operator" \
      org.opencontainers.image.description="The Ganger operator: TrainingJobs on Kubernetes" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 1000:1000
WORKDIR /home/ganger
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "-m", "ganger.app"]
