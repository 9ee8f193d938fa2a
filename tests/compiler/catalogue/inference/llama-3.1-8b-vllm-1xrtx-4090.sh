# llama-8b on 1xrtx-4090
#   llama-8b  vllm 0.32.0 (docker), GPU 0, 127.0.0.1:8000

# llama-8b
#   GPU: the only one
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-8b \
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
