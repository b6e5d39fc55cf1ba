FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

COPY --chown=flyte:flyte folder-9ea29905ada0/ /app/

USER flyte

ENV _F_IMG_ID=registry.example/team/n:c0441d0b34be43748625519ed2e81e8e

# brings:
# folder-9ea29905ada0
