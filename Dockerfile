FROM python:3.12.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The dependencies first: their layer stays as it is while only the code changes.
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/enricher \
    && /opt/enricher/bin/pip install --no-deps --require-hashes -r requirements.lock

# The build backend, by the hashes of the developers' lock; it stays out of the venv.
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|trove-classifiers)==/ } keep' \
        requirements-dev.lock > build.lock \
    && pip install --no-deps --require-hashes -r build.lock

COPY pyproject.toml README.md ./
COPY enricher ./enricher
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/enricher/bin/pip install --no-deps --no-index /wheels/*.whl


FROM python:3.12.11-slim-bookworm

ENV PATH=/opt/enricher/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

RUN groupadd --gid 10001 enricher \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin enricher

COPY --from=build /opt/enricher /opt/enricher

WORKDIR /app
COPY pipelines ./pipelines
COPY templates ./templates

# Of a daemon (`run`): whether records can flow. Other commands end by themselves.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9600/health/ready', timeout=5)"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["enricher"]
CMD ["--help"]
# By number, so that an orchestrator can tell that it is not root.
USER 10001:10001
