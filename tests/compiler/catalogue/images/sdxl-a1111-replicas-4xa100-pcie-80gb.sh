# sdxl on 4xa100-pcie-80gb
#   sdxl.0  a1111 1.10.1 (process), GPU 0, 127.0.0.1:7860
#   sdxl.1  a1111 1.10.1 (process), GPU 1, 127.0.0.1:7861
#   sdxl.2  a1111 1.10.1 (process), GPU 2, 127.0.0.1:7862
#   sdxl.3  a1111 1.10.1 (process), GPU 3, 127.0.0.1:7863

# sdxl.0
#   GPU: the first that is free
(
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui
python launch.py \
    --server-name 127.0.0.1 \
    --port 7860 \
    --ui-settings-file config.sdxl.0.json \
    --ui-config-file ui-config.sdxl.0.json \
    --api \
    --enable-insecure-extension-access
) &

# sdxl.1
#   GPU: the first that is free
(
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=1
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui
python launch.py \
    --server-name 127.0.0.1 \
    --port 7861 \
    --ui-settings-file config.sdxl.1.json \
    --ui-config-file ui-config.sdxl.1.json \
    --api \
    --enable-insecure-extension-access
) &

# sdxl.2
#   GPU: the first that is free
(
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=2
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui
python launch.py \
    --server-name 127.0.0.1 \
    --port 7862 \
    --ui-settings-file config.sdxl.2.json \
    --ui-config-file ui-config.sdxl.2.json \
    --api \
    --enable-insecure-extension-access
) &

# sdxl.3
#   GPU: the first that is free
(
export COMMANDLINE_ARGS=''
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=3
export PYTHONUNBUFFERED=1
cd "$PWD"/stable-diffusion-webui
python launch.py \
    --server-name 127.0.0.1 \
    --port 7863 \
    --ui-settings-file config.sdxl.3.json \
    --ui-config-file ui-config.sdxl.3.json \
    --api \
    --enable-insecure-extension-access
) &
