# chat-and-client on 1xrtx-4090
#   llm  vllm 0.32.0 (docker), GPU 0, 127.0.0.1:8000
#   ask  task (process), no GPU, after llm is ready

# llm
#   GPU: the only one
#   runtime: docker, which can give containers GPUs here
(
docker run \
    --rm \
    --init \
    --name mgpu-chat-and-client-llm \
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

# ask
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=''
export LLM_URL=http://127.0.0.1:8000
export PYTHONUNBUFFERED=1
python3 ask.py
)
