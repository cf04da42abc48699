# The service in a container. Without a GPU, with Whisper's weights for the languages of `base` inside:
#   docker build -t ecg .
# With a GPU, without torch; the host brings the driver and NVIDIA's container toolkit:
#   docker build -t ecg --build-arg EXTRAS=cuda,server,http .
# With wav2vec2 and pyannote; torch brings CUDA's libraries:
#   docker build -t ecg --build-arg EXTRAS=whisperx,server,http .
#   docker run --gpus 1 -p 127.0.0.1:8080:8080 --env-file serve.env -v ecg:/data ecg serve --host 0.0.0.0 --profile t4
FROM python:3.11-slim

ARG EXTRAS=offline,server,http
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ecg_audio_nb ecg_audio_nb
COPY nbs/jobs nbs/jobs
RUN python -m pip install --no-cache-dir --no-compile -c constraints.txt ".[${EXTRAS}]" && rm -rf /src/*
RUN useradd --system --uid 10001 --create-home ecg && install -d -m 700 -o ecg -g ecg /data

# queue, results, uploads, and the models that are fetched or made smaller: all of it in one volume
ENV ECG_DATA_DIR=/data XDG_CACHE_HOME=/data/cache PYTHONUNBUFFERED=1
ENV HF_HOME=/data/models/huggingface TORCH_HOME=/data/models/torch
WORKDIR /data
USER 10001
VOLUME /data
EXPOSE 8080

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health', timeout=4)"]

# Bound beyond loopback it wants ECG_API_KEYS. In exec form: docker stop's SIGTERM reaches it, and it ends well.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ecg"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
