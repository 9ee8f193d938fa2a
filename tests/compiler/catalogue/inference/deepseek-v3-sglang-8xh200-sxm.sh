# deepseek-v3 on 8xh200-sxm
#   deepseek-v3  sglang 0.5.23 (docker), GPUs 0,1,2,3,4,5,6,7, 127.0.0.1:30000

# deepseek-v3
#   GPUs: all there are
#   layout: tensor 8 x expert 8, as the spec says
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-deepseek-v3 \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1,2,3,4,5,6,7"' \
    --label mgpu.gpus=0,1,2,3,4,5,6,7 \
    --shm-size 32g \
    --publish 127.0.0.1:30000:30000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    lmsysorg/sglang:v0.5.23 \
    sglang serve \
    --model-path deepseek-ai/DeepSeek-V3 \
    --host 0.0.0.0 \
    --port 30000 \
    --tp-size 8 \
    --ep-size 8 \
    --context-length 32768 \
    --attn-dp-size 8
