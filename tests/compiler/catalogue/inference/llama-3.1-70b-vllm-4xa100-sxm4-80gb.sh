# llama-70b on 4xa100-sxm4-80gb
#   llama-70b  vllm 0.32.0 (docker), GPUs 0,1,2,3, 127.0.0.1:8000

# llama-70b
#   GPUs: all there are
#   layout: tensor 4, as the spec says
#   runtime: docker, which can give containers GPUs here
docker run \
    --rm \
    --init \
    --name mgpu-llama-70b \
    --security-opt no-new-privileges \
    --log-driver local \
    --gpus '"device=0,1,2,3"' \
    --label mgpu.gpus=0,1,2,3 \
    --shm-size 16g \
    --publish 127.0.0.1:8000:8000 \
    --volume "$HOME"/.cache/huggingface:/root/.cache/huggingface \
    --volume "$PWD":/workspace \
    --workdir /workspace \
    --env PYTHONUNBUFFERED=1 \
    --env HF_TOKEN \
    vllm/vllm-openai:v0.32.0 \
    meta-llama/Llama-3.1-70B-Instruct \
    --host 0.0.0.0 \
    --port 8000 \
    --tensor-parallel-size 4 \
    --max-model-len 32768
