# pictures-beside-chat on 1xrtx-4090
#   chat      vllm 0.32.0 (process), 11.0 GiB of GPU 0, 127.0.0.1:8000
#   pictures  comfyui 0.38.1 (process), 12.0 GiB of GPU 0, 127.0.0.1:8188, after chat is ready

# chat
#   share: 11.0 of 23.5 GiB, beside pictures (12.0 GiB)
#   GPU: the only one
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
vllm serve Qwen/Qwen3-8B-AWQ \
    --host 127.0.0.1 \
    --port 8000 \
    --tensor-parallel-size 1 \
    --max-model-len 8192 \
    --gpu-memory-utilization 0.436
) &

# pictures
#   share: 12.0 of 23.5 GiB, beside chat (11.0 GiB)
#   GPU: the only one
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
cd "$PWD"/ComfyUI
python main.py \
    --listen 127.0.0.1 \
    --port 8188 \
    --disable-auto-launch \
    --reserve-vram 0.52
) &
