# qwen-32b on 2xrtx-4090
#   qwen-32b  lmdeploy 0.18.0 (docker), GPUs 0,1, 127.0.0.1:23333

# qwen-32b
#   GPUs: all there are
#   layout: tensor 2, from 2 GPUs
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-qwen-32b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --shm-size 32g \
    --publish 127.0.0.1:23333:23333 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    openmmlab/lmdeploy:v0.18.0-cu12.8 \
    lmdeploy serve api_server Qwen/Qwen2.5-32B-Instruct-AWQ \
    --server-name 0.0.0.0 \
    --server-port 23333 \
    --tp 2 \
    --session-len 16384 \
    --model-format awq
