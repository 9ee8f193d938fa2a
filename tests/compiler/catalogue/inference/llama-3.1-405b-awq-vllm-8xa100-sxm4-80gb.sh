# llama-405b on 8xa100-sxm4-80gb
#   llama-405b  vllm 0.32.0 (docker), GPUs 0,1,2,3,4,5,6,7, 127.0.0.1:8000

# llama-405b
#   GPUs: all there are
#   layout: tensor 8, as the spec says
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-405b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1,2,3,4,5,6,7"' \
    --label mgpu.gpus=0,1,2,3,4,5,6,7 \
    --shm-size 16g \
    --publish 127.0.0.1:8000:8000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    vllm/vllm-openai:v0.32.0 \
    hugging-quants/Meta-Llama-3.1-405B-Instruct-AWQ-INT4 \
    --host 0.0.0.0 \
    --port 8000 \
    --tensor-parallel-size 8 \
    --max-model-len 16384
