# ddp on 2xrtx-4090
#   ddp  torchrun 2.13.0 (process), GPUs 0,1

# ddp
#   GPUs: all there are
#   layout: data 2, from 2 GPUs
export CUDA_DEVICE_ORDER=PCI_BUS_ID
export CUDA_VISIBLE_DEVICES=0,1
export OMP_NUM_THREADS=1
export PYTHONUNBUFFERED=1
torchrun \
    --standalone \
    --nproc-per-node 2 \
    train.py \
    --lr 0.005 \
    --epochs 3
