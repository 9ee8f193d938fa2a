# qwen3-32b on 2xa100-sxm4-80gb
#   qwen3-32b  sglang 0.5.23 (docker), GPUs 0,1, 127.0.0.1:30000

# qwen3-32b
#   GPUs: all there are
#   layout: tensor 2, the fastest of 2 that fit
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-qwen3-32b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --shm-size 32g \
    --publish 127.0.0.1:30000:30000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    lmsysorg/sglang:v0.5.23 \
    sglang serve \
    --model-path Qwen/Qwen3-32B \
    --host 0.0.0.0 \
    --port 30000 \
    --tp-size 2 \
    --context-length 32768
