# llama-70b on 2xrtx-4090
#   llama-70b  ollama 0.33.0 (docker), GPUs 0,1, 127.0.0.1:11434

# llama-70b
#   GPUs: all there are
#   layout: pipeline 2, as the spec says
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-70b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --publish 127.0.0.1:11434:11434 \
    --volume "$HOME"/.ollama:/root/.ollama \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env OLLAMA_CONTEXT_LENGTH=8192 \
    --env OLLAMA_HOST=0.0.0.0:11434 \
    --env OLLAMA_KEEP_ALIVE=-1 \
    --env OLLAMA_SCHED_SPREAD=1 \
    --env PYTHONUNBUFFERED=1 \
    ollama/ollama:0.33.0 \
    serve
