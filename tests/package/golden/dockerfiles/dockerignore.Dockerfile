FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

USER flyte

ENV _F_IMG_ID=registry.example/team/n:8183513f13cd62d53a7812b03a464714

# brings:
