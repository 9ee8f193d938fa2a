# llama-8b on 4xrtx-4090
#   llama-8b.0  ollama 0.33.0 (docker), GPU 0, 127.0.0.1:11434
#   llama-8b.1  ollama 0.33.0 (docker), GPU 1, 127.0.0.1:11435
#   llama-8b.2  ollama 0.33.0 (docker), GPU 2, 127.0.0.1:11436
#   llama-8b.3  ollama 0.33.0 (docker), GPU 3, 127.0.0.1:11437

# llama-8b.0
#   GPU: the first that is free
#   runtime: docker, which can give containers GPUs here
(
docker run \
    --rm \
    --init \
    --name mgpu-llama-8b-llama-8b.0 \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0"' \
    --label mgpu.gpus=0 \
    --publish 127.0.0.1:11434:11434 \
    --volume "$HOME"/.ollama:/root/.ollama \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env OLLAMA_HOST=0.0.0.0:11434 \
    --env OLLAMA_NOPRUNE=1 \
    --env PYTHONUNBUFFERED=1 \
    ollama/ollama:0.33.0 \
    serve
) &

# llama-8b.1
#   GPU: the first that is free
#   runtime: docker, which can give containers GPUs here
(
docker run \
    --rm \
    --init \
    --name mgpu-llama-8b-llama-8b.1 \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=1"' \
    --label mgpu.gpus=1 \
    --publish 127.0.0.1:11435:11435 \
    --volume "$HOME"/.ollama:/root/.ollama \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env OLLAMA_HOST=0.0.0.0:11435 \
    --env OLLAMA_NOPRUNE=1 \
    --env PYTHONUNBUFFERED=1 \
    ollama/ollama:0.33.0 \
    serve
) &

# llama-8b.2
#   GPU: the first that is free
#   runtime: docker, which can give containers GPUs here
(
docker run \
    --rm \
    --init \
    --name mgpu-llama-8b-llama-8b.2 \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=2"' \
    --label mgpu.gpus=2 \
    --publish 127.0.0.1:11436:11436 \
    --volume "$HOME"/.ollama:/root/.ollama \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env OLLAMA_HOST=0.0.0.0:11436 \
    --env OLLAMA_NOPRUNE=1 \
    --env PYTHONUNBUFFERED=1 \
    ollama/ollama:0.33.0 \
    serve
) &

# llama-8b.3
#   GPU: the first that is free
#   runtime: docker, which can give containers GPUs here
(
docker run \
    --rm \
    --init \
    --name mgpu-llama-8b-llama-8b.3 \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=3"' \
    --label mgpu.gpus=3 \
    --publish 127.0.0.1:11437:11437 \
    --volume "$HOME"/.ollama:/root/.ollama \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env OLLAMA_HOST=0.0.0.0:11437 \
    --env OLLAMA_NOPRUNE=1 \
    --env PYTHONUNBUFFERED=1 \
    ollama/ollama:0.33.0 \
    serve
) &
