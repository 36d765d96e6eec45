# syntax=docker/dockerfile:1.7
# One file for all four services: docker build --target service --build-arg SERVICE=intake -t stillwater/intake .
# Each image holds one service and shared/, so that a stray import of a sibling dies at start.
# --target init: the job that makes topics, rights and database users; it must know the collections of all four.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt .
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --require-hashes --no-deps -r requirements.txt \
 && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python:3.11-slim-bookworm AS init
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY shared ./shared
COPY services ./services
COPY deploy ./deploy
USER 65532:65532
ENTRYPOINT ["python", "-m", "deploy.compose.init"]

FROM python:3.11-slim-bookworm AS service
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
# The audit's anchors: a volume of its own takes the owner from here.
RUN install -d -o 65532 -g 65532 /var/lib/stillwater
USER 65532:65532
STOPSIGNAL SIGTERM
# exec: the service is PID 1 and gets SIGTERM itself; the role is the container's argument.
ENTRYPOINT ["sh", "-c", "exec python -m services.${STILLWATER_SERVICE} \"$@\"", "--"]
CMD ["all"]
