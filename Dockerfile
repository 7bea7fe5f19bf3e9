# The server on a CPU.
#
#   docker build -t age-gender .
#   docker run -it --rm -p 127.0.0.1:10003:10003 -v $(pwd)/models:/app/models age-gender
#
# models/ holds age.pth and gender.pth; every setting is an environment variable (docs/serving.md).
# With faces found in the same program, so that no face server is needed:
#
#   docker build -t age-gender --build-arg WITH_FACES=1 .
#   docker run -it --rm -p 127.0.0.1:10003:10003 -v $(pwd)/models:/app/models \
#       -v face-models:/app/.insightface -e FACE_PACK=buffalo_l age-gender
ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# PyTorch's own CPU wheels, without CUDA packages; empty for what pip is set to.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY requirements.txt requirements-export.txt requirements-faces.txt ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then index="--index-url $TORCH_INDEX_URL"; fi \
    && pip install --no-cache-dir $index "$(grep '^torch==' requirements.txt)" \
    && grep -h '# serving' requirements.txt requirements-export.txt > serving.txt \
    && pip install --no-cache-dir -r serving.txt

# Anything but nothing installs what finds faces.
ARG WITH_FACES=
RUN if [ -n "$WITH_FACES" ]; then pip install --no-cache-dir -r requirements-faces.txt; fi

# The folder of model packs, which a volume keeps.
RUN useradd --uid 10001 --no-create-home --home-dir /app server \
    && install --directory --owner server /app/.insightface

COPY base base
COPY confidence confidence
COPY face_networks face_networks
COPY faces faces
COPY http_client http_client
COPY model model
COPY serving serving
COPY utils utils
COPY app.py LICENSE ./

USER server
ENV HOST=0.0.0.0 PORT=10003 HOME=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 10003
# The start covers the download of a pack.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15m --retries=3 \
    CMD ["python", "-c", "import os, sys; from http.client import HTTPConnection as C; c = C('127.0.0.1', os.environ['PORT'], timeout=8); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "app.py"]
