# syntax=docker/dockerfile:1.7
# One file for all four services: docker build --build-arg SERVICE=intake -t stillwater/intake .
# Each image holds one service and shared/, so that a stray import of a sibling dies at start.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt .
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --no-deps -r requirements.txt \
 && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python:3.11-slim-bookworm
ARG SERVICE
LABEL org.opencontainers.image.title="stillwater-${SERVICE}" \
      org.opencontainers.image.description="Stillwater ${SERVICE} service" \
      org.opencontainers.image.licenses="UNLICENSED"
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STILLWATER_SERVICE=${SERVICE}
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY shared ./shared
COPY services/__init__.py ./services/__init__.py
COPY services/${SERVICE} ./services/${SERVICE}
USER 65532:65532
STOPSIGNAL SIGTERM
# exec: the service is PID 1 and gets SIGTERM itself; the role is the container's argument.
ENTRYPOINT ["sh", "-c", "exec python -m services.${STILLWATER_SERVICE} \"$@\"", "--"]
CMD ["all"]
