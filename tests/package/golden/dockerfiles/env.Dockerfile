FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

ENV B="1"
ENV A="$B"

USER flyte

ENV _F_IMG_ID=registry.example/team/n:466ecaa522bb938066d70fa08f477a16

# brings:
