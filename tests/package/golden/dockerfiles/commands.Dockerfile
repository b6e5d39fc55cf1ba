FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

RUN echo a

RUN echo b

USER flyte

ENV _F_IMG_ID=registry.example/team/n:f3aab28caedc1b23476ed00a1e0db4db

# brings:
