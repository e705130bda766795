# checkov:skip=CKV_DOCKER_7: the tag is in the first FROM
# Any image with Python 3.11 or newer as python3, with venv. The default is the stage below; .ci/build pins its digest.
ARG BASE=official

# Dependabot keeps this tag current. It reads FROM, but no ARG.
# https://github.com/dependabot/dependabot-core/issues/2057
FROM python:3.13-slim-bookworm AS official

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
COPY requirements.txt requirements-dev.txt ./
# The build backend stays out of /opt/venv. Its packages are picked from the lock file of the development tools; if one
# were missing here, pip would fail because it has no hash.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes -r requirements.txt \
 && awk '/^[a-z]/ {keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' \
      requirements-dev.txt > requirements-build.txt \
 && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot/ bot/
COPY infra/ infra/
COPY workflow/ workflow/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/venv/bin/pip install --no-deps --no-index /tmp/wheel/*.whl \
 && /opt/venv/bin/python -m pip uninstall --yes pip

FROM ${BASE}
LABEL org.opencontainers.image.title="Voice Relay" \
      org.opencontainers.image.description="Forwards what happens in Discord voice channels into AWS Step Functions workflows" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/venv /opt/venv
# A new volume gets the owner of the directory that it is mounted on. Setuid and setgid bits are removed, because not
# every runtime can forbid a process to gain privileges.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data \
 && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    VOICE_RELAY_DATA_DIR=/data
# Not /data: a .env that something wrote to the volume must not become the settings.
WORKDIR /
VOLUME /data
# Numeric, so that an orchestrator can see that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
# Liveness, not readiness: a restart does not bring Discord or AWS back.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "bot.healthcheck"]
ENTRYPOINT ["voice-relay"]
CMD ["run"]
