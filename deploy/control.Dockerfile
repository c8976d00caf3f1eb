# The control plane. Target `control` is the API and `portside migrate`; target `node`, for node and worker, has the
# model server beside it, in an environment of its own. Built from a checkout: docker compose build.
FROM python:3.12.8-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS wheel
WORKDIR /source
COPY requirements/build.txt requirements/compiler.txt requirements/
RUN pip install --require-hashes -r requirements/build.txt
# What compiles small predictions' own way into the wheel.
RUN python -m venv /compiler && /compiler/bin/pip install --require-hashes -r requirements/compiler.txt
COPY pyproject.toml README.md LICENSE ./
COPY portside portside
COPY core core
COPY state state
COPY storage storage
COPY workers workers
COPY api api
COPY serving serving
COPY cli cli
COPY examples examples
COPY k8s k8s
RUN CXX="/compiler/bin/python -m ziglang c++ -mcpu=baseline" python -m serving.native serving/native/built \
    && python -m hatchling build -t wheel -d /wheel

# The locks first: they change less often than we do, and their layer is kept.
FROM base AS platform
COPY requirements/product.txt /locks/
RUN python -m venv /opt/portside && /opt/portside/bin/pip install --require-hashes -r /locks/product.txt
COPY --from=wheel /wheel /wheel
RUN /opt/portside/bin/pip install --no-deps /wheel/*.whl && /opt/portside/bin/python -m compileall -q /opt/portside

FROM base AS engines
COPY requirements/serving.txt /locks/
RUN python -m venv /opt/serving && /opt/serving/bin/pip install --require-hashes -r /locks/serving.txt \
    && /opt/serving/bin/python -m compileall -q /opt/serving

FROM base AS control
RUN groupadd --gid 10001 portside && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data portside \
    && install -d -o portside -g portside -m 0700 /data
COPY --from=platform /opt/portside /opt/portside
ENV PATH=/opt/portside/bin:$PATH PORTSIDE_DATA=/data
WORKDIR /data
USER 10001:10001
VOLUME /data
ENTRYPOINT ["portside"]
CMD ["up", "--host", "0.0.0.0"]

FROM control AS node
COPY --from=engines /opt/serving /opt/serving
ENV PORTSIDE_SERVING_PYTHON=/opt/serving/bin/python
