# llama-70b-gguf on 2xrtx-4090
#   llama-70b-gguf  llamacpp b10875 (docker), GPUs 0,1, 127.0.0.1:8080

# llama-70b-gguf
#   GPUs: all there are
#   layout: pipeline 2, from 2 GPUs
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-70b-gguf \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --publish 127.0.0.1:8080:8080 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    ghcr.io/ggml-org/llama.cpp:server-cuda-b10875 \
    --model models/Meta-Llama-3.1-70B-Instruct-Q4_K_M.gguf \
    --host 0.0.0.0 \
    --port 8080 \
    --split-mode layer \
    --ctx-size 8192 \
    --parallel 1
