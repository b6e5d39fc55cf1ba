FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

RUN [ -e /app ] || { mkdir -p /app && chown flyte:flyte /app; }

WORKDIR /app

USER flyte

ENV _F_IMG_ID=registry.example/team/n:040e361829362ef5cd906013797aabef

# brings:
