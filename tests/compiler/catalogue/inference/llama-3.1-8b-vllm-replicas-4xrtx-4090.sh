# llama-8b on 4xrtx-4090
#   llama-8b.0  vllm 0.32.0 (docker), GPU 0, 127.0.0.1:8000
#   llama-8b.1  vllm 0.32.0 (docker), GPU 1, 127.0.0.1:8001
#   llama-8b.2  vllm 0.32.0 (docker), GPU 2, 127.0.0.1:8002
#   llama-8b.3  vllm 0.32.0 (docker), GPU 3, 127.0.0.1:8003

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
    --shm-size 16g \
    --publish 127.0.0.1:8000:8000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    --env HF_TOKEN \
    vllm/vllm-openai:v0.32.0 \
    meta-llama/Llama-3.1-8B-Instruct \
    --host 0.0.0.0 \
    --port 8000 \
    --tensor-parallel-size 1 \
    --max-model-len 8192
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
    --shm-size 16g \
    --publish 127.0.0.1:8001:8001 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    --env HF_TOKEN \
    vllm/vllm-openai:v0.32.0 \
    meta-llama/Llama-3.1-8B-Instruct \
    --host 0.0.0.0 \
    --port 8001 \
    --tensor-parallel-size 1 \
    --max-model-len 8192
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
    --shm-size 16g \
    --publish 127.0.0.1:8002:8002 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    --env HF_TOKEN \
    vllm/vllm-openai:v0.32.0 \
    meta-llama/Llama-3.1-8B-Instruct \
    --host 0.0.0.0 \
    --port 8002 \
    --tensor-parallel-size 1 \
    --max-model-len 8192
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
    --shm-size 16g \
    --publish 127.0.0.1:8003:8003 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    --env HF_TOKEN \
    vllm/vllm-openai:v0.32.0 \
    meta-llama/Llama-3.1-8B-Instruct \
    --host 0.0.0.0 \
    --port 8003 \
    --tensor-parallel-size 1 \
    --max-model-len 8192
) &
