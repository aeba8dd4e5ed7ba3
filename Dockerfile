# On a CPU:  docker build --tag cfrsam .
# On a GPU:  docker build --tag cfrsam --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu22.04 .
# docs/docker.md says how to run it.
ARG BASE=ubuntu:22.04
FROM ${BASE}

# The versions are those of the base.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/*

ARG PIP_EXTRA_INDEX_URL=
WORKDIR /source
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY cfrsam_d2 cfrsam_d2
RUN python3.11 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[slides]'

USER 65534
WORKDIR /data
ENV PATH=/venv/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib HF_HOME=/tmp/huggingface
ENTRYPOINT ["cfrsam"]
CMD ["--help"]
