# The model server alone, for where each replica is a container (pods): no control plane, no secrets of it.
# docker build --file deploy/serving.Dockerfile --tag portside/serving:0.1.0 .
FROM python:3.12.8-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM base AS engines
COPY requirements/serving.txt requirements/compiler.txt /locks/
RUN python -m venv /opt/serving && /opt/serving/bin/pip install --require-hashes -r /locks/serving.txt
# The compiled way of small predictions, for any processor; its compiler stays in this stage.
RUN python -m venv /opt/compiler && /opt/compiler/bin/pip install --require-hashes -r /locks/compiler.txt
COPY serving /opt/rooms/serving
RUN cd /opt/rooms && CXX="/opt/compiler/bin/python -m ziglang c++ -mcpu=baseline" python -m serving.native serving/native/built
RUN /opt/serving/bin/python -m compileall -q /opt/serving /opt/rooms

FROM base AS serving
RUN groupadd --gid 10001 portside && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent portside
COPY --from=engines /opt/serving /opt/serving
COPY --from=engines /opt/rooms /opt/rooms
ENV PATH=/opt/serving/bin:$PATH PYTHONPATH=/opt/rooms ORT_DISABLE_TELEMETRY=1
WORKDIR /
USER 10001:10001
ENTRYPOINT ["python", "-P", "-m", "serving"]
