# flux on 2xrtx-4090
#   flux.0  forge 2025.06.26 (process), GPU 0, 127.0.0.1:7860
#   flux.1  forge 2025.06.26 (process), GPU 1, 127.0.0.1:7861

# flux.0
#   GPU: the first that is free
(
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui-forge
python launch.py \
    --server-name 127.0.0.1 \
    --port 7860 \
    --ui-settings-file config.flux.0.json \
    --ui-config-file ui-config.flux.0.json \
    --nowebui
) &

# flux.1
#   GPU: the first that is free
(
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=1
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui-forge
python launch.py \
    --server-name 127.0.0.1 \
    --port 7861 \
    --ui-settings-file config.flux.1.json \
    --ui-config-file ui-config.flux.1.json \
    --nowebui
) &
