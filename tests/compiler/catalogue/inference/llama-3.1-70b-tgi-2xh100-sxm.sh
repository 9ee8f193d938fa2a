# llama-70b on 2xh100-sxm
#   llama-70b  tgi 3.3.7 (docker), GPUs 0,1, 127.0.0.1:8080

# llama-70b
#   GPUs: all there are
#   layout: tensor 2, from 2 GPUs
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-70b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1"' \
    --label mgpu.gpus=0,1 \
    --shm-size 1g \
    --publish 127.0.0.1:8080:8080 \
    --volume "$HOME"/.cache/huggingface:/data \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    --env HF_TOKEN \
    ghcr.io/huggingface/text-generation-inference:3.3.7 \
    --model-id meta-llama/Llama-3.1-70B-Instruct \
    --hostname 0.0.0.0 \
    --port 8080 \
    --num-shard 2 \
    --master-port 29500 \
    --max-total-tokens 8192
