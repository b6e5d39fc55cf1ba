FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

RUN --mount=type=cache,id=flyte-apt,sharing=locked,target=/var/cache/apt \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends git curl && rm -rf /var/lib/apt/lists/*

USER flyte

ENV _F_IMG_ID=registry.example/team/n:2458f14a54238152086c88b31c6a1860

# brings:
