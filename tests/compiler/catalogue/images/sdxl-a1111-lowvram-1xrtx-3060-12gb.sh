# sdxl on 1xrtx-3060-12gb
#   sdxl  a1111 1.10.1 (process), GPU 0, 127.0.0.1:7860

# sdxl
#   GPU: the only one
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui
python launch.py \
    --server-name 127.0.0.1 \
    --port 7860 \
    --lowvram
