# Matapalo as an image: docs/docker.md says how to build and run it.
#
# Stage one makes the wheel and a virtual environment from locked, hashed wheels; stage two is that
# environment, a user without a name to remember, and a place for the state.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=":all:"
WORKDIR /src

# The slow layer first: it changes with the locks, not with the code.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --require-hashes -r requirements-build.lock \
    && python -m venv /opt/matapalo \
    && /opt/matapalo/bin/pip install --quiet --require-hashes -r requirements.lock

COPY pyproject.toml README.md LICENSE matapalo.py ./
COPY config config
COPY rules rules
COPY shadow shadow
COPY store store
COPY proxy proxy
COPY console console
RUN /opt/build/bin/hatchling build -t wheel -d /dist \
    && /opt/matapalo/bin/pip install --quiet --no-deps --no-index /dist/*.whl \
    && /opt/matapalo/bin/python -m compileall -q /opt/matapalo/lib

FROM python:3.13-slim
# The rooms are top-level import names: nothing of a working directory may stand in front of them.
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PATH=/opt/matapalo/bin:$PATH
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin matapalo \
    && install -d -o matapalo -g matapalo -m 0700 /var/lib/matapalo
COPY --from=build /opt/matapalo /opt/matapalo
COPY docs/container.yaml /etc/matapalo/matapalo.yaml

USER 10001
WORKDIR /var/lib/matapalo
# Flags, holds, audit and evidence; without a volume they end with the container.
VOLUME /var/lib/matapalo
# Clients, then health. The admin API (8081) stays on loopback inside: `docker exec NAME matapalo status`.
EXPOSE 8080 8082
# No shell and no proxy of the environment; anything but 200 is a failure.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 CMD ["python", "-I", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8082/readyz', timeout=2)"]

ENTRYPOINT ["matapalo"]
CMD ["serve", "-c", "/etc/matapalo/matapalo.yaml"]
