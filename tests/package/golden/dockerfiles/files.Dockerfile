FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

COPY --chown=flyte:flyte file-cb78bd8a17f7/a.py ./

COPY --chown=flyte:flyte file-f39daa673160/script.py ./

USER flyte

ENV _F_IMG_ID=registry.example/team/n:d9b183815625b0fe13af5ae518983c27

# brings:
# file-cb78bd8a17f7/a.py
# file-f39daa673160/script.py
