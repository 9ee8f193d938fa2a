# pictures-and-chat on 2xrtx-4090
#   chat      vllm 0.32.0 (process), GPU 0, 127.0.0.1:8000
#   pictures  comfyui 0.38.1 (process), GPU 1, 127.0.0.1:8188, after chat is ready

# chat
#   GPU: the first that is free
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
vllm serve Qwen/Qwen3-8B \
    --host 127.0.0.1 \
    --port 8000 \
    --tensor-parallel-size 1 \
    --max-model-len 8192
) &

# pictures
#   GPU: the first that is free
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=1
export PYTHONUNBUFFERED=1
cd "$PWD"/ComfyUI
python main.py \
    --listen 127.0.0.1 \
    --port 8188 \
    --disable-auto-launch
) &
