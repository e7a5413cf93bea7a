# A GPU box: docker build -t blurlab . && docker run --gpus all --rm -it blurlab make gpu-check
# It was not built where it was written: what its steps run on a CPU was run there one by one.
FROM python:3.11-slim-bookworm

# make for the Makefile, git for the commit in config.yaml, a compiler for torch.compile
RUN apt-get update \
    && apt-get install -y --no-install-recommends make git g++ libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /blurlab
# the packages first: they change less often than the code, and torch brings CUDA along
COPY requirements*.txt ./
RUN python -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir -r requirements-lock.txt -r requirements-dev.txt \
    && touch .venv/run.stamp .venv/dev.stamp

COPY . .
ENV PATH=/blurlab/.venv/bin:$PATH
# volumes for the user's own: -v DATA:/blurlab/dataset -v RESULTS:/blurlab/infer_results
VOLUME ["/blurlab/dataset", "/blurlab/experiment", "/blurlab/infer_results"]
CMD ["make", "gpu-check"]
