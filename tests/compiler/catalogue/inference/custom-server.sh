# my-server on 1xrtx-4090
#   my-server  custom (process), no GPU, 127.0.0.1:8090

# my-server
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=''
export PYTHONUNBUFFERED=1
python -m http.server 8090 --bind 127.0.0.1
