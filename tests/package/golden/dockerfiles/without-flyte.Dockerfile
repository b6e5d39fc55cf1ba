FROM python:3.12-slim-bookworm

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

USER flyte

ENV _F_IMG_ID=flyte:84a8e1f1aa7715c17bd79e03d02312dc

# brings:
