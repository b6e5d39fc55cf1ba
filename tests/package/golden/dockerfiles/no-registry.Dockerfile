FROM python:3.12-slim

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

USER flyte

ENV _F_IMG_ID=other:cad9c321db24507f6e298523ff90c79c

# brings:
