# llama-70b-chat on 2xa100-sxm4-40gb
#   llama-70b-chat  vllm 0.32.0 (docker), GPUs 0,1, 127.0.0.1:8000

# llama-70b-chat
#   GPUs: all there are
#   layout: tensor 2, the fastest of 2 that fit
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-70b-chat \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --shm-size 16g \
    --publish 127.0.0.1:8000:8000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    vllm/vllm-openai:v0.32.0 \
    hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4 \
    --host 0.0.0.0 \
    --port 8000 \
    --tensor-parallel-size 2 \
    --max-model-len 8192 \
    --enable-prefix-caching \
    --gpu-memory-utilization 0.95
