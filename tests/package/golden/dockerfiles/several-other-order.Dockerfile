FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

ENV A="1"

RUN --mount=type=cache,id=flyte-apt,sharing=locked,target=/var/cache/apt \
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends git && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_INSTALL_DIR=/opt/python PATH=/opt/venv/bin:$PATH

RUN --mount=type=cache,id=flyte-pip,target=/root/.cache/pip \
    --mount=type=cache,id=flyte-uv,target=/root/.cache/uv \
    if ! command -v uv >/dev/null; then python3 -m venv /opt/uv 2>/dev/null || { rm -rf /opt/uv && command -v apt-get >/dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* && python3 -m venv /opt/uv; } || { echo 'flyte: the base has neither uv nor a Python 3 with venv; put one of them into it' >&2; exit 1; }; /opt/uv/bin/python -m pip install 'uv>=0.5' && ln -s /opt/uv/bin/uv /usr/local/bin/uv; fi && { [ -x /opt/venv/bin/python ] || uv venv --python 3.12 /opt/venv; }

RUN --mount=type=cache,id=flyte-uv,target=/root/.cache/uv \
    uv pip install pandas

USER flyte

ENV _F_IMG_ID=registry.example/team/n:4e35c812b251a6b5797cb62d78890f0c

# brings:
