# comfyui on 2xrtx-4090
#   comfyui.0  comfyui 0.38.1 (process), GPU 0, 127.0.0.1:8188
#   comfyui.1  comfyui 0.38.1 (process), GPU 1, 127.0.0.1:8189

# comfyui.0
#   GPU: the first that is free
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
cd "$PWD"/ComfyUI
python main.py \
    --listen 127.0.0.1 \
    --port 8188 \
    --disable-auto-launch
) &

# comfyui.1
#   GPU: the first that is free
(
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=1
export PYTHONUNBUFFERED=1
cd "$PWD"/ComfyUI
python main.py \
    --listen 127.0.0.1 \
    --port 8189 \
    --disable-auto-launch
) &
