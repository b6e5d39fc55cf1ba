FROM ghcr.io/flyteorg/flyte:py3.12-v2.0.0

USER root

RUN id -u flyte >/dev/null 2>&1 || useradd --create-home --shell /bin/bash flyte

WORKDIR /home/flyte

ENV VIRTUAL_ENV=/opt/venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_INSTALL_DIR=/opt/python PATH=/opt/venv/bin:$PATH

RUN --mount=type=cache,id=flyte-pip,target=/root/.cache/pip \
    --mount=type=cache,id=flyte-uv,target=/root/.cache/uv \
    if ! command -v uv >/dev/null; then python3 -m venv /opt/uv 2>/dev/null || { rm -rf /opt/uv && command -v apt-get >/dev/null && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* && python3 -m venv /opt/uv; } || { echo 'flyte: the base has neither uv nor a Python 3 with venv; put one of them into it' >&2; exit 1; }; /opt/uv/bin/python -m pip install 'uv>=0.5' && ln -s /opt/uv/bin/uv /usr/local/bin/uv; fi && { [ -x /opt/venv/bin/python ] || uv venv --python 3.12 /opt/venv; }

RUN --mount=type=cache,id=flyte-uv,target=/root/.cache/uv \
    --mount=type=cache,id=flyte-pip,target=/root/.cache/pip \
    --mount=type=bind,source=project-13c58932a84c,target=/tmp/flyte-build/project \
    cp -r /tmp/flyte-build/project /tmp/flyte-build-project && cd /tmp/flyte-build-project && POETRY_VIRTUALENVS_CREATE=false UV_COMPILE_BYTECODE=0 uv tool run --from 'poetry>=2' poetry install --no-interaction --no-root --only main && cd / && rm -rf /tmp/flyte-build-project

USER flyte

ENV _F_IMG_ID=registry.example/team/n:0a0035b95fa81dd2020fdd2a4e061108

# brings:
# project-13c58932a84c/pyproject.toml
# project-13c58932a84c/poetry.lock
