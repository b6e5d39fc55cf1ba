FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

COPY --chown=flyte:flyte file-cb78bd8a17f7/a.py /app/

USER flyte

ENV _F_IMG_ID=registry.example/team/n:6565b4af829ed2c396881b35b4e681db

# brings:
# file-cb78bd8a17f7/a.py
