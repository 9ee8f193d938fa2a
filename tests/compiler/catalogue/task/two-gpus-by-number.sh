# two-gpus on 4xrtx-4090
#   two-gpus  task (process), GPUs 0,1

# two-gpus
#   GPUs: as the spec says
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1
export PYTHONUNBUFFERED=1
python script.py
