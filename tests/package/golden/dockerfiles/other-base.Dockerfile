FROM python:3.12

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

USER flyte

ENV _F_IMG_ID=registry.example/team/n:21c5395b57fc69d153e7439ad4d4ac9a

# brings:
