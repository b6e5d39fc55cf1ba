FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

COPY --chown=flyte:flyte folder-9ea29905ada0/ ./source/

USER flyte

ENV _F_IMG_ID=registry.example/team/n:7c2cfb0927aad9188fe7cfa44039f4ed

# brings:
# folder-9ea29905ada0
