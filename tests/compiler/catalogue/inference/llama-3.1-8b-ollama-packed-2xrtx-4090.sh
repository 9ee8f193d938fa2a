# ollama on 2xrtx-4090
#   ollama  ollama 0.33.0 (docker), GPUs 0,1, 127.0.0.1:11434

# ollama
#   GPUs: all there are
#   layout: 1 of 2 GPUs, where it fits whole: the others stay idle
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-ollama \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --publish 127.0.0.1:11434:11434 \
    --volume "$HOME"/.ollama:/root/.ollama \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env OLLAMA_HOST=0.0.0.0:11434 \
    --env OLLAMA_MAX_LOADED_MODELS=2 \
    --env OLLAMA_SCHED_SPREAD=0 \
    --env PYTHONUNBUFFERED=1 \
    ollama/ollama:0.33.0 \
    serve
