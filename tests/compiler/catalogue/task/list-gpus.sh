# list-gpus on 1xrtx-4090
#   list-gpus  task (process), GPU 0

# list-gpus
#   GPU: the only one
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0
export PYTHONUNBUFFERED=1
sh -c 'nvidia-smi -L; echo "CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES"'
